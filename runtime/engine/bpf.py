"""bpf(2), by ctypes: maps, programs and test runs of the running kernel.

Not here: what to load (kernel.py). The layouts are those of union bpf_attr in the UAPI header.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from runtime.engine.functions import INFO_SIZE, function_btf, function_info, function_starts
from runtime.errors import DeviceError, MapError, XdpsimError
from runtime.isa import Code, encode

__all__ = ["KernelMap", "KernelProgram", "Refused", "TestRun", "load_program"]

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
_ATTRIBUTES: Final = 144
_LOG_SIZE: Final = 1 << 24
_NAME: Final = 15
_CONTEXT: Final = 4096


class _Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    LOOKUP = 1
    UPDATE = 2
    DELETE = 3
    NEXT_KEY = 4
    PROG_LOAD = 5
    TEST_RUN = 10
    BTF_LOAD = 18
    FREEZE = 22


@final
class Refused(XdpsimError):  # noqa: N818  a verdict of the kernel
    """The kernel's verifier rejected the program; `log` is what it printed."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class _System:
    """The system call and its buffer, set up on first use."""

    def __init__(self) -> None:
        self._libc: ctypes.CDLL | None = None
        self._number = _NUMBERS.get(platform.machine(), 0)

    def __call__(self, command: _Command, attributes: bytes) -> tuple[int, bytes]:
        """Result and attributes after the call; raises OSError."""
        if not self._number:
            raise DeviceError(f"bpf(2) is not known for {platform.machine()}")
        if self._libc is None:
            self._libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTES, b"\0"), _ATTRIBUTES)
        result = int(self._libc.syscall(self._number, int(command), buffer, _ATTRIBUTES))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result, buffer.raw


_bpf: Final = _System()


def _device_error(what: str, error: OSError) -> DeviceError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return DeviceError(f"{what}: the kernel refuses; run as root (or with CAP_BPF and CAP_NET_ADMIN)")
    return DeviceError(f"{what}: {error.strerror}")


@final
class KernelMap:
    """A map of the kernel. `value_size` counts all CPUs of a per-CPU value."""

    def __init__(
        self,
        *,
        kind: int,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int = 0,
        name: str = "",
        total: int = 0,
        inner: int = 0,
        types: tuple[bytes, int, int] | None = None,
    ) -> None:
        """`inner` is the descriptor of a map like those inside; `types` are BTF and the type ids of key and value."""
        self.key_size = key_size
        self.value_size = total or value_size
        head = struct.pack("<IIIIIII", kind, key_size, value_size, max_entries, flags, inner, 0)
        try:
            with _loaded_types(types) as tail:
                self.fd, _ = _bpf(_Command.MAP_CREATE, head + _name(name) + tail)
        except OSError as error:
            raise _device_error(f"creating map {name!r} in the kernel", error) from error
        self._key = ctypes.create_string_buffer(max(1, key_size))
        self._next = ctypes.create_string_buffer(max(1, key_size))
        self._value = ctypes.create_string_buffer(self.value_size)

    def _call(self, command: _Command, value: ctypes.Array[ctypes.c_char], flags: int = 0) -> None:
        places = struct.pack("<IIQQQ", self.fd, 0, ctypes.addressof(self._key), ctypes.addressof(value), flags)
        try:
            _bpf(command, places)
        except OSError as error:
            raise MapError(f"the kernel's map, {command.name.lower()}", errno=error.errno or errno.EIO) from error

    def lookup(self, key: bytes) -> bytes:
        """The value of a key; raises MapError."""
        self._key.raw = key
        self._call(_Command.LOOKUP, self._value)
        return self._value.raw

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Store a value; raises MapError."""
        self._key.raw = key
        self._value.raw = value
        self._call(_Command.UPDATE, self._value, flags)

    def keys(self) -> Iterator[bytes]:
        """All keys, in the kernel's order."""
        place = 0
        while True:
            head = struct.pack("<IIQQ", self.fd, 0, place, ctypes.addressof(self._next))
            try:
                _bpf(_Command.NEXT_KEY, head)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise MapError("the kernel's map, next key", errno=error.errno or errno.EIO) from error
            key = self._next.raw
            yield key
            self._key.raw = key
            place = ctypes.addressof(self._key)

    def items(self) -> list[tuple[bytes, bytes]]:
        """All keys with their values."""
        return [(key, self.lookup(key)) for key in list(self.keys())]

    def freeze(self) -> None:
        """From now on user space may not change it."""
        try:
            _bpf(_Command.FREEZE, struct.pack("<I", self.fd))
        except OSError as error:
            raise _device_error("freezing a map", error) from error

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TestRun:
    """What BPF_PROG_TEST_RUN says: the return value, data and context afterwards, nanoseconds for one run."""

    retval: int
    data: bytes
    duration_ns: int
    context: bytes = b""


