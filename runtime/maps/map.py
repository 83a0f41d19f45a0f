"""A map as Python holds it: bytes in, bytes out, and the mapping face on top.

Not here: what bytes mean (typed.py) and how they are printed (dump.py).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from errno import EBADF, EINVAL, ENOENT, EPERM
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from runtime.errors import MapError, UnsupportedError
from runtime.maps import arena as layout
from runtime.maps.arena import Arena
from runtime.maps.caller import caller
from runtime.maps.description import describe, described
from runtime.maps.typed import TypedMap
from runtime.native import memory
from runtime.spec import MapFlag, MapKind, MapOp, MapSpec, NativeFunction, TypeTable, UpdateFlag

__all__ = ["Map", "attach", "create", "possible_cpus"]

_ENOTSUPP: Final = 524  # what the kernel says of operations that a kind does not have; it has no name in user space
_FEW: Final = 64  # so many initial elements are not worth loading compiled code for
_POSSIBLE: Final = Path("/sys/devices/system/cpu/possible")


@final
class Map:
    """A map.

    `lookup`, `update`, `delete`, `next_key`, `keys`, `items`, `fill`, `snapshot`, `clear` speak bytes, as bpf(2) does:
    a per-CPU value is one slot of round_up(value_size, 8) bytes for each CPU. Failures are MapError with the errno of
    the kernel. They may be called from several threads and processes at once, while programs run.

    `map[key]`, `map[key] = value`, `del map[key]`, `key in map`, `iter(map)` and `len(map)` speak Python values (see
    TypedMap); `map.typed` is the whole MutableMapping.
    """

    def __init__(self, spec: MapSpec, kind: MapKind, arena: Arena, types: TypeTable | None, *, compiled: bool) -> None:
        self.spec = spec
        self.kind = kind
        self.types = types
        self.arena = arena
        self.cpus = arena.word(layout.CPUS_AT)
        self.value_stride = self.cpus * _round8(spec.value_size) if kind.per_cpu else spec.value_size
        self._compiled = compiled
        self._holders = 1
        self._scratch = threading.local()
        self._scratches: list[int] = []
        self._shape = (arena.address, spec.key_size, spec.value_size, spec.max_entries, spec.flags)

    @property
    def name(self) -> str:
        """The name in the object file."""
        return self.spec.name

    @property
    def id(self) -> int:
        """The number that its maker gave it; 0: none."""
        return self.arena.word(layout.ID_AT)

    @property
    def address(self) -> int:
        """Where the arena is mapped: what natives take as the map."""
        return self.arena.address

    @cached_property
    def typed(self) -> TypedMap:
        """The same map over Python values."""
        return TypedMap(self)

    @cached_property
    def face(self) -> Any:
        """What iteration and length are about: what the kind says (MapKind.face), else `typed`."""
        return self.typed if self.kind.face is None else self.kind.face(self)

    def call(self, native: NativeFunction, *words: int) -> int:
        """Carry out one of the kind's `natives`: native(map, …, flags, env, words…); raises MapError (EBADF)."""
        return self._run(native, caller(), *words)

    def lookup(self, key: bytes) -> bytes:
        """The value of a key, raw; raises MapError (ENOENT, EINVAL for a key of the wrong size, EPERM)."""
        if self.spec.flags & MapFlag.WRONLY:
            raise self._error("lookup", EPERM)
        found = self._find(self._put_key(key))
        if found is None:
            raise self._error("lookup", ENOENT)
        return found

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Store a value under the flags of UpdateFlag; raises MapError (EEXIST, ENOENT, E2BIG, EINVAL, EPERM, …)."""
        self._check_writable("update", flags)
        place = self._put_key(key)
        if len(value) != self.value_stride:
            raise self._error(f"a value of {len(value)} bytes, not {self.value_stride}", EINVAL)
        value_place = place + _round8(self.spec.key_size)
        memory.write(value_place, value)
        if self.kind.fill is not None:
            result = self._run(self.kind.fill, caller(), place, value_place, 1, flags)
            result = min(result, 0)
        else:
            result = self._run(self._op(MapOp.UPDATE), caller(), place, value_place, flags)
        if result != 0:
            raise self._error("update", -result)

    def delete(self, key: bytes) -> None:
        """Delete a key; raises MapError (ENOENT, EINVAL for arrays, EPERM)."""
        self._check_writable("delete")
        result = self._run(self._op(MapOp.DELETE), caller(), self._put_key(key))
        if result != 0:
            raise self._error("delete", -result)

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key after `key` (None, or a key that is gone: the first), or None after the last; raises MapError."""
        place = self._put_key(bytes(self.spec.key_size) if key is None else key)
        out = place + _round8(self.spec.key_size)
        result = self._run(self.kind.next_key, 0 if key is None else place, out)
        if result == -ENOENT:
            return None
        if result != 0:
            raise self._error("next key", -result)
        return memory.read(out, self.spec.key_size)

    def fill(self, keys: bytes, values: bytes, flags: int = 0) -> None:
        """Many updates in one native call, keys and values packed; raises MapError, naming the element that failed."""
        self._check_writable("fill", flags)
        count, rest = divmod(len(keys), self.spec.key_size)
        if rest or len(values) != count * self.value_stride:
            raise self._error(f"{len(keys)} bytes of keys and {len(values)} bytes of values do not match", EINVAL)
        if self.kind.fill is None:
            size, stride = self.spec.key_size, self.value_stride
            for i in range(count):
                self.update(keys[i * size : (i + 1) * size], values[i * stride : (i + 1) * stride], flags)
        elif count:
            self._fill(keys, values, count, flags, compiled=self._compiled)

    def snapshot(self) -> tuple[bytes, bytes]:
        """All keys and all values, packed, in the map's order: one native call where the kind can."""
        if self.kind.snapshot is None:
            pairs = list(self._walk())
            return b"".join(key for key, _ in pairs), b"".join(value for _, value in pairs)
        room = len(self) + 64
        while True:
            keys = ctypes.create_string_buffer(max(room * self.spec.key_size, 1))
            values = ctypes.create_string_buffer(max(room * self.value_stride, 1))
            at = ctypes.addressof(keys), ctypes.addressof(values)
            with memory.registered(at[0], len(keys), keys), memory.registered(at[1], len(values), values):
                count = self._run(self.kind.snapshot, caller(), *at, room)
            if count < room or self.kind.bounded_array:
                return keys.raw[: count * self.spec.key_size], values.raw[: count * self.value_stride]
            room *= 2

    def keys(self) -> Iterator[bytes]:
        """All keys, raw, in the map's order."""
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, raw, in the map's order, as they were at one moment or during a short while."""
        keys, values = self.snapshot()
        size, stride = self.spec.key_size, self.value_stride
        for i in range(len(keys) // size):
            yield keys[i * size : (i + 1) * size], values[i * stride : (i + 1) * stride]

    def clear(self) -> None:
        """Delete all keys; the elements of an array become zero. Raises MapError."""
        keys, values = self.snapshot()
        if self.kind.bounded_array:
            self.fill(keys, bytes(len(values)))
            return
        size = self.spec.key_size
        for i in range(len(keys) // size):
            try:
                self.delete(keys[i * size : (i + 1) * size])
            except MapError as error:
                if error.errno != ENOENT:
                    raise

    def matches(self, spec: MapSpec, kind: MapKind, cpus: int) -> bool:
        """Whether this memory serves another definition: same kind, sizes and flags, and the same members that only helpers touch."""

        def shape(each: MapSpec) -> tuple[object, ...]:
            inner = None if each.inner is None else shape(each.inner)
            return each.kind, each.key_size, each.value_size, each.max_entries, each.flags, each.special, inner

        return shape(self.spec) == shape(spec) and self.kind is kind and (self.cpus == cpus or not kind.per_cpu)

    def share(self) -> Self:
        """The same map for one more holder: each closes it, and the last one ends it."""
        self._holders += 1
        return self

    def retype(self, spec: MapSpec, types: TypeTable | None) -> None:
        """From now on, keys and values are what this matching definition says they mean."""
        self.spec = spec
        self.types = types
        self.__dict__.pop("typed", None)
        self.__dict__.pop("face", None)
        self.arena.append_description(describe(spec, types))

    def adopt(self, kind: MapKind) -> None:
        """From now on, these natives work on the memory, which they must lay out as those before them did."""
        if kind is not self.kind:
            self.kind = kind
            self.__dict__.pop("_library", None)
            self.__dict__.pop("face", None)

    def pin(self, path: Path) -> None:
        """Give the map a name in the file system, under which it stays when nobody holds it any more; raises MapError.

        EEXIST where there is a file already, EXDEV on a file system other than the map's, ENOENT (no name can be had) for
        a map that was not made in a folder.
        """
        self.arena.link(path)

    @property
    def frozen(self) -> bool:
        """Whether user space may only read it."""
        return self.arena.word(layout.FROZEN_AT) != 0

    def freeze(self) -> None:
        """Let user space write no more: from now on EPERM. Programs are not affected."""
        self.arena.set_word(layout.FROZEN_AT, 1)

    def close(self) -> None:
        """Unmap the arena when no other holder is left; then no program that uses the map may run any more.

        Python's own calls fail with EBADF afterwards.
        """
        self._holders = max(self._holders - 1, 0)
        if self._holders:
            return
        for scratch in self._scratches:
            memory.unregister(scratch)
        self._scratches.clear()
        self._scratch = threading.local()
        self.arena.close()

    def __getitem__(self, key: Any) -> Any:
        return self.typed[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.typed[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.typed[key]

    def __contains__(self, key: object) -> bool:
        return key in self.typed

    def __iter__(self) -> Iterator[Any]:
        return iter(self.face)

    def __len__(self) -> int:
        if self.kind.face is not None:
            return len(self.face)
        if self.kind.bounded_array:
            return self.spec.max_entries
        if self.kind.snapshot is not None:
            return self.arena.word(layout.POOL_AT + layout.POOL_COUNT)
        return sum(1 for _ in self._walk())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        spec = self.spec
        return (
            f"<map {spec.name!r}: {self.kind.name}, key {spec.key_size}, value {spec.value_size}, "
            f"max_entries {spec.max_entries}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def store_initial(self) -> None:
        """Store the elements that the definition asks for, then freeze the map if it asks for that."""
        pairs = self.spec.initial
        if pairs:
            keys = b"".join(key for key, _ in pairs)
            values = b"".join(self._spread(value) for _, value in pairs)
            if self.kind.fill is not None and len(pairs) <= _FEW:
                self._fill(keys, values, len(pairs), 0, compiled=False)
            else:
                self.fill(keys, values)
        if self.spec.frozen:
            self.freeze()

    def _spread(self, value: bytes) -> bytes:
        if not self.kind.per_cpu or len(value) == self.value_stride:
            return value
        return value.ljust(_round8(self.spec.value_size), b"\0") * self.cpus

    def _walk(self) -> Iterator[tuple[bytes, bytes]]:
        key = self.next_key()
        while key is not None:
            value = self._find(self._put_key(key))
            if value is not None:
                yield key, value
            key = self.next_key(key)

    def _find(self, place: int) -> bytes | None:
        if not self.kind.per_cpu:
            return self._copy(self._run(self._op(MapOp.LOOKUP), 0, place))
        slots = []
        for cpu in range(self.cpus):
            slot = self._copy(self._run(self._op(MapOp.LOOKUP_PERCPU), 0, place, cpu))
            if slot is None:
                return None
            slots.append(slot.ljust(_round8(self.spec.value_size), b"\0"))
        return b"".join(slots)

    def _copy(self, address: int) -> bytes | None:
        if address == 0:
            return None
        start = address - self.arena.address
        return bytes(self.arena.view[start : start + self.spec.value_size])

    def _fill(self, keys: bytes, values: bytes, count: int, flags: int, *, compiled: bool) -> None:
        assert self.kind.fill is not None
        self._check_open()
        key_buffer = (ctypes.c_ubyte * len(keys)).from_buffer_copy(keys)
        value_buffer = (ctypes.c_ubyte * len(values)).from_buffer_copy(values)
        at = ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)
        with memory.registered(at[0], len(keys), key_buffer), memory.registered(at[1], len(values), value_buffer):
            run: Callable[..., int] = self._library[self.kind.fill] if compiled else self.kind.fill
            result = run(*self._shape, caller(), *at, count, flags)
        if result < 0:
            index, errno = -result >> 16, -result & 0xFFFF
            key = keys[index * self.spec.key_size : (index + 1) * self.spec.key_size]
            raise self._error(f"update of element {index} (key {key.hex()})", errno)

    def _put_key(self, key: bytes) -> int:
        """Copy a key to where natives can read it; there is room for a value on the next multiple of 8."""
        if len(key) != self.spec.key_size:
            raise self._error(f"a key of {len(key)} bytes, not {self.spec.key_size}", EINVAL)
        address = getattr(self._scratch, "address", 0)
        if not address:
            size = max(8, _round8(self.spec.key_size) + max(self.value_stride, self.spec.key_size))
            self._scratch.buffer = (ctypes.c_uint64 * ((size + 7) // 8))()
            address = self._scratch.address = ctypes.addressof(self._scratch.buffer)
            memory.register(address, ctypes.sizeof(self._scratch.buffer), self._scratch.buffer)
            self._scratches.append(address)
        memory.write(address, key)
        return int(address)

    def _op(self, op: MapOp) -> NativeFunction:
        found = self.kind.ops.get(op)
        if found is None:
            raise self._error(op.value, _ENOTSUPP)
        return found

    def _run(self, native: NativeFunction, *words: int) -> int:
        self._check_open()
        if self._compiled:
            return int(self._library[native](*self._shape, *words))
        return native(*self._shape, *words)

    @cached_property
    def _library(self) -> Any:
        from runtime.native.library import library  # brings LLVM: only who touches elements pays

        kind = self.kind
        optional = [each for each in (kind.fill, kind.snapshot) if each is not None]
        return library([kind.next_key, *kind.ops.values(), *optional, *kind.natives])

    def _check_open(self) -> None:
        if self._holders <= 0:
            raise self._error("the map is closed", EBADF)

    def _check_writable(self, what: str, flags: int = 0) -> None:
        if flags & UpdateFlag.LOCK:
            raise self._error(f"{what}: values with spin locks are not supported", EINVAL)
        if self.spec.flags & MapFlag.RDONLY or self.arena.word(layout.FROZEN_AT):
            raise self._error(what, EPERM)

    def _error(self, what: str, errno: int) -> MapError:
        return MapError(f"map {self.spec.name!r}: {what}", errno=errno)


def create(
    spec: MapSpec,
    kind: MapKind,
    *,
    cpus: int,
    types: TypeTable | None = None,
    number: int = 0,
    path: Path | None = None,
    folder: Path | None = None,
    seed: int = 0,
    compiled: bool = True,
) -> Map:
    """Make a map, with its initial elements, in a memfd or in a new file at `path`; in `folder` it can be pinned later.

    `cpus` is how many slots per-CPU values have: no worker may have a CPU number that is not below it. `number` is the
    map's id, `seed` is mixed into hashes. `compiled` chooses how Python's own calls run the natives; False
    is for tests. Raises UnsupportedError for a kind that is only verified, MapError with the errno that Linux gives for such a map, and ENOMEM.
    """
    if kind.verified_only:
        raise UnsupportedError(
            f"map {spec.name!r} is of type {kind.name}: programs that use it can be verified, and nothing here runs them"
        )
    if not 0 < cpus <= layout.MAX_CPUS:
        raise MapError(f"map {spec.name!r}: {cpus} CPUs", errno=EINVAL)
    size = kind.size(spec.key_size, spec.value_size, spec.max_entries, spec.flags, cpus)
    if size < 0:
        raise MapError(f"map {spec.name!r} cannot be created ({_describe(spec, kind)})", errno=-size)
    arena = Arena.create(layout.HEADER_SIZE + size, name=spec.name, path=path, folder=folder)
    words = {
        layout.VERSION_AT: layout.VERSION,
        layout.KIND_AT: kind.id,
        layout.KEY_SIZE_AT: spec.key_size,
        layout.VALUE_SIZE_AT: spec.value_size,
        layout.MAX_ENTRIES_AT: spec.max_entries,
        layout.FLAGS_AT: spec.flags,
        layout.CPUS_AT: cpus,
        layout.ID_AT: number,
        layout.SIZE_AT: arena.size,
        layout.SEED_AT: seed & 0xFFFF_FFFF_FFFF_FFFF,
    }
    for offset, value in words.items():
        arena.set_word(offset, value)
    name = spec.name.encode()[: layout.NAME_SIZE - 1]
    arena.view[layout.NAME_AT : layout.NAME_AT + len(name)] = name
    kind.init(arena.address, spec.key_size, spec.value_size, spec.max_entries, spec.flags)
    made = Map(spec, kind, arena, types, compiled=compiled)
    made.store_initial()
    arena.append_description(describe(spec, types))
    arena.set_word(layout.MAGIC_AT, layout.MAGIC)
    return made


def attach(path: Path, kinds: tuple[MapKind, ...], *, types: TypeTable | None = None, compiled: bool = True) -> Map:
    """The map that another process made, from its file or /proc/PID/fd/N, with the types that it says; raises MapError."""
    arena = Arena.open(path)
    number = arena.word(layout.KIND_AT)
    kind = next((each for each in kinds if each.id == number), None)
    if kind is None:
        arena.close()
        raise MapError(f"{path}: a map of unknown kind {number}", errno=EINVAL)
    name = bytes(arena.view[layout.NAME_AT : layout.NAME_AT + layout.NAME_SIZE]).rstrip(b"\0")
    spec = MapSpec(
        name=name.decode(errors="replace"),
        kind=number,
        key_size=arena.word(layout.KEY_SIZE_AT),
        value_size=arena.word(layout.VALUE_SIZE_AT),
        max_entries=arena.word(layout.MAX_ENTRIES_AT),
        flags=arena.word(layout.FLAGS_AT),
    )
    if not _holds(arena, spec, kind):
        arena.close()
        raise MapError(f"{path} is no map", errno=EINVAL)
    if types is None:
        spec, types = described(spec, arena.description())
    return Map(spec, kind, arena, types, compiled=compiled)


def _holds(arena: Arena, spec: MapSpec, kind: MapKind) -> bool:
    """Whether the arena has all bytes that a map of that shape needs: natives do not look."""
    cpus = arena.word(layout.CPUS_AT)
    if kind.verified_only or not 0 < cpus <= layout.MAX_CPUS:
        return False
    body = kind.size(spec.key_size, spec.value_size, spec.max_entries, spec.flags, cpus)
    return 0 <= body <= arena.size - layout.HEADER_SIZE


def possible_cpus() -> int:
    """How many CPUs this machine may ever have: the slots of a per-CPU value."""
    import os

    try:
        text = _POSSIBLE.read_text(encoding="ascii")
        return 1 + max(int(part.rpartition("-")[2]) for part in text.strip().split(","))
    except (OSError, ValueError):
        return os.cpu_count() or 1


def _round8(size: int) -> int:
    return (size + 7) & ~7


def _describe(spec: MapSpec, kind: MapKind) -> str:
    return (
        f"{kind.name}, key {spec.key_size} bytes, value {spec.value_size} bytes, max_entries {spec.max_entries}, "
        f"flags {int(spec.flags):#x}"
    )
