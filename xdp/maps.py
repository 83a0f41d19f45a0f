"""Maps that name where a redirect goes: interfaces, CPUs, sockets. redirect_map looks a target up and notes it.

Not here: carrying frames there. Limits and error numbers are the kernel's (kernel/bpf/devmap.c, cpumap.c, net/xdp/xskmap.c).
A target is the first 32 bits of a value; 0 is an empty slot. DEVMAP, CPUMAP and XSKMAP have the layout of an ARRAY,
DEVMAP_HASH that of a HASH. Programs may only redirect through them.
"""

from __future__ import annotations

from dataclasses import replace
from errno import E2BIG, EEXIST, EINVAL
from typing import Final

from runtime.maps import CORE_MAP_KINDS
from runtime.native import load32, load64, memzero, native, sext32, stack_alloc, store32, store64
from runtime.spec import MapKind, MapOp
from xdp.helpers import REDIRECT_INTERFACE

__all__ = ["XDP_MAP_KINDS"]

_CORE: Final = {kind.name: kind for kind in CORE_MAP_KINDS}
_array_lookup: Final = _CORE["array"].ops[MapOp.LOOKUP]
_array_update: Final = _CORE["array"].ops[MapOp.UPDATE]
_array_size: Final = _CORE["array"].size
_hash_lookup: Final = _CORE["hash"].ops[MapOp.LOOKUP]
_hash_update: Final = _CORE["hash"].ops[MapOp.UPDATE]
_hash_size: Final = _CORE["hash"].size

_NOEXIST: Final = 1
_EXIST: Final = 2
_ACTIONS: Final = 3
_BROADCAST: Final = 8
_DEVICE_FLAGS: Final = 3 | 8 | 16
_ID_AT: Final = 64  # in the header of an arena
_ABORTED: Final = 0
_REDIRECT: Final = 4


@native
def _target_size(value_size: int) -> int:
    """-EINVAL for values other than a target, alone or with a program's descriptor behind it."""
    if value_size in (4, 8):
        return 0
    return -EINVAL


@native
def slots_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes of an array of targets after the header, or a negative errno."""
    if _target_size(value_size) != 0:
        return -EINVAL
    return _array_size(key_size, value_size, max_entries, flags, cpus)


@native
def sockets_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes of an array of sockets after the header, or a negative errno."""
    if value_size != 4:
        return -EINVAL
    return _array_size(key_size, value_size, max_entries, flags, cpus)


@native
def table_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes of a hash table of targets after the header, or a negative errno."""
    if _target_size(value_size) != 0 or key_size != 4:
        return -EINVAL
    return _hash_size(key_size, value_size, max_entries, flags, cpus)


@native
def slot_lookup(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of a target, or 0 when the slot is empty or the index out of range."""
    place = _array_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    if place != 0 and load32(place) != 0:
        return place
    return 0


@native
def _names_program(value_size: int, value: int) -> int:
    """Whether a value names a program for the way out, by a descriptor above 0; there are none here, so it is refused."""
    if value_size != 8:
        return 0
    return 1 if sext32(load32(value + 4)) > 0 else 0


@native
def slot_update(
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
    """Set a slot: 0, -EINVAL for unknown flags and programs, -E2BIG for an index out of range, -EEXIST for NOEXIST."""
    if update_flags & ~(_NOEXIST | _EXIST) or update_flags == (_NOEXIST | _EXIST):
        return -EINVAL
    if load32(key) >= max_entries:
        return -E2BIG
    if update_flags == _NOEXIST:
        return -EEXIST
    if _names_program(value_size, value) != 0:
        return -EINVAL
    return _array_update(arena, key_size, value_size, max_entries, flags, env, key, value, 0)


@native
def slot_delete(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """Empty a slot: 0, also when it was empty; -EINVAL for an index out of range."""
    place = _array_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    if place == 0:
        return -EINVAL
    memzero(place, value_size)
    return 0


@native
def _note(arena: int, env: int, place: int, flags: int, known: int) -> int:
    """Record the target at `place` and answer XDP_REDIRECT; without one, the action that the flags name.

    A broadcast has the upper half of the word: the map's id << 1, and 1 when the interface it came from is left out.
    """
    if flags & ~known:
        return _ABORTED
    if flags & known & _BROADCAST:
        store64(env + REDIRECT_INTERFACE, (load64(arena + _ID_AT) << 1 | (flags >> 4 & 1)) << 32)
        return _REDIRECT
    if place == 0:
        return flags & _ACTIONS
    store64(env + REDIRECT_INTERFACE, load32(place))
    return _REDIRECT


@native
def device_redirect(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, index: int, redirect_flags: int
) -> int:
    """XDP_REDIRECT to the interface in a slot; BROADCAST and EXCLUDE_INGRESS are known."""
    key = stack_alloc(8)
    store32(key, index)
    place = slot_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    return _note(arena, env, place, redirect_flags, _DEVICE_FLAGS)


@native
def table_update(
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
    """Set the target under a key, as a HASH does; -EINVAL for programs."""
    if _names_program(value_size, value) != 0:
        return -EINVAL
    return _hash_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)


@native
def hash_redirect(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, index: int, redirect_flags: int
) -> int:
    """XDP_REDIRECT to the interface under a key; BROADCAST and EXCLUDE_INGRESS are known."""
    key = stack_alloc(8)
    store32(key, index)
    place = _hash_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    return _note(arena, env, place, redirect_flags, _DEVICE_FLAGS)


@native
def slot_redirect(
    arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, index: int, redirect_flags: int
) -> int:
    """XDP_REDIRECT to the CPU or socket in a slot; no flags but the action for an empty slot."""
    key = stack_alloc(8)
    store32(key, index)
    place = slot_lookup(arena, key_size, value_size, max_entries, flags, env, key)
    return _note(arena, env, place, redirect_flags, _ACTIONS)


_DEVMAP: Final = replace(
    _CORE["array"],
    id=14,
    name="devmap",
    size=slots_size,
    ops={
        MapOp.LOOKUP: slot_lookup,
        MapOp.UPDATE: slot_update,
        MapOp.DELETE: slot_delete,
        MapOp.REDIRECT: device_redirect,
    },
    fill=None,
    snapshot=None,
    bounded_array=False,
    value_is="device",
    program_writable=False,
)

_SLOTS: Final = {**_DEVMAP.ops, MapOp.REDIRECT: slot_redirect}

XDP_MAP_KINDS: Final[tuple[MapKind, ...]] = (
    _DEVMAP,
    replace(_DEVMAP, id=16, name="cpumap", ops=_SLOTS, value_is="cpu"),
    replace(_DEVMAP, id=17, name="xskmap", size=sockets_size, ops=_SLOTS, value_is="socket", struct="xdp_sock"),
    replace(
        _CORE["hash"],
        id=25,
        name="devmap_hash",
        size=table_size,
        ops={**_CORE["hash"].ops, MapOp.UPDATE: table_update, MapOp.REDIRECT: hash_redirect},
        fill=None,
        value_is="device",
        program_writable=False,
    ),
)
