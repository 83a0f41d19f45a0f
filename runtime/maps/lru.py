"""LRU_HASH: a hash that makes room by evicting what was not used lately.

Not here: who is evicted (recency.py), and per-CPU values (lru_percpu.py).

An element is its reference word, its key and its value. As in Linux, an update takes a new element before it looks
whether the key exists, so it may evict although it then replaces or fails; and updates by user space, which
go through CPU 0, do not count lookups by user space as use.
"""

from __future__ import annotations

from errno import EINVAL, ENOENT, ENOMEM
from typing import Final

from runtime.maps.arena import HEADER_SIZE, REPAIRS_AT
from runtime.maps.keys import round8
from runtime.maps.limits import ACCESS, check_access, check_exists, check_update
from runtime.maps.lists import LEAD, after_lists, hold, let_go, mark_used
from runtime.maps.locks import lock_stripe, stripe, unlock
from runtime.maps.recency import begin, node_free, node_take, reclaim_nodes
from runtime.maps.store import (
    check_shape,
    elements_at,
    locate,
    locate_slot,
    mix_of,
    next_key,
    table_at,
    value_at,
)
from runtime.maps.table import insert_slot, next_slot, remove_slot
from runtime.native import load32, load64, memcpy, native, store32, store_release32
from runtime.spec import MapFlag, MapKind, MapOp

__all__ = ["LRU_HASH"]

_ALLOWED: Final = ACCESS | int(MapFlag.NO_COMMON_LRU | MapFlag.NUMA_NODE | MapFlag.ZERO_SEED | MapFlag.NO_PREALLOC)
_NO_PREALLOC: Final = int(MapFlag.NO_PREALLOC)
_NUMA_OWN: Final = int(MapFlag.NUMA_NODE | MapFlag.NO_COMMON_LRU)
_ENOTSUPP: Final = 524

NO_ERRNO: Final = -999
AGAIN: Final = -1000
NONE_FREE: Final = -1001


@native
def check_lru_flags(flags: int, allowed: int) -> int:
    """-EINVAL, or -ENOTSUPP for F_NO_PREALLOC: LRU maps have all elements from the beginning."""
    wrong = check_access(flags, allowed)
    if wrong == 0 and flags & _NO_PREALLOC:
        wrong = -_ENOTSUPP
    if wrong == 0 and flags & _NUMA_OWN == _NUMA_OWN:
        wrong = -EINVAL
    return wrong


@native
def _element_size(key_size: int, value_size: int) -> int:
    return value_at(LEAD, key_size) + round8(value_size)


@native
def lru_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_lru_flags(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong != 0:
        return wrong
    return after_lists(-HEADER_SIZE, max_entries, _element_size(key_size, value_size))


@native
def lru_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Make the lists."""
    return begin(arena, max_entries, _element_size(key_size, value_size), flags)


@native
def lru_lookup(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of a value, or 0. With an environment the element counts as used."""
    size = _element_size(key_size, value_size)
    number = locate(arena, max_entries, size, LEAD, key, key_size)
    if number == 0:
        return 0
    element = elements_at(arena, max_entries) + number * size
    if env != 0:
        mark_used(element)
    return element + value_at(LEAD, key_size)


@native
def _put(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    key: int,
    value: int,
    update_flags: int,
    number: int,
    mix: int,
    env: int,
) -> int:
    """Publish element `number`, under the stripe's lock; the number of the element it replaced, 0, or an errno."""
    size = _element_size(key_size, value_size)
    slot = locate_slot(arena, max_entries, size, LEAD, key, key_size, mix)
    wrong = check_exists(slot, update_flags)
    if wrong != 0:
        return wrong
    element = elements_at(arena, max_entries) + number * size
    memcpy(element + LEAD, key, key_size)
    memcpy(element + value_at(LEAD, key_size), value, value_size)
    old = 0
    if slot == 0:
        insert_slot(table_at(arena), max_entries, number, mix)
    else:
        store32(element, 1)
        old = load32(slot)
        hold(arena, max_entries, size, old, env)
        store_release32(slot, number)
    let_go(arena, max_entries, size, number)
    return old


@native
def _try_update(
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
    size = _element_size(key_size, value_size)
    repairs = load64(arena + REPAIRS_AT)
    number = node_take(arena, max_entries, size, key_size, flags, repairs, env)
    if number <= 0:
        return NONE_FREE if number == 0 else AGAIN
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    lock_stripe(arena, word, env)
    result = AGAIN
    if load64(arena + REPAIRS_AT) == repairs:
        result = _put(arena, key_size, value_size, max_entries, key, value, update_flags, number, mix, env)
    unlock(word)
    if result == AGAIN:
        return result
    unused = number if result < 0 else result
    if unused != 0:
        node_free(arena, max_entries, size, flags, unused, repairs, env)
    return min(result, 0)


@native
def lru_update(
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
    """Insert or replace, evicting when the map is full: 0, -EINVAL, -EEXIST, -ENOENT or -ENOMEM."""
    if check_update(update_flags) != 0:
        return -EINVAL
    result = AGAIN
    repaired = 0
    while result < NO_ERRNO:
        result = _try_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)
        if result == NONE_FREE:
            if repaired:
                return -ENOMEM
            repaired = 1
            reclaim_nodes(arena, max_entries, _element_size(key_size, value_size), flags, env)
    return result


@native
def lru_drop(arena: int, max_entries: int, size: int, key: int, key_size: int, flags: int, env: int) -> int:
    """Delete an element of `size` bytes: 0 or -ENOENT."""
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    lock_stripe(arena, word, env)
    repairs = load64(arena + REPAIRS_AT)
    slot = locate_slot(arena, max_entries, size, LEAD, key, key_size, mix)
    number = 0
    if slot != 0:
        number = load32(slot)
        hold(arena, max_entries, size, number, env)
        remove_slot(table_at(arena), max_entries, slot, mix)
    unlock(word)
    if number == 0:
        return -ENOENT
    return node_free(arena, max_entries, size, flags, number, repairs, env)


@native
def lru_delete(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """Delete: 0 or -ENOENT."""
    return lru_drop(arena, max_entries, _element_size(key_size, value_size), key, key_size, flags, env)


@native
def lru_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """Store the key after the one at `key` (0, or a key that is gone: the first); -ENOENT after the last."""
    return next_key(arena, max_entries, _element_size(key_size, value_size), LEAD, key, key_size, out)


@native
def lru_fill(
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
        result = lru_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def lru_snapshot(
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
            memcpy(keys + count * key_size, element + LEAD, key_size)
            memcpy(values + count * value_size, element + value_at(LEAD, key_size), value_size)
            count += 1
        slot = next_slot(table_at(arena), max_entries, slot)
    return count


LRU_HASH: Final = MapKind(
    id=9,
    name="lru_hash",
    size=lru_size,
    init=lru_init,
    next_key=lru_next_key,
    ops={MapOp.LOOKUP: lru_lookup, MapOp.UPDATE: lru_update, MapOp.DELETE: lru_delete},
    fill=lru_fill,
    snapshot=lru_snapshot,
)
