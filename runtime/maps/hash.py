"""HASH: elements found by key, up to max_entries of them.

Not here: where they lie (store.py, table.py), and maps that evict (lru.py).

An element is its key and its value. Updating a key puts a new element in the place of the old one, as in Linux: a
program that looked the old one up goes on reading, and writing, the old one, and nobody sees half of a new value.
Where this differs from Linux: a deleted or replaced element is used again as late as possible (pool.py), Linux's
preallocated maps use it at once; F_NO_PREALLOC changes nothing; keys come in an order of their own, the
same in every run unless the arena was given a seed.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL
from typing import Final

from runtime.maps.arena import HEADER_SIZE, REPAIR_AT
from runtime.maps.keys import round8
from runtime.maps.limits import ACCESS, check_access, check_exists, check_update
from runtime.maps.locks import lock_stripe, stripe, unlock
from runtime.maps.store import (
    after_elements,
    check_shape,
    drop,
    elements_at,
    give,
    locate,
    locate_slot,
    mix_of,
    next_key,
    reclaim,
    repair,
    table_at,
    take,
    value_at,
)
from runtime.maps.table import insert_slot, next_slot
from runtime.native import load32, load64, memcpy, native, store_release32, unlikely
from runtime.spec import MapFlag, MapKind, MapOp

__all__ = ["HASH"]

_ALLOWED: Final = ACCESS | int(MapFlag.NO_PREALLOC | MapFlag.NUMA_NODE | MapFlag.ZERO_SEED)


@native
def _element_size(key_size: int, value_size: int) -> int:
    return value_at(0, key_size) + round8(value_size)


@native
def hash_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_access(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong != 0:
        return wrong
    return after_elements(-HEADER_SIZE, max_entries, _element_size(key_size, value_size))


@native
def hash_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is an empty table."""
    return 0


@native
def hash_lookup(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of a value, or 0."""
    size = _element_size(key_size, value_size)
    number = locate(arena, max_entries, size, 0, key, key_size)
    if number == 0:
        return 0
    return elements_at(arena, max_entries) + number * size + value_at(0, key_size)


@native
def _put(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
    mix: int,
) -> int:
    """An update, under the stripe's lock."""
    size = _element_size(key_size, value_size)
    slot = locate_slot(arena, max_entries, size, 0, key, key_size, mix)
    wrong = check_exists(slot, update_flags)
    if wrong != 0:
        return wrong
    number = take(arena, max_entries, 0, 0, env) if slot != 0 else take(arena, max_entries, max_entries, 1, env)
    if number == 0:
        return -E2BIG
    element = elements_at(arena, max_entries) + number * size
    memcpy(element, key, key_size)
    memcpy(element + value_at(0, key_size), value, value_size)
    if slot != 0:
        old = load32(slot)
        store_release32(slot, number)
        give(arena, max_entries, old, 0, env)
    else:
        insert_slot(table_at(arena), max_entries, number, mix)
    return 0


@native
def hash_update(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
) -> int:
    """Insert or replace: 0, -EINVAL, -EEXIST, -ENOENT, or -E2BIG when the map is full."""
    if check_update(update_flags) != 0:
        return -EINVAL
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    while True:
        lock_stripe(arena, word, env)
        result = _put(arena, key_size, value_size, max_entries, env, key, value, update_flags, mix)
        unlock(word)
        if unlikely(load64(arena + REPAIR_AT) != 0):
            repair(arena, max_entries, env)
        if result != -E2BIG or reclaim(arena, max_entries, env) == 0:
            return result


@native
def hash_delete(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """Delete: 0 or -ENOENT."""
    number = drop(arena, max_entries, _element_size(key_size, value_size), 0, key, key_size, 1, env)
    if number < 0:
        return number
    return 0


@native
def hash_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """Store the key after the one at `key` (0, or a key that is gone: the first); -ENOENT after the last."""
    return next_key(arena, max_entries, _element_size(key_size, value_size), 0, key, key_size, out)


@native
def hash_fill(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    keys: int,
    values: int,
    count: int,
    update_flags: int,
) -> int:
    """Many updates; see MapKind.fill."""
    i = 0
    while i < count:
        key = keys + i * key_size
        value = values + i * value_size
        result = hash_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def hash_snapshot(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    keys: int,
    values: int,
    capacity: int,
) -> int:
    """Copy all elements; see MapKind.snapshot."""
    size = _element_size(key_size, value_size)
    count = 0
    slot = next_slot(table_at(arena), max_entries, 0)
    while slot != 0 and count < capacity:
        number = load32(slot)
        if number != 0:
            element = elements_at(arena, max_entries) + number * size
            memcpy(keys + count * key_size, element, key_size)
            memcpy(values + count * value_size, element + value_at(0, key_size), value_size)
            count += 1
        slot = next_slot(table_at(arena), max_entries, slot)
    return count


HASH: Final = MapKind(
    id=1,
    name="hash",
    size=hash_size,
    init=hash_init,
    next_key=hash_next_key,
    ops={MapOp.LOOKUP: hash_lookup, MapOp.UPDATE: hash_update, MapOp.DELETE: hash_delete},
    fill=hash_fill,
    snapshot=hash_snapshot,
)
