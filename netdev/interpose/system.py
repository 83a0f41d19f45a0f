"""System calls that the library of Python does not have, and the structures of <linux/seccomp.h>.

Not here: what they are used for.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from netdev.interpose.calls import MACHINE, Own, names_of

__all__ = [
    "CONTINUE",
    "NOTIFICATION_SIZE",
    "NUDGE",
    "RESTART",
    "Notification",
    "add_descriptor",
    "answer",
    "duplicate",
    "has_capability",
    "is_valid",
    "keep_capabilities",
    "out_of_reach",
    "own_tid",
    "prepare_nudges",
    "read_memory",
    "receive",
    "set_sync_wake_up",
    "system",
    "thread_kill",
    "thread_pidfd",
    "write_memory",
]

NOTIFICATION_SIZE: Final = 80
CONTINUE: Final = 1
RESTART: Final = 512
"""ERESTARTSYS: the kernel turns it into EINTR or calls again, as the handler of the signal wants it."""
NUDGE: Final = signal.SIGRTMIN + 7
"""Sent to a thread of the supervisor to interrupt the call that it blocks in; nothing is done about it."""

_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ID_VALID: Final = 0x40082102
_ADD_DESCRIPTOR: Final = 0x40182103
_SET_FLAGS: Final = 0x40082104
_PIDFD_THREAD: Final = 0x80
_ADD_AND_SEND: Final = 2
_KCMP_FILES: Final = 2
_PR_SET_DUMPABLE: Final = 4
_CAPABILITY_VERSION: Final = 0x2008_0522


@functools.cache
def _libc() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    found: Callable[..., int] = function
    return found


def system(number: int, *words: object) -> int:
    """What a system call returns, or its errno with a minus; words are numbers, buffers or addresses."""
    result = _libc()(ctypes.c_long(number), *(ctypes.c_long(w) if isinstance(w, int) else w for w in words))
    return -ctypes.get_errno() if result == -1 else result


@final
@dataclass(frozen=True, slots=True)
class Notification:
    """A held call (struct seccomp_notif); `arguments` are unsigned words, `id` is signed, as jobs have it."""

    id: int
    tid: int
    number: int
    arguments: tuple[int, ...]

    @classmethod
    def parse(cls, data: bytes | memoryview) -> Notification:
        """From NOTIFICATION_SIZE bytes."""
        id_, tid, _, call, _, _, *arguments = struct.unpack_from("=qIIiIQ6Q", data)
        return cls(id_, tid, call, tuple(arguments))

    @property
    def name(self) -> str:
        """Which call it is."""
        return _NAMES.get(self.number, "")

    def integer(self, at: int) -> int:
        """An argument as the kernel takes an int."""
        value = self.arguments[at] & 0xFFFF_FFFF
        return value - (1 << 32) if value >> 31 else value


_NAMES: Final = names_of(MACHINE.column)


def receive(listener: int, buffer: int) -> int:
    """Wait for a held call; 0, or an errno with a minus. `buffer`: the address of NOTIFICATION_SIZE bytes."""
    ctypes.memset(buffer, 0, NOTIFICATION_SIZE)
    return system(Own.IOCTL, listener, _RECEIVE, buffer)


def answer(listener: int, call: int, result: int, flags: int = 0) -> int:
    """Let a held call return `result`, or fail with that errno when it is negative; ENOENT (minus): the caller is gone."""
    error = min(result, 0)
    data = ctypes.create_string_buffer(struct.pack("=qqiI", call, max(result, 0), error, flags), 24)
    return system(Own.IOCTL, listener, _SEND, data)


def is_valid(listener: int, call: int) -> bool:
    """Whether the caller still waits."""
    return system(Own.IOCTL, listener, _ID_VALID, ctypes.byref(ctypes.c_uint64(call))) == 0


def add_descriptor(listener: int, call: int, descriptor: int, *, cloexec: bool) -> int:
    """Give the caller a duplicate of our descriptor, whose number is what its call returns; an errno with a minus."""
    data = struct.pack("=qIIII", call, _ADD_AND_SEND, descriptor, 0, os.O_CLOEXEC if cloexec else 0)
    return system(Own.IOCTL, listener, _ADD_DESCRIPTOR, ctypes.create_string_buffer(data, 24))


def set_sync_wake_up(listener: int) -> bool:
    """Wake each side on the processor of the other (Linux 6.6); False where the kernel does not know it."""
    return system(Own.IOCTL, listener, _SET_FLAGS, 1) == 0


def thread_pidfd(tid: int) -> int:
    """A descriptor of that very thread, or an errno with a minus."""
    found = system(Own.PIDFD_OPEN, tid, _PIDFD_THREAD)
    if found != -errno.EINVAL:
        return found
    group = _group_of(tid)  # before Linux 6.9 only thread groups have descriptors: it has to have the same files
    if group != tid and system(Own.KCMP, tid, group, _KCMP_FILES, 0, 0) != 0:
        return -errno.EPERM
    return system(Own.PIDFD_OPEN, group, 0)


def _group_of(tid: int) -> int:
    try:
        with open(f"/proc/{tid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - hot
            return next((int(line[5:]) for line in status if line.startswith("Tgid:")), tid)
    except OSError:
        return tid


def duplicate(pidfd: int, descriptor: int) -> int:
    """Our own descriptor (close-on-exec) of what a descriptor of that process stands for, or an errno with a minus."""
    return system(Own.PIDFD_GETFD, pidfd, descriptor, 0)


def _vectors(pieces: list[tuple[int, int]]) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(b"".join(struct.pack("=QQ", *piece) for piece in pieces), 16 * len(pieces))


def read_memory(tid: int, pieces: list[tuple[int, int]]) -> bytes | None:
    """The bytes at these (address, size) of a thread's memory, joined; None when some cannot be read."""
    size = sum(length for _, length in pieces)
    if not size:
        return b""
    into = ctypes.create_string_buffer(size)
    got = 0
    for at in range(0, len(pieces), 1024):
        part = pieces[at : at + 1024]
        here = _vectors([(ctypes.addressof(into) + got, size - got)])
        done = system(Own.VM_READ, tid, here, 1, _vectors(part), len(part), 0)
        if done != sum(length for _, length in part):
            return None
        got += done
    return into.raw


