"""Maps against the kernel's: the same random operations, every answer, every errno, and what is left."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engine.environment import Environment
from runtime.errors import MapError
from runtime.maps import Map, create, possible_cpus
from runtime.native.library import library
from runtime.spec import MapFlag, MapOp, MapSpec
from tests.support.kernel_maps import KernelMap
from tests.support.kernel_programs import EXIT, call, load, map_address, map_value, move, run
from tests.support.maps import KINDS, spec_of

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]

FLAGS = [0, 0, 0, 1, 2, 3, 4, 5, 1 << 40]


@contextmanager
def _both(spec: MapSpec, name: str) -> Iterator[tuple[Map, KernelMap]]:
    """Our map and the kernel's, of one definition; this thread stays on one CPU, as ours does."""
    kind, cpus, allowed = KINDS[name], possible_cpus(), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with create(spec, kind, cpus=cpus) as ours, KernelMap(spec, cpus=cpus, per_cpu=kind.per_cpu) as theirs:
            yield ours, theirs
    finally:
        os.sched_setaffinity(0, allowed)


def _outcome(act: Callable[[], object]) -> object:
    try:
        return act()
    except MapError as error:
        return -error.errno


def _value(draw: random.Random, each: Map) -> bytes:
    slots = each.cpus if each.kind.per_cpu else 1
    stride = each.value_stride // slots
    return b"".join(draw.randbytes(each.spec.value_size).ljust(stride, b"\0") for _ in range(slots))


def _step(ours: Map, theirs: KernelMap, draw: random.Random, key: bytes) -> None:
    """One operation on both maps, with the same outcome."""
    chance = draw.random()
    if chance < 0.7:
        value, flags = _value(draw, ours), draw.choice(FLAGS)
        assert _outcome(lambda: ours.update(key, value, flags)) == _outcome(lambda: theirs.update(key, value, flags))
    elif chance < 0.85:
        assert _outcome(lambda: ours.delete(key)) == _outcome(lambda: theirs.delete(key))
    else:
        assert _outcome(lambda: ours.lookup(key)) == _outcome(lambda: theirs.lookup(key))


@pytest.mark.parametrize("name", ["hash", "percpu_hash", "array", "percpu_array"])
@given(
    seed=st.integers(0, 1 << 32),
    key_size=st.sampled_from([1, 3, 4, 16]),
    value_size=st.sampled_from([1, 4, 8, 13]),
    max_entries=st.sampled_from([1, 5, 40]),
)
@settings(max_examples=25, deadline=None)
def test_maps_answer_as_the_kernels_do(name: str, seed: int, key_size: int, value_size: int, max_entries: int) -> None:
    """Random updates, deletes and lookups give the same results and errno, and leave the same elements."""
    draw = random.Random(seed)
    key_size = 4 if "array" in name else key_size
    flags = draw.choice([0, MapFlag.NO_PREALLOC]) if "hash" in name else 0
    with _both(spec_of(name, key_size, value_size, max_entries, flags), name) as (ours, theirs):
        for _ in range(150):
            _step(ours, theirs, draw, draw.randrange(min(255, max_entries * 2)).to_bytes(key_size, "little"))
        assert dict(ours.items()) == dict(theirs.items())


@contextmanager
def _touching(ours: Map, theirs: KernelMap) -> Iterator[Callable[[bytes], None]]:
    """A function that looks a key up on both sides as programs do, which counts as use."""
    key_map = KernelMap(spec_of("array", 4, 4, 1), cpus=1, per_cpu=False)
    code = map_address(1, theirs) + map_value(2, key_map, 0) + call(1) + move(0, 0) + EXIT
    program = load(code)
    environment = Environment(cpu=0)
    run_ours = library([ours.kind.ops[MapOp.LOOKUP]])[ours.kind.ops[MapOp.LOOKUP]]

    def touch(key: bytes) -> None:
        key_map.update(bytes(4), key)
        run(program)
        place = ctypes.create_string_buffer(key, 4)
        spec = ours.spec
        shape = spec.key_size, spec.value_size, spec.max_entries, spec.flags
        run_ours(ours.address, *shape, environment.address, ctypes.addressof(place))

    try:
        yield touch
    finally:
        environment.close()
        os.close(program)
        key_map.close()


