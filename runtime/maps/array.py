"""ARRAY and PERCPU_ARRAY: values side by side, found by index.

Not here: PROG_ARRAY, which shares the layout of ARRAY (prog_array.py).

ARRAY: value i at HEADER_SIZE + i * round8(value_size). PERCPU_ARRAY: one such array for each CPU, each
beginning on a cache line of its own. Updates copy in place, as in Linux; words of 4 and 8 bytes in one store.
"""

from __future__ import annotations

from errno import E2BIG, EEXIST, EINVAL, ENOENT
from typing import Final

from runtime.maps.arena import CPUS_AT, HEADER_SIZE
from runtime.maps.keys import copy_small, round8
from runtime.maps.limits import ACCESS, LOCK, NOEXIST, check_access, check_percpu_value, check_update
from runtime.native import likely, load32, load64, memcpy, native, store32, ult
from runtime.spec import Env, MapFlag, MapKind, MapOp

__all__ = ["ARRAY", "PERCPU_ARRAY"]

_ALLOWED: Final = ACCESS | int(MapFlag.NUMA_NODE | MapFlag.MMAPABLE | MapFlag.INNER_MAP)
_ALLOWED_PERCPU: Final = ACCESS
_INT_MAX: Final = 0x7FFF_FFFF
_NO_INDEX: Final = 0xFFFF_FFFF
_CPU: Final = int(Env.CPU)


@native
def check_shape(key_size: int, value_size: int, max_entries: int) -> int:
    """-EINVAL or -E2BIG for sizes that no array has."""
    if max_entries == 0 or key_size != 4 or value_size == 0:
        return -EINVAL
    if value_size > _INT_MAX:
        return -E2BIG
    return 0


@native
def array_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_access(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong != 0:
        return wrong
    return max_entries * round8(value_size)


@native
def array_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is an array of zeroes."""
    return 0


@native
def array_lookup(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of a value, or 0 when the index is out of range."""
    index = load32(key)
    if likely(index < max_entries):
        return arena + HEADER_SIZE + index * round8(value_size)
    return 0


@native
def array_update(
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
    """Copy a value in; -EINVAL, -E2BIG or, since all elements always exist, -EEXIST for NOEXIST."""
    if check_update(update_flags & ~LOCK) != 0:
        return -EINVAL
    index = load32(key)
    if index >= max_entries:
        return -E2BIG
    if update_flags & NOEXIST:
        return -EEXIST
    if update_flags & LOCK:
        return -EINVAL
    copy_small(arena + HEADER_SIZE + index * round8(value_size), value, value_size)
    return 0


@native
def array_delete(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """Elements of arrays cannot be deleted: -EINVAL."""
    return -EINVAL


@native
def array_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """Store the index after the one at `key` (0, or an index out of range: the first); -ENOENT after the last."""
    index = _NO_INDEX
    if key != 0:
        index = load32(key)
    if index >= max_entries:
        store32(out, 0)
        return 0
    if index == max_entries - 1:
        return -ENOENT
    store32(out, index + 1)
    return 0


@native
def array_fill(
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
        result = array_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def array_snapshot(
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
    i = 0
    while i < max_entries and i < capacity:
        store32(keys + i * key_size, i)
        memcpy(values + i * value_size, arena + HEADER_SIZE + i * round8(value_size), value_size)
        i += 1
    return i


@native
def _stride(value_size: int, max_entries: int) -> int:
    return (max_entries * round8(value_size) + 63) & -64


@native
def percpu_array_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_access(flags, _ALLOWED_PERCPU)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong == 0:
        wrong = check_percpu_value(value_size)
    if wrong != 0:
        return wrong
    return cpus * _stride(value_size, max_entries)


@native
def percpu_array_lookup(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """The address of this CPU's value, or 0 when the index is out of range; without an environment, CPU 0's."""
    index = load32(key)
    if likely(index < max_entries):
        value = arena + HEADER_SIZE + index * round8(value_size)
        if env != 0:
            value += load64(env + _CPU) * _stride(value_size, max_entries)
        return value
    return 0


@native
def percpu_array_lookup_on(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int, cpu: int
) -> int:
    """The address of that CPU's value, or 0."""
    index = load32(key)
    if index < max_entries and ult(cpu, load64(arena + CPUS_AT)):
        return arena + HEADER_SIZE + index * round8(value_size) + cpu * _stride(value_size, max_entries)
    return 0


@native
def percpu_array_update(
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
    """Copy a value in for this CPU only."""
    if check_update(update_flags) != 0:
        return -EINVAL
    place = percpu_array_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    if place == 0:
        return -E2BIG
    if update_flags == NOEXIST:
        return -EEXIST
    copy_small(place, value, value_size)
    return 0


@native
def percpu_array_fill(
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
    cpus = load64(arena + CPUS_AT)
    slot = round8(value_size)
    i = 0
    while i < count:
        index = load32(keys + i * key_size)
        result = check_update(update_flags)
        if result == 0 and index >= max_entries:
            result = -E2BIG
        if result == 0 and update_flags == NOEXIST:
            result = -EEXIST
        if result != 0:
            return -((i << 16) | -result)
        cpu = 0
        while cpu < cpus:
            place = arena + HEADER_SIZE + index * slot + cpu * _stride(value_size, max_entries)
            memcpy(place, values + (i * cpus + cpu) * slot, value_size)
            cpu += 1
        i += 1
    return count


@native
def percpu_array_snapshot(
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
    """Copy all elements of all CPUs; see MapKind.snapshot."""
    cpus = load64(arena + CPUS_AT)
    slot = round8(value_size)
    i = 0
    while i < max_entries and i < capacity:
        store32(keys + i * key_size, i)
        cpu = 0
        while cpu < cpus:
            place = arena + HEADER_SIZE + i * slot + cpu * _stride(value_size, max_entries)
            memcpy(values + (i * cpus + cpu) * slot, place, value_size)
            cpu += 1
        i += 1
    return i


ARRAY: Final = MapKind(
    id=2,
    name="array",
    size=array_size,
    init=array_init,
    next_key=array_next_key,
    ops={MapOp.LOOKUP: array_lookup, MapOp.UPDATE: array_update, MapOp.DELETE: array_delete},
    fill=array_fill,
    snapshot=array_snapshot,
    bounded_array=True,
    fixed_key_size=4,
)

PERCPU_ARRAY: Final = MapKind(
    id=6,
    name="percpu_array",
    size=percpu_array_size,
    init=array_init,
    next_key=array_next_key,
    ops={
        MapOp.LOOKUP: percpu_array_lookup,
        MapOp.UPDATE: percpu_array_update,
        MapOp.DELETE: array_delete,
        MapOp.LOOKUP_PERCPU: percpu_array_lookup_on,
    },
    fill=percpu_array_fill,
    snapshot=percpu_array_snapshot,
    per_cpu=True,
    bounded_array=True,
    fixed_key_size=4,
)
