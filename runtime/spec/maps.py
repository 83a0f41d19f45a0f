"""What a map is, as a kind (a row of an extension) and as a definition (what an object file asks for).

Not here: any kind, any memory. Kinds live in runtime/maps and in extensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, final

from runtime.spec.prototype import MapOp, NativeFunction

__all__ = ["MapFlag", "MapKind", "MapSpec", "SpecialField", "UpdateFlag"]


class MapFlag(IntFlag):
    """Creation flags, UAPI bits."""

    NO_PREALLOC = 1 << 0
    NO_COMMON_LRU = 1 << 1
    NUMA_NODE = 1 << 2
    RDONLY = 1 << 3
    WRONLY = 1 << 4
    STACK_BUILD_ID = 1 << 5
    ZERO_SEED = 1 << 6
    RDONLY_PROG = 1 << 7
    WRONLY_PROG = 1 << 8
    CLONE = 1 << 9
    MMAPABLE = 1 << 10
    PRESERVE_ELEMS = 1 << 11
    INNER_MAP = 1 << 12


class UpdateFlag(IntFlag):
    """Flags of an update, UAPI bits."""

    ANY = 0
    NOEXIST = 1
    EXIST = 2
    LOCK = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MapKind:
    """A kind of map.

    `ops` are called as op(map, key_size, value_size, max_entries, flags, env, …): `map` is the address of the
    arena, the next four are constants at the call site that LLVM folds, `env` is the worker's
    environment (0 when there is none). Results are what the kernel's map operations return: an address or 0
    from lookups, 0 or a negative errno from the rest.

    `size` is size(key_size, value_size, max_entries, flags, cpus) → bytes of arena after the header, or a negative
    errno where Linux refuses to create such a map;
    `init` is init(map, key_size, value_size, max_entries, flags) → 0, on zeroed memory;
    `next_key` is next_key(map, key_size, value_size, max_entries, flags, key or 0, out) → 0 or -ENOENT.
    `fill` is fill(map, key_size, value_size, max_entries, flags, env, keys, values, count, update_flags) → count: the
    updates of user space, many in one call, keys and values packed (a per-CPU value is its slots, one after the
    other); when element i fails, nothing after it is stored and the result is -(i << 16 | errno).
    `snapshot` is snapshot(map, key_size, value_size, max_entries, flags, env, keys, values, capacity) → how many
    elements it copied, at most `capacity`, packed as `fill` takes them. Both are optional: without them the Python
    face goes through the operations one by one.

    `per_cpu`: a value holds one slot of round_up(value_size, 8) bytes for each CPU.
    `bounded_array`: keys are indices below max_entries (lookups of a constant key below it cannot fail).
    `value_is`: what the value means to the engine: "data", "program" (PROG_ARRAY), "map" (map-in-map), "device",
    "cpu", "socket", "event". `program_writable`: programs may update and delete. `verified_only`: the verifier knows the kind
    by its number, and such maps cannot be made; the natives are then never called. `struct` names the object that a lookup
    gives in place of a value, a reference where the kind `acquires`; such an object is also what an update takes.
    `changed_by` are the names of the program types that may update or delete, where not all may.
    `define` is define(spec, cpus) → spec, what a loader makes of an object's definition before the map is made. `face` makes of a
    map what stands in place of its mapping face: iteration and length are asked of it; `natives` are what it calls (Map.call).
    """

    id: int
    name: str
    size: NativeFunction
    init: NativeFunction
    next_key: NativeFunction
    ops: Mapping[MapOp, NativeFunction]
    fill: NativeFunction | None = None
    snapshot: NativeFunction | None = None
    per_cpu: bool = False
    bounded_array: bool = False
    value_is: str = "data"
    fixed_key_size: int = 0
    fixed_value_size: int = 0
    program_writable: bool = True
    verified_only: bool = False
    struct: str = ""
    acquires: bool = False
    changed_by: Mapping[MapOp, frozenset[str]] = field(default_factory=dict)
    define: Callable[[MapSpec, int], MapSpec] | None = None
    face: Callable[[Any], Any] | None = None
    natives: tuple[NativeFunction, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class SpecialField:
    """A member of a map's values that only helpers may touch: its type ("bpf_spin_lock"), where it begins, its bytes."""

    type: str
    offset: int
    size: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MapSpec:
    """A map as an object file defines it.

    `kind` is the UAPI number. `initial` are (key, value) pairs of bytes to store at load (global data, static
    initialisers). `programs` are (index, program name) and `inner_maps` (index, map name) initialisers.
    `frozen`: user space may not change it after load, so programs' loads are constants (.rodata).
    `btf_key`, `btf_value`: BTF type ids, 0 when unknown. `special` are the members of a value that BTF says only helpers touch.
    `inner` is what the maps of a map of maps are like.
    """

    name: str
    kind: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    frozen: bool = False
    btf_key: int = 0
    btf_value: int = 0
    special: tuple[SpecialField, ...] = ()
    inner: MapSpec | None = None
    pinning: int = 0
    initial: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    programs: tuple[tuple[int, str], ...] = ()
    inner_maps: tuple[tuple[int, str], ...] = ()
