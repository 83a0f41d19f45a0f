"""Maps against dictionaries: random operations, every answer and every errno."""

from __future__ import annotations

import random
from collections.abc import Callable
from errno import E2BIG, EEXIST, EINVAL, ENOENT, ENOSPC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import MapError
from runtime.maps import Map, create
from runtime.spec import MapFlag, UpdateFlag
from tests.support.maps import KINDS, Make, spec_of

HASHES = ("hash", "percpu_hash")
LRUS = ("lru_hash", "lru_percpu_hash")
MAX_ENTRIES = 7


def outcome(act: Callable[[], object]) -> object:
    """What an operation gives: its result, or its errno below zero."""
    try:
        return act()
    except MapError as error:
        return -error.errno


def expected_update(model: dict[bytes, bytes], key: bytes, flags: int, full: int) -> int | None:
    """What an update of a hash must give: None, or an errno below zero."""
    if flags > UpdateFlag.EXIST:
        return -EINVAL
    if key in model:
        return -EEXIST if flags == UpdateFlag.NOEXIST else None
    if flags == UpdateFlag.EXIST:
        return -ENOENT
    return -full if len(model) >= MAX_ENTRIES else None


def value_for(each: Map, seed: int) -> bytes:
    """A value of the right size; the padding of per-CPU slots is zero, as maps give it back."""
    draw = random.Random(seed)
    size, slots = each.spec.value_size, each.cpus if each.kind.per_cpu else 1
    stride = each.value_stride // slots
    return b"".join(draw.randbytes(size).ljust(stride, b"\0") for _ in range(slots))


def iterate(each: Map) -> list[bytes]:
    """All keys by next_key."""
    keys = []
    key = each.next_key()
    while key is not None:
        keys.append(key)
        key = each.next_key(key)
    return keys


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["update", "update", "delete", "lookup"]),
        st.integers(0, 9),
        st.integers(0, 1 << 32),
        st.sampled_from([0, 0, 0, 1, 2, 3, 4, 1 << 40]),
    ),
    min_size=30,
    max_size=60,
)


@pytest.mark.parametrize("name", HASHES)
@given(steps=_STEPS, key_size=st.sampled_from([1, 3, 4, 8, 13, 70]), value_size=st.sampled_from([1, 4, 8, 20]))
@settings(max_examples=100, deadline=None)
def test_a_hash_is_a_dictionary(
    name: str, steps: list[tuple[str, int, int, int]], key_size: int, value_size: int
) -> None:
    """A hash answers as a dictionary of max_entries keys would, in the errno of Linux too."""
    model: dict[bytes, bytes] = {}
    with create(spec_of(name, key_size, value_size, MAX_ENTRIES), KINDS[name], cpus=2, compiled=False) as each:
        for what, number, seed, flags in steps:
            key = number.to_bytes(key_size, "big")
            value = value_for(each, seed)
            match what:
                case "update":
                    wanted = expected_update(model, key, flags, E2BIG)
                    assert outcome(lambda k=key, v=value, f=flags: each.update(k, v, f)) == wanted
                    if wanted is None:
                        model[key] = value
                case "delete":
                    wanted = None if key in model else -ENOENT
                    assert outcome(lambda k=key: each.delete(k)) == wanted
                    model.pop(key, None)
                case _:
                    assert outcome(lambda k=key: each.lookup(k)) == model.get(key, -ENOENT)
            assert len(each) == len(model)
        assert dict(each.items()) == model
        assert sorted(iterate(each)) == sorted(model)