@final
class KernelProgram:
    """A program that the kernel accepted."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._in = ctypes.create_string_buffer(1 << 16)
        self._out = ctypes.create_string_buffer(1 << 17)
        self._context = ctypes.create_string_buffer(_CONTEXT)

    def test_run(self, data: bytes, *, repeat: int = 1, context: bytes = b"") -> TestRun:
        """Run on one frame; raises OSError as the kernel does (EINVAL for frames that it cannot take).

        `context` is the type's context as user space sees it; without one the kernel makes its own and returns none.
        """
        ctypes.memmove(self._in, data, len(data))
        ctypes.memmove(self._context, context, len(context))
        place = ctypes.addressof(self._context) if context else 0
        head = struct.pack(
            "<IIIIQQIIIIQQ",
            self.fd,
            0,
            len(data),
            len(self._out),
            ctypes.addressof(self._in),
            ctypes.addressof(self._out),
            repeat,
            0,
            len(context),
            len(context),
            place,
            place,
        )
        _, after = _bpf(_Command.TEST_RUN, head)
        _, retval, _, size, _, _, _, duration = struct.unpack_from("<IIIIQQII", after)
        left = self._context.raw[: len(context)]
        return TestRun(retval=retval, data=ctypes.string_at(self._out, size), duration_ns=duration, context=left)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def load_program(kind: int, code: Code, *, license_text: str, name: str, attach_type: int = 0) -> KernelProgram:
    """Have the kernel verify and compile a program; raises Refused with its log, DeviceError without the right.

    Maps are file descriptors in `code` already.
    """
    text = ctypes.create_string_buffer(license_text.encode())
    encoded = encode(code)
    instructions = ctypes.create_string_buffer(encoded, len(encoded))
    with _functions(code) as tail:
        for log_size in (0, _LOG_SIZE):
            log = ctypes.create_string_buffer(max(1, log_size))
            head = struct.pack(
                "<IIQQIIQII",
                kind,
                len(code),
                ctypes.addressof(instructions),
                ctypes.addressof(text),
                1 if log_size else 0,
                log_size,
                ctypes.addressof(log) if log_size else 0,
                0,
                0,
            )
            try:
                fd, _ = _bpf(_Command.PROG_LOAD, head + _name(name) + struct.pack("<II", 0, attach_type) + tail)
                return KernelProgram(fd)
            except OSError as error:
                if error.errno == errno.EPERM:
                    raise _device_error(f"loading {name!r} into the kernel", error) from error
                if log_size:
                    raise _refused(name, log.value.decode("utf-8", "replace"), error) from error
    raise DeviceError(f"loading {name!r} into the kernel: no answer")


def _refused(name: str, log: str, error: OSError) -> Refused:
    last = next((each for each in reversed(log.splitlines()) if not each.startswith("processed")), "")
    return Refused(f"the kernel rejects {name!r}: {last or error.strerror}", log)


@contextmanager
def _functions(code: Code) -> Iterator[bytes]:
    """The attributes from prog_btf_fd to func_info_cnt, for code that takes the address of a function."""
    starts = function_starts(code)
    if not starts:
        yield b""
        return
    types, info = (
        ctypes.create_string_buffer(each, len(each)) for each in (function_btf(starts), function_info(starts))
    )
    try:
        fd, _ = _bpf(_Command.BTF_LOAD, struct.pack("<QQII", ctypes.addressof(types), 0, len(types), 0))
    except OSError as error:
        raise _device_error("loading function types into the kernel", error) from error
    try:
        yield struct.pack("<IIQI", fd, INFO_SIZE, ctypes.addressof(info), len(starts))
    finally:
        os.close(fd)


@contextmanager
def _loaded_types(types: tuple[bytes, int, int] | None) -> Iterator[bytes]:
    """The attributes from map_ifindex to btf_value_type_id."""
    if types is None:
        yield b""
        return
    data = ctypes.create_string_buffer(types[0], len(types[0]))
    fd, _ = _bpf(_Command.BTF_LOAD, struct.pack("<QQII", ctypes.addressof(data), 0, len(data), 0))
    try:
        yield struct.pack("<IIII", 0, fd, types[1], types[2])
    finally:
        os.close(fd)


def _name(name: str) -> bytes:
    clean = "".join(c if c.isalnum() or c in "_." else "_" for c in name)[:_NAME]
    return clean.encode("ascii", "replace").ljust(16, b"\0")
