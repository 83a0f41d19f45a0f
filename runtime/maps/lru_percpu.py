"""LRU_PERCPU_HASH: a hash that evicts, and whose values have one copy for each CPU.

Not here: who is evicted (recency.py). An element is its reference word and its key; the values follow behind the lists.
As in Linux, an update of an existing key copies in place, counts as use, and takes (and gives back) a new element
unless it says F_EXIST.
"""

from __future__ import annotations

from errno import EINVAL, ENOMEM
from typing import Final

from runtime.maps.arena import CPUS_AT, HEADER_SIZE, REPAIRS_AT
from runtime.maps.keys import round8
from runtime.maps.limits import ACCESS, EXIST, check_exists, check_percpu_value, check_update
from runtime.maps.lists import LEAD, after_lists, let_go, mark_used
from runtime.maps.locks import lock_stripe, stripe, unlock
from runtime.maps.lru import AGAIN, NO_ERRNO, NONE_FREE, check_lru_flags, lru_drop
from runtime.maps.percpu_hash import ALL_CPUS, cpu_of, percpu_read, percpu_value, percpu_write
from runtime.maps.recency import begin, node_free, node_take, reclaim_nodes
from runtime.maps.store import check_shape, elements_at, locate, locate_slot, mix_of, next_key, table_at, value_at
from runtime.maps.table import insert_slot, next_slot
from runtime.native import load32, load64, memcpy, native, ult
from runtime.spec import MapFlag, MapKind, MapOp

__all__ = ["LRU_PERCPU_HASH"]

_ALLOWED: Final = ACCESS | int(MapFlag.NO_COMMON_LRU | MapFlag.ZERO_SEED | MapFlag.NO_PREALLOC)
_KEPT: Final = 1


@native
def _values(arena: int, key_size: int, max_entries: int) -> int:
    return after_lists(arena, max_entries, value_at(LEAD, key_size))


@native
def lru_percpu_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_lru_flags(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong == 0:
        wrong = check_percpu_value(value_size)
    if wrong != 0:
        return wrong
    return percpu_value(_values(-HEADER_SIZE, key_size, max_entries), max_entries, value_size, 0, cpus)


@native
def lru_percpu_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Make the lists."""
    return begin(arena, max_entries, value_at(LEAD, key_size), flags)


@native
def lru_percpu_lookup_on(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int, cpu: int
) -> int:
    """The address of that CPU's value, or 0. With an environment the element counts as used."""
    if ult(cpu, load64(arena + CPUS_AT)) == 0:
        return 0
    size = value_at(LEAD, key_size)
    number = locate(arena, max_entries, size, LEAD, key, key_size)
    if number == 0:
        return 0
    if env != 0:
        mark_used(elements_at(arena, max_entries) + number * size)
    return percpu_value(_values(arena, key_size, max_entries), max_entries, value_size, number, cpu)


@native
def lru_percpu_lookup(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """The address of this CPU's value, or 0. With an environment the element counts as used."""
    size = value_at(LEAD, key_size)
    number = locate(arena, max_entries, size, LEAD, key, key_size)
    if number == 0:
        return 0
    if env != 0:
        mark_used(elements_at(arena, max_entries) + number * size)
    return percpu_value(_values(arena, key_size, max_entries), max_entries, value_size, number, cpu_of(env))


@native
def _put(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    key: int,
    value: int,
    update_flags: int,
    cpu: int,
    number: int,
    mix: int,
) -> int:
    """An update, under the stripe's lock: 0 when element `number` was published, 1 when not, or an errno."""
    size = value_at(LEAD, key_size)
    slot = locate_slot(arena, max_entries, size, LEAD, key, key_size, mix)
    wrong = check_exists(slot, update_flags)
    if wrong != 0:
        return wrong
    elements = elements_at(arena, max_entries)
    values = _values(arena, key_size, max_entries)
    cpus = load64(arena + CPUS_AT)
    if slot != 0:
        mark_used(elements + load32(slot) * size)
        percpu_write(values, max_entries, value_size, load32(slot), value, cpu, 0, cpus)
        return _KEPT
    memcpy(elements + number * size + LEAD, key, key_size)
    percpu_write(values, max_entries, value_size, number, value, cpu, 1, cpus)
    insert_slot(table_at(arena), max_entries, number, mix)
    return let_go(arena, max_entries, size, number)


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
    cpu: int,
) -> int:
    size = value_at(LEAD, key_size)
    repairs = load64(arena + REPAIRS_AT)
    number = 0
    if update_flags != EXIST:
        number = node_take(arena, max_entries, size, key_size, flags, repairs, env)
        if number <= 0:
            return NONE_FREE if number == 0 else AGAIN
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    lock_stripe(arena, word, env)
    result = AGAIN
    if load64(arena + REPAIRS_AT) == repairs:
        result = _put(arena, key_size, value_size, max_entries, key, value, update_flags, cpu, number, mix)
    unlock(word)
    if result == AGAIN:
        return result
    if result != 0 and number != 0:
        node_free(arena, max_entries, size, flags, number, repairs, env)
    return min(result, 0)


@native
def _update(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
    cpu: int,
) -> int:
    if check_update(update_flags) != 0:
        return -EINVAL
    result = AGAIN
    repaired = 0
    while result < NO_ERRNO:
        result = _try_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags, cpu)
        if result == NONE_FREE:
            if repaired:
                return -ENOMEM
            repaired = 1
            reclaim_nodes(arena, max_entries, value_at(LEAD, key_size), flags, env)
    return result