@pytest.mark.parametrize("name", LRUS)
@pytest.mark.parametrize("flags", [0, MapFlag.NO_COMMON_LRU], ids=["common", "own"])
@given(steps=_STEPS)
@settings(max_examples=60, deadline=None)
def test_an_lru_hash_only_forgets(name: str, flags: int, steps: list[tuple[str, int, int, int]]) -> None:
    """An LRU hash never fails for lack of room; what it holds is what was stored last under that key."""
    model: dict[bytes, bytes] = {}
    with create(spec_of(name, 4, 8, MAX_ENTRIES, flags), KINDS[name], cpus=2, compiled=False) as each:
        for what, number, seed, update_flags in steps:
            key = number.to_bytes(4, "little")
            value = value_for(each, seed)
            held = outcome(lambda k=key: each.lookup(k))
            assert held in (-ENOENT, model.get(key))
            if what == "update":
                got = outcome(lambda k=key, v=value, f=update_flags: each.update(k, v, f))
                assert got in (None, -EINVAL, -EEXIST, -ENOENT)
                if got is None:
                    model[key] = value
                    assert each.lookup(key) == value
            elif what == "delete":
                assert outcome(lambda k=key: each.delete(k)) == (-ENOENT if held == -ENOENT else None)
                model.pop(key, None)
        content = dict(each.items())
        assert content.items() <= model.items()
        assert len(each) == len(content) <= MAX_ENTRIES + 1


@pytest.mark.parametrize("name", ["array", "percpu_array"])
@given(steps=_STEPS, value_size=st.sampled_from([1, 4, 8, 12]))
@settings(max_examples=60, deadline=None)
def test_an_array_always_has_all_elements(name: str, steps: list[tuple[str, int, int, int]], value_size: int) -> None:
    """An array answers as a list of zeroes would, and refuses to delete."""
    with create(spec_of(name, 4, value_size, MAX_ENTRIES), KINDS[name], cpus=2, compiled=False) as each:
        model = [bytes(each.value_stride)] * MAX_ENTRIES
        for what, index, seed, flags in steps:
            key = index.to_bytes(4, "little")
            value = value_for(each, seed)
            match what:
                case "update":
                    wanted = (
                        -EINVAL if flags > 2 else -E2BIG if index >= MAX_ENTRIES else -EEXIST if flags == 1 else None
                    )
                    assert outcome(lambda k=key, v=value, f=flags: each.update(k, v, f)) == wanted
                    if wanted is None:
                        model[index] = value
                case "delete":
                    assert outcome(lambda k=key: each.delete(k)) == -EINVAL
                case _:
                    wanted_value = model[index] if index < MAX_ENTRIES else -ENOENT
                    assert outcome(lambda k=key: each.lookup(k)) == wanted_value
        assert [value for _, value in each.items()] == model
        assert iterate(each) == [at.to_bytes(4, "little") for at in range(MAX_ENTRIES)]


def _covers(prefix: tuple[int, int], data: int, width: int) -> bool:
    bits, value = prefix
    return bits == 0 or value >> (width - bits) == data >> (width - bits)


@given(
    size=st.sampled_from([1, 2, 4, 5, 16]),
    steps=st.lists(
        st.tuples(st.sampled_from("uuudl"), st.integers(0, 40), st.binary(min_size=3, max_size=3), st.integers(0, 3)),
        min_size=25,
        max_size=40,
    ),
)
@settings(max_examples=150, deadline=None)
def test_a_trie_finds_the_longest_prefix(size: int, steps: list[tuple[str, int, bytes, int]]) -> None:
    """A trie answers as a list of prefixes that is searched from the longest on."""
    width = 8 * size
    model: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    with create(spec_of("lpm_trie", 4 + size, 8, MAX_ENTRIES), KINDS["lpm_trie"], cpus=1, compiled=False) as each:
        for what, bits, tail, flags in steps:
            data = bytes(x & 0x83 for x in (tail * size)[:size])  # few values, so that prefixes meet
            number = int.from_bytes(data, "big")
            key = bits.to_bytes(4, "little") + data
            same = next((p for p in model if p[0] == bits and _covers(p, number, width)), None)
            if what == "u":
                wanted = None
                if flags > UpdateFlag.EXIST or bits > width:
                    wanted = -EINVAL
                elif same is not None:
                    wanted = -EEXIST if flags == UpdateFlag.NOEXIST else None
                elif flags == UpdateFlag.EXIST:
                    wanted = -ENOENT
                elif len(model) == MAX_ENTRIES:
                    wanted = -ENOSPC
                value = tail + bytes(5)
                assert outcome(lambda k=key, v=value, f=flags: each.update(k, v, f)) == wanted
                if wanted is None:
                    model.pop(same, None)  # type: ignore[arg-type] # None is no key, which is fine
                    model[bits, number] = key, value
            elif what == "d":
                wanted = -EINVAL if bits > width else None if same else -ENOENT
                assert outcome(lambda k=key: each.delete(k)) == wanted
                model.pop(same, None)  # type: ignore[arg-type]
            else:
                found = [p for p in model if p[0] <= min(bits, width) and _covers(p, number, width)]
                best = model[max(found)][1] if found and bits <= width else -ENOENT
                assert outcome(lambda k=key: each.lookup(k)) == best
        assert sorted(each.items()) == sorted(model.values())
        assert iterate(each) == [key for key, _ in each.items()]


