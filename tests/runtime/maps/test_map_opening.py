"""Maps opened by path: what they say of themselves, pins, and processes that are killed while they write."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from errno import E2BIG, EEXIST, EINVAL, ENOENT, ENOSPC, EXDEV
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import MapError
from runtime.maps import CORE_MAP_KINDS, Map, attach, create, dump
from runtime.maps import arena as layout
from runtime.maps.description import describe, described
from runtime.object import read_object
from runtime.spec import (
    ArrayType,
    CType,
    EnumType,
    FloatType,
    IntType,
    MapSpec,
    Member,
    OpaqueType,
    PointerType,
    StructType,
)
from tests.support.commands import EXAMPLES, ROOT, environment
from tests.support.maps import KINDS, spec_of

MEMORY = Path("/dev/shm")
BY_ID = {kind.id: kind for kind in CORE_MAP_KINDS}

needs_memory = pytest.mark.skipif(not os.access(MEMORY, os.W_OK), reason="no /dev/shm")

names = st.text(max_size=4)
leaves = st.one_of(
    st.builds(
        IntType,
        size=st.sampled_from([1, 2, 4, 8, 16]),
        signed=st.booleans(),
        boolean=st.booleans(),
        char=st.booleans(),
        name=names,
        typedef=names,
    ),
    st.builds(FloatType, st.sampled_from([4, 8])),
    st.just(PointerType()),
    st.builds(OpaqueType, st.integers(0, 64), names),
    st.builds(
        EnumType,
        size=st.just(4),
        signed=st.booleans(),
        name=names,
        values=st.lists(st.tuples(names, st.integers(-9, 9))).map(tuple),
    ),
)


def _members(inner: st.SearchStrategy[CType]) -> st.SearchStrategy[tuple[Member, ...]]:
    one = st.builds(Member, name=names, type=inner, bit_offset=st.integers(0, 99), bits=st.integers(0, 9))
    return st.lists(one, max_size=3).map(tuple)


ctypes = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(ArrayType, element=inner, count=st.integers(0, 5)),
        st.builds(StructType, name=names, size=st.integers(0, 99), members=_members(inner), union=st.booleans()),
    ),
    max_leaves=6,
)


class OneType:
    """A table with one type, of the number 7."""

    def __init__(self, ctype: CType) -> None:
        self.found = ctype

    def ctype(self, type_id: int) -> CType | None:
        """The type."""
        return self.found if type_id == 7 else None


@given(ctypes)
def test_a_type_survives_its_description(ctype: CType) -> None:
    """What is written of a type is read as that type."""
    spec = MapSpec(name="a name of more than 15", kind=1, key_size=4, value_size=4, max_entries=1, btf_value=7)
    bare = MapSpec(name="a name of more ", kind=1, key_size=4, value_size=4, max_entries=1)
    full, types = described(bare, describe(spec, OneType(ctype)))
    assert types is not None
    assert (full.name, full.btf_key, types.ctype(full.btf_value)) == (spec.name, 0, ctype)


@given(st.binary(max_size=60))
def test_a_bad_description_is_passed_over(text: bytes) -> None:
    """Whatever stands where a description should, the map opens without types."""
    spec = MapSpec(name="m", kind=1, key_size=4, value_size=4, max_entries=1)
    assert described(spec, text) == (spec, None)


def test_an_opened_map_is_dumped_with_its_types() -> None:
    """The maps of an example, opened by path, have the names, types and dumps of those that were made."""
    spec = read_object((EXAMPLES / "dispatcher.o").read_bytes(), name="dispatcher")
    for each in spec.maps:
        with create(each, BY_ID[each.kind], cpus=2, types=spec.types) as made:
            path = Path(f"/proc/{os.getpid()}/fd/{made.arena.fd}")
            with attach(path, CORE_MAP_KINDS) as opened:
                assert opened.name == each.name
                assert dump(opened) == dump(made)
                assert (opened.typed.key_type, opened.typed.value_type) == (made.typed.key_type, made.typed.value_type)


def test_a_new_description_replaces_the_old() -> None:
    """Types of an object that replaces another are what is read afterwards; the same ones cost nothing."""
    with create(spec_of("hash", 4, 8, 4), KINDS["hash"], cpus=1) as made:
        first = os.fstat(made.arena.fd).st_size
        made.arena.append_description(made.arena.description())
        assert os.fstat(made.arena.fd).st_size == first
        made.arena.append_description(b'{"name":"other"}')
        with attach(Path(f"/proc/self/fd/{made.arena.fd}"), CORE_MAP_KINDS) as opened:
            assert opened.name == "other"


@pytest.mark.parametrize("word", [layout.MAX_ENTRIES_AT, layout.VALUE_SIZE_AT, layout.CPUS_AT])
def test_a_header_that_claims_too_much_is_refused(word: int) -> None:
    """Natives trust the sizes in a header, so opening compares them with the memory that there is."""
    with create(spec_of("percpu_array", 4, 8, 4), KINDS["percpu_array"], cpus=1) as made:
        made.arena.set_word(word, 1000)
        with pytest.raises(MapError) as failed:
            attach(Path(f"/proc/self/fd/{made.arena.fd}"), CORE_MAP_KINDS)
        assert failed.value.errno == EINVAL


@needs_memory
def test_a_pin_outlives_the_map_and_is_the_same_memory(tmp_path: Path) -> None:
    """A pinned map is opened by its name; both write the same bytes, and the pin stays when the map is closed."""
    pin = MEMORY / f"xdpsim-test-{os.getpid()}"
    try:
        with create(spec_of("hash", 4, 8, 4), KINDS["hash"], cpus=1, folder=MEMORY) as made:
            made.update(b"abcd", b"12345678")
            made.pin(pin)
            with attach(pin, CORE_MAP_KINDS) as opened:
                opened.update(b"efgh", b"87654321")
            assert made.lookup(b"efgh") == b"87654321"
            with pytest.raises(MapError) as failed:
                made.pin(pin)
            assert failed.value.errno == EEXIST
            if tmp_path.stat().st_dev != MEMORY.stat().st_dev:
                with pytest.raises(MapError) as failed:
                    made.pin(tmp_path / "pin")
                assert failed.value.errno == EXDEV
        with attach(pin, CORE_MAP_KINDS) as again:
            assert dict(again.items()) == {b"abcd": b"12345678", b"efgh": b"87654321"}
    finally:
        pin.unlink(missing_ok=True)


def test_a_memfd_cannot_be_pinned(tmp_path: Path) -> None:
    """Memory that can have no name says so, and leaves no file."""
    with create(spec_of("hash", 4, 8, 4), KINDS["hash"], cpus=1) as made, pytest.raises(MapError) as failed:
        made.pin(tmp_path / "pin")
    assert failed.value.errno in (ENOENT, EXDEV)
    assert not list(tmp_path.iterdir())


WRITER = """
import sys
from pathlib import Path
from runtime.errors import MapError
from runtime.maps import CORE_MAP_KINDS, attach
m = attach(Path(sys.argv[1]), CORE_MAP_KINDS)
array, trie = m.kind.bounded_array, m.kind.name == "lpm_trie"
print("ready", flush=True)
n = int(sys.argv[2])
while True:
    n = n * 1103515245 + 12345 & 0x7FFFFFFF
    key = (n >> 8) % 48
    key = (24 + key % 9).to_bytes(4, "little") + bytes((10, 0, key, 0)) if trie else key.to_bytes(4, "little")
    try:
        if n & 0x60000 or array:
            half = n.to_bytes(4, "little") * 4
            m.update(key, half * (m.value_stride // 16))
        else:
            m.delete(key)
    except MapError:
        pass
"""


@pytest.mark.parametrize("kind", ["hash", "lru_hash", "lpm_trie", "array", "percpu_hash", "percpu_array"])
def test_a_writer_that_is_killed_stops_nobody(kind: str) -> None:
    """Writers are killed at random moments: who goes on reads whole values, updates, dumps, and counts right."""
    moments = random.Random(kind)
    trie = kind == "lpm_trie"
    with create(spec_of(kind, 8 if trie else 4, 16, 64), KINDS[kind], cpus=2) as ours:
        for round_ in range(6):
            command = [sys.executable, "-c", WRITER, f"/proc/{os.getpid()}/fd/{ours.arena.fd}", str(round_ + 1)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment()) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                end = time.monotonic() + moments.uniform(0.01, 0.2)
                while time.monotonic() < end:
                    _work(ours, trie=trie)
                writer.kill()
            _work(ours, trie=trie)
            _settle(ours, trie=trie)


def _work(ours: Map, *, trie: bool) -> None:
    """Read everything, and update one key of our own."""
    for _, value in ours.items():  # noqa: PERF102  maps have no values()
        for at in range(0, len(value), 16):
            whole = value[at : at + 16]
            if not ours.kind.bounded_array:  # arrays are changed in place, in Linux too
                assert whole == whole[:4] * 4
    key = (32).to_bytes(4, "little") + b"abcd" if trie else (60).to_bytes(4, "little")
    ours.update(key, b"self" * (ours.value_stride // 4))
    if not ours.kind.name.startswith("lru"):
        assert ours.lookup(key) == b"self" * (ours.value_stride // 4)


def _settle(ours: Map, *, trie: bool) -> None:
    """Fill the map to the last element: none is lost, the count is that of the elements, and it can be emptied."""
    if ours.kind.bounded_array:
        return
    for number in range(200):
        data = number.to_bytes(4, "little")
        try:
            ours.update((32).to_bytes(4, "little") + data if trie else data, bytes(ours.value_stride))
        except MapError as error:
            full = error.errno
            break
    else:
        full = ENOSPC if ours.kind.name.startswith("lru") else 0
    assert full in (E2BIG, ENOSPC)
    assert len(ours) == sum(1 for _ in ours.items())
    if not ours.kind.name.startswith("lru"):
        assert len(ours) == ours.spec.max_entries
    for key, _ in list(ours.items()):
        ours.delete(key)
    assert len(ours) == 0