@native
def lru_percpu_update(
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
    """Insert, or copy into this CPU's value: 0, -EINVAL, -EEXIST, -ENOENT or -ENOMEM."""
    return _update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags, cpu_of(env))


@native
def lru_percpu_delete(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """Delete on all CPUs: 0 or -ENOENT."""
    return lru_drop(arena, max_entries, value_at(LEAD, key_size), key, key_size, flags, env)


@native
def lru_percpu_next_key(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int
) -> int:
    """Store the key after the one at `key` (0, or a key that is gone: the first); -ENOENT after the last."""
    return next_key(arena, max_entries, value_at(LEAD, key_size), LEAD, key, key_size, out)


@native
def lru_percpu_fill(
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
    """Many updates of all CPUs' values; see MapKind.fill."""
    step = load64(arena + CPUS_AT) * round8(value_size)
    i = 0
    while i < count:
        key = keys + i * key_size
        value = values + i * step
        result = _update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags, ALL_CPUS)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def lru_percpu_snapshot(
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
    size = value_at(LEAD, key_size)
    cpus = load64(arena + CPUS_AT)
    count = 0
    slot = next_slot(table_at(arena), max_entries, 0)
    while slot != 0 and count < capacity:
        number = load32(slot)
        if number != 0:
            memcpy(keys + count * key_size, elements_at(arena, max_entries) + number * size + LEAD, key_size)
            out = values + count * cpus * round8(value_size)
            percpu_read(_values(arena, key_size, max_entries), max_entries, value_size, number, out, cpus)
            count += 1
        slot = next_slot(table_at(arena), max_entries, slot)
    return count


LRU_PERCPU_HASH: Final = MapKind(
    id=10,
    name="lru_percpu_hash",
    size=lru_percpu_size,
    init=lru_percpu_init,
    next_key=lru_percpu_next_key,
    ops={
        MapOp.LOOKUP: lru_percpu_lookup,
        MapOp.UPDATE: lru_percpu_update,
        MapOp.DELETE: lru_percpu_delete,
        MapOp.LOOKUP_PERCPU: lru_percpu_lookup_on,
    },
    fill=lru_percpu_fill,
    snapshot=lru_percpu_snapshot,
    per_cpu=True,
)
