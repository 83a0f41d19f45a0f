"""PROG_ARRAY: program ids by index, for tail calls.

Not here: programs. An id is 32 bits, chosen by the process that loads programs; 0 is an empty slot. The layout is
that of an ARRAY. Programs may only tail-call through it: lookup is for engines and user space.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL, ENOENT
from typing import Final

from runtime.maps.arena import HEADER_SIZE
from runtime.maps.array import array_init, array_next_key, check_shape
from runtime.maps.limits import ACCESS, check_access
from runtime.native import likely, load32, load_acquire32, native, store_release32, xchg32
from runtime.spec import MapFlag, MapKind, MapOp

__all__ = ["PROG_ARRAY"]

_ALLOWED: Final = (ACCESS | int(MapFlag.NUMA_NODE)) & ~int(MapFlag.RDONLY_PROG | MapFlag.WRONLY_PROG)
_SLOT: Final = 8


@native
def prog_array_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    wrong = check_access(flags, _ALLOWED)
    if wrong == 0:
        wrong = check_shape(key_size, value_size, max_entries)
    if wrong != 0:
        return wrong
    if value_size != 4:
        return -EINVAL
    return max_entries * _SLOT


@native
def prog_array_lookup(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """The address of a program id, or 0 when the slot is empty or the index out of range."""
    index = load32(key)
    if likely(index < max_entries):
        place = arena + HEADER_SIZE + index * _SLOT
        if load_acquire32(place) != 0:
            return place
    return 0


@native
def prog_array_update(
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
    """Set a slot: 0, -EINVAL for any flag, -E2BIG for an index out of range."""
    if update_flags != 0:
        return -EINVAL
    index = load32(key)
    if index >= max_entries:
        return -E2BIG
    return store_release32(arena + HEADER_SIZE + index * _SLOT, load32(value))


@native
def prog_array_delete(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int
) -> int:
    """Empty a slot: 0, -ENOENT when it was empty, -E2BIG for an index out of range."""
    index = load32(key)
    if index >= max_entries:
        return -E2BIG
    if xchg32(arena + HEADER_SIZE + index * _SLOT, 0) == 0:
        return -ENOENT
    return 0


PROG_ARRAY: Final = MapKind(
    id=3,
    name="prog_array",
    size=prog_array_size,
    init=array_init,
    next_key=array_next_key,
    ops={MapOp.LOOKUP: prog_array_lookup, MapOp.UPDATE: prog_array_update, MapOp.DELETE: prog_array_delete},
    value_is="program",
    fixed_key_size=4,
    fixed_value_size=4,
    program_writable=False,
)
