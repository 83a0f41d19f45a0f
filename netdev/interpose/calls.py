"""Numbers of system calls by architecture: those of sockets that a supervisor may want, and those that would get past it.

Not here: the filter that is made from them (program), and what is done about a call (handling).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from netdev.interpose.record import SocketCall

__all__ = ["ARCHITECTURES", "CALLS", "MACHINE", "Architecture", "Call", "Own", "names_of", "number"]


@final
@dataclass(frozen=True, slots=True)
class Call:
    """A system call: its numbers (-1: there is none), and the events that it is wanted for."""

    name: str
    x86_64: int
    aarch64: int
    i386: int
    arm: int
    events: tuple[SocketCall, ...] = ()


_C = SocketCall
_CONNECTS: Final = (_C.CONNECT, _C.CONNECT_AUTHORIZATION, _C.ESTABLISHED_ACTIVE, _C.CLOSED)
_ACCEPTS: Final = (
    _C.GETPEERNAME,
    _C.ACCEPT,
    _C.ACCEPTED,
    _C.ESTABLISHED_PASSIVE,
    _C.CLOSED,
)  # the first with an address

CALLS: Final = (
    Call("bind", 49, 200, 361, 282, (_C.BIND,)),
    Call("connect", 42, 203, 362, 283, _CONNECTS),
    Call("listen", 50, 201, 363, 284, (_C.LISTEN,)),
    Call("accept", 43, 202, -1, 285, _ACCEPTS),
    Call("accept4", 288, 242, 364, 366, _ACCEPTS),
    Call("sendto", 44, 206, 369, 290, (_C.SENDMSG, *_CONNECTS)),  # the latter with MSG_FASTOPEN
    Call("sendmsg", 46, 211, 370, 296, (_C.SENDMSG, *_CONNECTS)),
    Call("sendmmsg", 307, 269, 345, 374, (_C.SENDMSG, *_CONNECTS)),
    Call("recvfrom", 45, 207, 371, 292, (_C.RECVMSG,)),
    Call("recvmsg", 47, 212, 372, 297, (_C.RECVMSG,)),
    Call("recvmmsg", 299, 243, 337, 365, (_C.RECVMSG,)),
    Call("recvmmsg_time64", -1, -1, 417, 417, (_C.RECVMSG,)),
    Call("getsockname", 51, 204, 367, 286, (_C.GETSOCKNAME,)),
    Call("getpeername", 52, 205, 368, 287, (_C.GETPEERNAME,)),
    Call("socketcall", -1, -1, 102, 102, tuple(_C)),
    Call("socket", 41, 198, 359, 281),
    Call("setsockopt", 54, 208, 366, 294),
    Call("getsockopt", 55, 209, 365, 295),
    Call("clone", 56, 220, 120, 120),
    Call("clone3", 435, 435, 435, 435),
    Call("io_uring_setup", 425, 425, 425, 425),
    Call("io_uring_enter", 426, 426, 426, 426),
    Call("io_uring_register", 427, 427, 427, 427),
)
"""From the kernel's system call tables; those without events are treated by the filter alone."""


@final
@dataclass(frozen=True, slots=True)
class Architecture:
    """A machine with its two entries into the kernel: AUDIT_ARCH_… of each, and where a Call has its numbers.

    `x32`: whether numbers from 0x40000000 on are a third entry.
    """

    column: str
    audit: int
    compat_column: str
    compat_audit: int
    x32: bool


ARCHITECTURES: Final = {
    "x86_64": Architecture("x86_64", 0xC000003E, "i386", 0x40000003, x32=True),
    "aarch64": Architecture("aarch64", 0xC00000B7, "arm", 0x40000028, x32=False),
}
MACHINE: Final = ARCHITECTURES.get(platform.machine(), ARCHITECTURES["x86_64"])
_COLUMN: Final = 0 if MACHINE.column == "x86_64" else 1


def number(call: Call, column: str) -> int:
    """The call's number in a column of the table; -1 when that entry does not have it."""
    found: int = getattr(call, column)
    return found


def names_of(column: str) -> dict[int, str]:
    """Which call a number is."""
    return {number(call, column): call.name for call in CALLS if number(call, column) >= 0}


class Own(IntEnum):
    """Numbers on this machine of the calls that the supervisor makes itself."""

    BIND = (49, 200)[_COLUMN]
    CONNECT = (42, 203)[_COLUMN]
    LISTEN = (50, 201)[_COLUMN]
    ACCEPT4 = (288, 242)[_COLUMN]
    SENDTO = (44, 206)[_COLUMN]
    SENDMSG = (46, 211)[_COLUMN]
    RECVMSG = (47, 212)[_COLUMN]
    RECVMMSG = (299, 243)[_COLUMN]
    GETSOCKNAME = (51, 204)[_COLUMN]
    GETPEERNAME = (52, 205)[_COLUMN]
    GETSOCKOPT = (55, 209)[_COLUMN]
    IOCTL = (16, 29)[_COLUMN]
    FCNTL = (72, 25)[_COLUMN]
    CLOSE = (3, 57)[_COLUMN]
    WRITE = (1, 64)[_COLUMN]
    READ = (0, 63)[_COLUMN]
    OPENAT = (257, 56)[_COLUMN]
    VM_READ = (310, 270)[_COLUMN]
    VM_WRITE = (311, 271)[_COLUMN]
    TGKILL = (234, 131)[_COLUMN]
    CAPGET = (125, 90)[_COLUMN]
    CAPSET = (126, 91)[_COLUMN]
    SETGROUPS = (116, 159)[_COLUMN]
    SETRESUID = (117, 147)[_COLUMN]
    SETRESGID = (119, 149)[_COLUMN]
    UNSHARE = (272, 97)[_COLUMN]
    KCMP = (312, 272)[_COLUMN]
    SECCOMP = (317, 277)[_COLUMN]
    PPOLL = (271, 73)[_COLUMN]
    PIDFD_OPEN = 434
    PIDFD_GETFD = 438
