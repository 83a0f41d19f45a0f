"""PERCPU_HASH: a hash whose values have one copy for each CPU.

Not here: where elements lie (store.py, table.py), and maps that evict (lru.py).

An element is its key; the values follow behind the elements, all those of CPU 0, then all those of CPU 1, so that
CPUs do not share cache lines. A program reads and writes the copy of its own CPU; a new element begins with
zeroes on the others. Updates copy in place, as in Linux; deleted elements are used again as late as possible.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL
from typing import Final

from runtime.maps.arena import CPUS_AT, HEADER_SIZE, REPAIR_AT
from runtime.maps.keys import copy_small, round8
from runtime.maps.limits import ACCESS, check_access, check_exists, check_percpu_value, check_update
from runtime.maps.locks import lock_stripe, stripe, unlock
from runtime.maps.store import (
    after_elements,
    check_shape,
    drop,
    elements_at,
    locate,
    locate_slot,
    mix_of,
    next_key,
    reclaim,
    repair,
    rows,
    table_at,
    take,
    value_at,
)
from runtime.maps.table import insert_slot, next_slot
from runtime.native import load32, load64, memcpy, memzero, native, ult, unlikely
from runtime.spec import Env, MapFlag, MapKind, MapOp

__all__ = ["PERCPU_HASH"]

ALL_CPUS: Final = -1
"""Instead of a CPU: the value holds the slots of all of them."""

_ALLOWED: Final = ACCESS | int(MapFlag.NO_PREALLOC | MapFlag.ZERO_SEED)
_CPU: Final = int(Env.CPU)


@native
def _stride(value_size: int, max_entries: int) -> int:
    return (rows(max_entries) * round8(value_size) + 63) & -64


@native
def percpu_value(values: int, max_entries: int, value_size: int, number: int, cpu: int) -> int:
    """The address of one CPU's value of an element; `values` is where the values of all elements begin."""
    return values + cpu * _stride(value_size, max_entries) + number * round8(value_size)


@native
def percpu_write(
    values: int, max_entries: int, value_size: int, number: int, value: int, cpu: int, is_new: int, cpus: int
) -> int:
    """Copy a value into one CPU's slot (when the element is new, clearing the others), or slots into all."""
    if cpu != ALL_CPUS and is_new == 0:
        copy_small(percpu_value(values, max_entries, value_size, number, cpu), value, value_size)
        return 0
    each = 0
    while each < cpus:
        place = percpu_value(values, max_entries, value_size, number, each)
        if cpu == ALL_CPUS:
            memcpy(place, value + each * round8(value_size), value_size)
        elif each == cpu:
            memcpy(place, value, value_size)
        else:
            memzero(place, value_size)
        each += 1
    return 0


@native
def percpu_read(values: int, max_entries: int, value_size: int, number: int, out: int, cpus: int) -> int:
    """Copy all CPUs' slots out, side by side."""
    cpu = 0
    while cpu < cpus:
        place = percpu_value(values, max_entries, value_size, number, cpu)
        memcpy(out + cpu * round8(value_size), place, value_size)
        cpu += 1
    return 0


@native
def cpu_of(env: int) -> int:
    """The CPU that an environment speaks for; 0 without one."""
    if env == 0:
        return 0
    return load64(env + _CPU)


@native
def _values(arena: int, key_size: int, max_entries: int) -> int:
    return after_elements(arena, max_entries, value_at(0, key_size))