def write_memory(tid: int, pieces: list[tuple[int, int]], data: bytes) -> bool:
    """Write `data` over these (address, size) of a thread's memory, in order, as far as it goes; False when it cannot."""
    pieces = [piece for piece in pieces if piece[1]]
    size = min(len(data), sum(length for _, length in pieces))
    if not size:
        return True
    source = ctypes.create_string_buffer(data, len(data))
    here = _vectors([(ctypes.addressof(source), size)])
    return system(Own.VM_WRITE, tid, here, 1, _vectors(pieces), min(len(pieces), 1024), 0) == size


def own_tid() -> int:
    """The kernel's number of the calling thread."""
    import threading

    return threading.get_native_id()


def thread_kill(pid: int, tid: int, number: int) -> int:
    """Send a signal to one thread."""
    return system(Own.TGKILL, pid, tid, number)


class _SignalAction(ctypes.Structure):
    """struct sigaction of glibc and musl."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


@functools.cache
def prepare_nudges() -> None:
    """Let NUDGE interrupt calls in this process, and do nothing else: its handler is a function of C that does nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    action = _SignalAction(handler=ctypes.cast(libc.abs, ctypes.c_void_p).value)
    if libc.sigaction(NUDGE, ctypes.byref(action), None):
        raise OSError(ctypes.get_errno(), "sigaction")


def keep_capabilities(kept: int) -> None:
    """Give up the effect of all capabilities of this thread but these (a set of bits); they stay permitted."""
    permitted = _capabilities()[1]
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    low, high = (permitted >> shift & 0xFFFF_FFFF for shift in (0, 32))
    want = kept & permitted
    data = struct.pack("=6I", want & 0xFFFF_FFFF, low, 0, want >> 32, high, 0)
    result = system(Own.CAPSET, header, ctypes.create_string_buffer(data, 24))
    if result < 0:
        raise OSError(-result, "capset")


def _capabilities() -> tuple[int, int]:
    """The effective and the permitted capabilities of this thread."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0), 8)
    data = ctypes.create_string_buffer(24)
    system(Own.CAPGET, header, data)
    low_effective, low_permitted, _, high_effective, high_permitted, _ = struct.unpack("=6I", data.raw)
    return low_effective | high_effective << 32, low_permitted | high_permitted << 32


def out_of_reach() -> None:
    """Let nobody without CAP_SYS_PTRACE trace this process, write to it or fetch its descriptors (PR_SET_DUMPABLE)."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def has_capability(bit: int) -> bool:
    """Whether a capability is in effect on this thread."""
    return bool(_capabilities()[0] >> bit & 1)