def test_program_arrays_hold_ids(make: Make) -> None:
    """A program array gives ENOENT for empty slots, E2BIG out of range, EINVAL for flags."""
    each = make("prog_array", 4, 4, 3)
    key = [number.to_bytes(4, "little") for number in range(5)]
    each.update(key[1], key[4])
    assert each.lookup(key[1]) == key[4]
    assert dict(each.items()) == {key[1]: key[4]}
    assert outcome(lambda: each.lookup(key[0])) == -ENOENT
    assert outcome(lambda: each.update(key[0], key[4], 1)) == -EINVAL
    assert outcome(lambda: each.update(key[3], key[4])) == -E2BIG
    assert outcome(lambda: each.delete(key[0])) == -ENOENT
    assert outcome(lambda: each.delete(key[3])) == -E2BIG
    each.delete(key[1])
    assert dict(each.items()) == {}


def test_programs_write_their_own_cpu_only(make: Make) -> None:
    """An update by a worker stores its CPU's value; in a new element the other CPUs' are zero."""
    from runtime.engine.environment import Environment  # only this test runs as a program would
    from runtime.native import memory
    from runtime.spec import MapOp

    for name in ("percpu_hash", "lru_percpu_hash", "percpu_array"):
        each = make(name, 4, 8, 4)
        environment = Environment(cpu=1)
        key = memory.read(each._put_key(bytes(4)), 4)
        place = each._put_key(key)
        memory.write(place + 8, (7).to_bytes(8, "little"))
        update = each.kind.ops[MapOp.UPDATE]
        assert update(each.address, 4, 8, 4, 0, environment.address, place, place + 8, 0) == 0
        assert each.lookup(key) == bytes(8) + (7).to_bytes(8, "little")
        lookup = each.kind.ops[MapOp.LOOKUP]
        assert memory.load(lookup(each.address, 4, 8, 4, 0, environment.address, place), 8) == 7
        environment.close()


def test_an_updated_element_leaves_the_old_one_to_who_holds_it(make: Make) -> None:
    """A program that looked a hash element up keeps seeing, and changing, the value that it found."""
    from runtime.native import memory
    from runtime.spec import MapOp

    for name in ("hash", "lru_hash", "lpm_trie"):
        each = make(name, 8, 8, 4)
        key = (32).to_bytes(4, "little") + bytes(4)
        each.update(key, b"before..")
        held = each.kind.ops[MapOp.LOOKUP](*each._shape, 0, each._put_key(key))
        each.update(key, b"after...")
        assert memory.read(held, 8) == b"before.."
        memory.write(held, b"changed.")
        assert each.lookup(key) == b"after..."
        for number in range(200):
            each.update(key, number.to_bytes(8, "little"))
        assert memory.read(held, 8) == b"changed."
