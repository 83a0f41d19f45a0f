"""A writer may die after any store: readers must go on seeing a whole map, and the next writer must mend the rest.

Each operation is cut short after every one of its stores in turn, under Python, in the name of a process that
does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest

from runtime.errors import MapError
from runtime.maps import Map, locks
from runtime.maps import caller as caller_module
from runtime.native import intrinsics, memory
from runtime.spec import Env, MapFlag
from tests.support.maps import Make

NOBODY = 0x3FFF_FFFF << 32 | 1
ENOENT, E2BIG, ENOSPC = 2, 7, 28


class DiedError(Exception):
    """Stands for SIGKILL."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a lock is slow under Python: look at its owner every other time."""
    monkeypatch.setattr(locks, "_LOOK", 2)


@contextmanager
def dying_after(stores: int) -> Iterator[list[int]]:
    """Within the block, locks are taken in the name of nobody, and after so many stores everything ends."""
    seen = [0]
    store, write = memory.store, memory.write

    def counted() -> None:
        if seen[0] == stores:
            raise DiedError
        seen[0] += 1

    def dying_store(address: int, width: int, value: int) -> None:
        counted()
        store(address, width, value)

    def dying_write(address: int, data: bytes) -> None:
        counted()
        write(address, data)

    record = caller_module._record
    owner = record[Env.OWNER // 8]
    record[Env.OWNER // 8] = NOBODY
    intrinsics._store, memory.write = dying_store, dying_write
    try:
        yield seen
    finally:
        intrinsics._store, memory.write = store, write
        record[Env.OWNER // 8] = owner


def _key(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _prefix(bits: int, *data: int) -> bytes:
    return bits.to_bytes(4, "little") + bytes(data)


def _value(each: Map, number: int) -> bytes:
    return (number.to_bytes(8, "little") * each.cpus)[: each.value_stride]


def _put(number: int, value: int) -> Callable[[Map], None]:
    return lambda each: each.update(_key(number), _value(each, value))


def _drop(number: int) -> Callable[[Map], None]:
    def act(each: Map) -> None:
        with suppress(MapError):  # evicted before
            each.delete(_key(number))

    return act


def _put_prefix(bits: int, *data: int) -> Callable[[Map], None]:
    return lambda each: each.update(_prefix(bits, *data), _value(each, 99))


def _drop_prefix(bits: int, *data: int) -> Callable[[Map], None]:
    return lambda each: each.delete(_prefix(bits, *data))


def _content(each: Map) -> dict[bytes, bytes]:
    return dict(each.items())


def _fill_up(each: Map, errno: int, acts: Iterable[Callable[[Map], None]]) -> None:
    """Put keys into a map until it is full, which must be with that errno."""
    errors = []
    for act in acts:
        try:
            act(each)
        except MapError as error:
            errors.append(error.errno)
            break
    assert errors == [errno]


def _slots(value: bytes) -> range:
    """Where the words of a value begin: per-CPU values change one CPU after the other."""
    return range(0, len(value), 8)


def _cut_short(
    prepare: Callable[..., Map], act: Callable[[Map], None], check: Callable[[Map], None], *, evicts: bool = False
) -> None:
    """Die after 0, 1, 2, … stores of the operation until it gets through; each time check what is left."""
    first = prepare(filled=True)
    before, memory_before = _content(first), bytes(first.arena.view)
    act(first)
    done = _content(first)
    for stores in (*range(60), *range(60, 700, 23)):
        each = prepare(filled=False)
        each.arena.view[:] = memory_before
        finished = False
        with dying_after(stores):
            try:
                act(each)
                finished = True
            except DiedError:
                pass
        # For readers the operation has happened or it has not; what evicts does so before everything else.
        seen = _content(each)
        for key, value in seen.items():
            whole = {before.get(key), done.get(key)}
            assert all(any(each and each[at : at + 8] == value[at : at + 8] for each in whole) for at in _slots(value))
        assert evicts or before.keys() & done.keys() <= seen.keys()
        check(each)
        if finished:
            return
    pytest.fail("the operation does not end")


@pytest.mark.parametrize("name", ["hash", "percpu_hash"])
@pytest.mark.parametrize("act", [_put(100, 1), _put(3, 7), _drop(3)], ids=["insert", "replace", "delete"])
def test_a_hash_survives_its_writers(make: Make, name: str, act: Callable[[Map], None]) -> None:
    """After a writer died, a hash holds exactly max_entries again, and every key can be found and deleted."""

    def prepare(*, filled: bool) -> Map:
        each = make(name, 4, 8, 12)
        for number in range(10 if filled else 0):
            each.update(_key(number), _value(each, number))
        return each

    def check(each: Map) -> None:
        _fill_up(each, E2BIG, (_put(number, 5) for number in range(1000, 1100)))
        assert len(each) == len(_content(each)) == 12
        for key in _content(each):
            each.delete(key)
        assert len(each) == len(_content(each)) == 0

    _cut_short(prepare, act, check)


_LRU_ACTS = {"evict": _put(100, 1), "old": _put(3, 7), "new": _put(9, 7), "delete": _drop(3), "pending": _drop(9)}


@pytest.mark.parametrize(
    ("name", "act"),
    [*(("lru_hash", act) for act in _LRU_ACTS), ("lru_percpu_hash", "evict"), ("lru_percpu_hash", "new")],
)
@pytest.mark.parametrize("flags", [0, MapFlag.NO_COMMON_LRU], ids=["common", "own"])
def test_an_lru_hash_survives_its_writers(make: Make, name: str, flags: int, act: str) -> None:
    """After a writer died, an LRU hash takes any number of keys and holds as many as an untouched one."""
    many = range(1000, 1016)
    untouched = make(name, 4, 8, 8, flags)
    for number in many:
        untouched.update(_key(number), _value(untouched, 5))

    def prepare(*, filled: bool) -> Map:
        each = make(name, 4, 8, 8, flags)
        for number in range(10 if filled else 0):
            each.update(_key(number), _value(each, number))
        return each

    def check(each: Map) -> None:
        for number in many:
            each.update(_key(number), _value(each, 5))
        content = _content(each)
        assert len(each) == len(content)
        assert abs(len(content) - len(untouched)) < 4  # they evict up to four at a time
        for key in content:
            each.delete(key)
        assert len(each) == len(_content(each)) == 0

    _cut_short(prepare, _LRU_ACTS[act], check, evicts=True)


@pytest.mark.parametrize(
    "act",
    [
        _put_prefix(16, 10, 2, 0, 0),
        _put_prefix(8, 10, 9, 9, 9),
        _put_prefix(0, 0, 0, 0, 0),
        _put_prefix(32, 172, 16, 5, 6),
        _put_prefix(30, 192, 168, 1, 4),
        _put_prefix(20, 192, 168, 16, 0),
        _drop_prefix(8, 10, 0, 0, 0),
        _drop_prefix(9, 10, 0, 0, 0),
        _drop_prefix(32, 172, 16, 1, 1),
        _drop_prefix(24, 192, 168, 1, 0),
        _drop_prefix(32, 192, 168, 1, 1),
    ],
)
def test_a_trie_survives_its_writers(make: Make, act: Callable[[Map], None]) -> None:
    """After a writer died, a trie finds every prefix, holds exactly max_entries again, and can be emptied."""
    prefixes = [
        (8, 10, 0, 0, 0), (9, 10, 0, 0, 0), (12, 10, 16, 0, 0), (32, 172, 16, 1, 1), (24, 192, 168, 1, 0),
        (32, 192, 168, 1, 1), (32, 192, 168, 1, 2), (28, 192, 168, 1, 16),
    ]  # fmt: skip

    def prepare(*, filled: bool) -> Map:
        each = make("lpm_trie", 8, 8, 20)
        for at, prefix in enumerate(prefixes if filled else ()):
            each.update(_prefix(*prefix), _value(each, at))
        return each

    def check(each: Map) -> None:
        _fill_up(each, ENOSPC, (_put_prefix(24, 10, number, number, 0) for number in range(30)))
        content = _content(each)
        assert len(each) == len(content) == 20
        assert all(each.lookup(key) == value for key, value in content.items())
        for key in content:
            each.delete(key)
        assert len(each) == len(_content(each)) == 0
        with pytest.raises(MapError):
            each.lookup(_prefix(32, 10, 1, 1, 1))

    _cut_short(prepare, act, check)
