"""Maps of the running kernel through bpf(2): the oracle for ours."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from runtime.errors import MapError
from runtime.spec import MapSpec

SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _NEXT_KEY = range(5)
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    """The system call; raises MapError with its errno."""
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result: int = libc.syscall(SYSCALL, command, buffer, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise MapError(f"bpf({command})", errno=number)
    return result


class KernelMap:
    """A map of the kernel with the raw face of runtime.maps.Map."""

    def __init__(self, spec: MapSpec, *, cpus: int, per_cpu: bool) -> None:
        self.spec = spec
        self.value_size = cpus * ((spec.value_size + 7) & ~7) if per_cpu else spec.value_size
        head = struct.pack("<IIIII", spec.kind, spec.key_size, spec.value_size, spec.max_entries, int(spec.flags))
        self._hold(bpf(_MAP_CREATE, head))

    @classmethod
    def opened(cls, spec: MapSpec, descriptor: int) -> Self:
        """A map that is there already; the descriptor is this object's from now on."""
        self = cls.__new__(cls)
        self.spec = spec
        self.value_size = spec.value_size
        self._hold(descriptor)
        return self

    def _hold(self, descriptor: int) -> None:
        spec = self.spec
        self.fd = descriptor
        self._key = ctypes.create_string_buffer(spec.key_size)
        self._next = ctypes.create_string_buffer(spec.key_size)
        self._value = ctypes.create_string_buffer(self.value_size)

    def lookup(self, key: bytes) -> bytes:
        """The value of a key; raises MapError."""
        self._call(_LOOKUP, key, b"", 0)
        return self._value.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Store a value; raises MapError."""
        self._call(_UPDATE, key, value, flags)

    def delete(self, key: bytes) -> None:
        """Delete a key; raises MapError."""
        self._call(_DELETE, key, b"", 0)

    def next_key(self, key: bytes | None = None) -> bytes | None:
        """The key after one, or None; raises MapError."""
        place = 0
        if key is not None:
            self._key.raw = key
            place = ctypes.addressof(self._key)
        try:
            bpf(_NEXT_KEY, struct.pack("<IIQQ", self.fd, 0, place, ctypes.addressof(self._next)))
        except MapError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return self._next.raw

    def keys(self) -> Iterator[bytes]:
        """All keys in the kernel's order."""
        key = self.next_key()
        while key is not None:
            yield key
            key = self.next_key(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values that can be looked up."""
        for key in self.keys():
            try:
                yield key, self.lookup(key)
            except MapError:
                continue

    def close(self) -> None:
        """Let go of the map."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, command: int, key: bytes, value: bytes, flags: int) -> None:
        assert len(key) == self.spec.key_size
        self._key.raw = key
        if value:
            assert len(value) == self.value_size
            self._value.raw = value
        place = 0 if command == _DELETE else ctypes.addressof(self._value)
        places = struct.pack("<QQQ", ctypes.addressof(self._key), place, flags)
        bpf(command, struct.pack("<II", self.fd, 0) + places)