@pytest.mark.parametrize("name", ["lru_hash", "lru_percpu_hash"])
@pytest.mark.parametrize("flags", [0, MapFlag.NO_COMMON_LRU], ids=["common", "own"])
@pytest.mark.parametrize("max_entries", [1, 2, 7, 40, 300, 1000])
def test_lru_maps_evict_as_the_kernels_do(name: str, flags: int, max_entries: int) -> None:
    """On one CPU, eviction chooses the same elements as Linux 6.17 and later, step by step."""
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release < (6, 17):
        pytest.skip("older kernels refill free lists by another rule")
    draw = random.Random(max_entries)
    with _both(spec_of(name, 4, 8, max_entries, flags), name) as (ours, theirs), _touching(ours, theirs) as touch:
        for turn in range(3000):
            key = draw.randrange(max_entries * 2 + 3).to_bytes(4, "little")
            if draw.random() < 0.3:
                touch(key)
            else:
                _step(ours, theirs, draw, key)
            if turn % 100 == 0:
                assert dict(ours.items()) == dict(theirs.items())


def _many(draw: random.Random, size: int) -> bytes:
    return bytes(draw.choice([0, 1, 128, 255, 10]) for _ in range(size))


def _few(draw: random.Random, size: int) -> bytes:
    return bytes([draw.choice([1, 2])] * (size - 1) + [draw.randrange(4)])


@pytest.mark.parametrize("data_size", [1, 2, 4, 5, 8, 16, 256])
@pytest.mark.parametrize("shape", [_many, _few, random.Random.randbytes], ids=["dense", "long", "random"])
@pytest.mark.parametrize("max_entries", [5, 200])
def test_tries_answer_as_the_kernels_do(
    data_size: int, shape: Callable[[random.Random, int], bytes], max_entries: int
) -> None:
    """Random prefixes give the same matches, errno, keys as they were given, and the same order."""
    draw = random.Random(data_size)
    with _both(spec_of("lpm_trie", 4 + data_size, 5, max_entries), "lpm_trie") as (ours, theirs):
        for turn in range(1200):
            bits = draw.randrange(8 * data_size + (10 if draw.random() < 0.05 else 1))
            key = bits.to_bytes(4, "little") + shape(draw, data_size)
            if draw.random() < 0.2:
                key = (8 * data_size).to_bytes(4, "little") + key[4:]
                assert _outcome(lambda k=key: ours.lookup(k)) == _outcome(lambda k=key: theirs.lookup(k))
            elif draw.random() < 0.1:
                assert _outcome(lambda k=key: ours.next_key(k)) == _outcome(lambda k=key: theirs.next_key(k))
            _step(ours, theirs, draw, key)
            if turn % 100 == 0:
                assert list(ours.items()) == list(theirs.items())
                key_now = next(iter(theirs.keys()), None)
                if key_now is not None:
                    ours.delete(key_now)
                    theirs.delete(key_now)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_iteration_ends_and_restarts_as_the_kernels_does(name: str) -> None:
    """next_key begins at the first key without one, begins again for a key that is gone, and ends with nothing."""
    key_size, value_size = (8, 8) if name == "lpm_trie" else (4, 4)
    with _both(spec_of(name, key_size, value_size, 64), name) as (ours, theirs):
        if name != "prog_array":
            for number in range(10):
                key = (
                    number.to_bytes(4, "little").rjust(key_size, b"\x08")
                    if key_size == 4
                    else ((32).to_bytes(4, "little") + number.to_bytes(4, "big"))
                )
                value = bytes(ours.value_stride)
                ours.update(key, value)
                theirs.update(key, value)
        for each in (ours, theirs):
            listed = list(each.keys()) if each is theirs else [key for key, _ in ours.items()] or list(theirs.keys())
            assert each.next_key() == listed[0]
            assert each.next_key(listed[-1]) is None
            gone = b"\xff" * key_size
            assert each.next_key(gone) == listed[0]


SIZES = [0, 1, 4, 5, 8, 260, 261, 32 * 1024, 32 * 1024 + 1]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_shapes_are_refused_as_the_kernel_does(name: str) -> None:
    """Creating maps of random shapes and flags fails with the kernel's errno, or works on both."""
    kind, draw = KINDS[name], random.Random(name)
    bits = [flag for flag in MapFlag if flag not in (MapFlag.NUMA_NODE, MapFlag.CLONE)]
    refused = 0
    for _ in range(250):
        spec = MapSpec(
            name="m",
            kind=kind.id,
            key_size=draw.choice([4, 4, 8, *SIZES]),
            value_size=draw.choice([4, 4, 8, *SIZES]),
            max_entries=draw.choice([0, 1, 8, 16]),
            flags=sum(draw.sample(bits, draw.choice([0, 0, 1, 2])))
            | (1 if name == "lpm_trie" and draw.random() < 0.9 else 0),
        )
        ours = _outcome(lambda s=spec: create(s, kind, cpus=possible_cpus()).close())
        theirs = _outcome(lambda s=spec: KernelMap(s, cpus=1, per_cpu=kind.per_cpu).close())
        assert ours == theirs, spec
        refused += ours is not None
    assert 10 < refused < 250