@native
def percpu_hash_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_access(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong == 0:
        wrong = check_percpu_value(value_size)
    if wrong != 0:
        return wrong
    return percpu_value(_values(-HEADER_SIZE, key_size, max_entries), max_entries, value_size, 0, cpus)


@native
def percpu_hash_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is an empty table."""
    return 0


@native
def percpu_hash_lookup_on(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int, cpu: int
) -> int:
    """The address of that CPU's value, or 0."""
    if ult(cpu, load64(arena + CPUS_AT)) == 0:
        return 0
    size = value_at(0, key_size)
    number = locate(arena, max_entries, size, 0, key, key_size)
    if number == 0:
        return 0
    return percpu_value(_values(arena, key_size, max_entries), max_entries, value_size, number, cpu)


@native
def percpu_hash_lookup(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """The address of this CPU's value, or 0; without an environment, CPU 0's."""
    size = value_at(0, key_size)
    number = locate(arena, max_entries, size, 0, key, key_size)
    if number == 0:
        return 0
    return percpu_value(_values(arena, key_size, max_entries), max_entries, value_size, number, cpu_of(env))


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
    cpu: int,
    mix: int,
) -> int:
    """An update, under the stripe's lock."""
    size = value_at(0, key_size)
    slot = locate_slot(arena, max_entries, size, 0, key, key_size, mix)
    wrong = check_exists(slot, update_flags)
    if wrong != 0:
        return wrong
    values = _values(arena, key_size, max_entries)
    cpus = load64(arena + CPUS_AT)
    if slot != 0:
        return percpu_write(values, max_entries, value_size, load32(slot), value, cpu, 0, cpus)
    number = take(arena, max_entries, max_entries, 1, env)
    if number == 0:
        return -E2BIG
    memcpy(elements_at(arena, max_entries) + number * size, key, key_size)
    percpu_write(values, max_entries, value_size, number, value, cpu, 1, cpus)
    return insert_slot(table_at(arena), max_entries, number, mix)


@native
def _update(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
    cpu: int,
) -> int:
    if check_update(update_flags) != 0:
        return -EINVAL
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    while True:
        lock_stripe(arena, word, env)
        result = _put(arena, key_size, value_size, max_entries, env, key, value, update_flags, cpu, mix)
        unlock(word)
        if unlikely(load64(arena + REPAIR_AT) != 0):
            repair(arena, max_entries, env)
        if result != -E2BIG or reclaim(arena, max_entries, env) == 0:
            return result


@native
def percpu_hash_update(
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
    """Insert, or copy into this CPU's value: 0, -EINVAL, -EEXIST, -ENOENT, or -E2BIG when the map is full."""
    return _update(arena, key_size, value_size, max_entries, env, key, value, update_flags, cpu_of(env))


@native
def percpu_hash_delete(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """Delete on all CPUs: 0 or -ENOENT."""
    number = drop(arena, max_entries, value_at(0, key_size), 0, key, key_size, 1, env)
    if number < 0:
        return number
    return 0


@native
def percpu_hash_next_key(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int
) -> int:
    """Store the key after the one at `key` (0, or a key that is gone: the first); -ENOENT after the last."""
    return next_key(arena, max_entries, value_at(0, key_size), 0, key, key_size, out)


@native
def percpu_hash_fill(
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
        result = _update(arena, key_size, value_size, max_entries, env, key, values + i * step, update_flags, ALL_CPUS)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def percpu_hash_snapshot(
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
    size = value_at(0, key_size)
    cpus = load64(arena + CPUS_AT)
    count = 0
    slot = next_slot(table_at(arena), max_entries, 0)
    while slot != 0 and count < capacity:
        number = load32(slot)
        if number != 0:
            memcpy(keys + count * key_size, elements_at(arena, max_entries) + number * size, key_size)
            out = values + count * cpus * round8(value_size)
            percpu_read(_values(arena, key_size, max_entries), max_entries, value_size, number, out, cpus)
            count += 1
        slot = next_slot(table_at(arena), max_entries, slot)
    return count


PERCPU_HASH: Final = MapKind(
    id=5,
    name="percpu_hash",
    size=percpu_hash_size,
    init=percpu_hash_init,
    next_key=percpu_hash_next_key,
    ops={
        MapOp.LOOKUP: percpu_hash_lookup,
        MapOp.UPDATE: percpu_hash_update,
        MapOp.DELETE: percpu_hash_delete,
        MapOp.LOOKUP_PERCPU: percpu_hash_lookup_on,
    },
    fill=percpu_hash_fill,
    snapshot=percpu_hash_snapshot,
    per_cpu=True,
)
