"""The classic BPF program that tells the kernel which system calls of a supervised process to hold for the supervisor.

Not here: how it is installed (launch) and what happens to calls that are held.
What would get past the supervisor is refused by the program itself: io_uring, the other entries into the kernel (32-bit
calls of sockets, x32), SCTP's connect and bind by socket option, families that carry traffic of the internet without a
socket of its families, and tables of descriptors shared between processes, as a descriptor must not change its
meaning between check and use.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

from netdev.interpose.calls import CALLS, MACHINE, Architecture, Call, number
from netdev.interpose.record import SocketCall

__all__ = ["MSG_FASTOPEN", "REFUSED_FAMILIES", "program"]

MSG_FASTOPEN: Final = 0x2000_0000
REFUSED_FAMILIES: Final = {"AF_RDS": 21, "AF_RXRPC": 33, "AF_SMC": 43}
"""Families whose sockets speak TCP or UDP underneath."""

_Instruction = tuple[int, int, int, int]

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JGE
_ANY_BIT: Final = 0x45  # BPF_JSET
_RETURN: Final = 0x06
_NUMBER: Final = 0  # struct seccomp_data
_ARCH: Final = 4
_ARGUMENTS: Final = 16
_ALLOW: Final = 0x7FFF_0000
_NOTIFY: Final = 0x7FC0_0000
_ERRNO: Final = 0x0005_0000
_X32: Final = 0x4000_0000
_CLONE_FILES: Final = 0x400
_CLONE_THREAD: Final = 0x10000
_SOL_SCTP: Final = 132
_SCTP_ADDRESSES: Final = (100, 101, 107, 110, 111)  # BINDX_ADD, BINDX_REM, CONNECTX_OLD, CONNECTX, CONNECTX3


def _return(value: int) -> _Instruction:
    return (_RETURN, 0, 0, value)


def _refuse(number: int) -> list[_Instruction]:
    return [_return(_ERRNO | number)]


def _load(argument: int, *, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4 * high)


def _when_flag(argument: int, then: list[_Instruction]) -> list[_Instruction]:
    """`then`, when the argument has MSG_FASTOPEN; else go on behind."""
    return [_load(argument), (_ANY_BIT, 0, len(then), MSG_FASTOPEN), *then]


def _when_given(argument: int) -> list[_Instruction]:
    """Hold the call when the pointer is not NULL."""
    return [
        _load(argument),
        (_EQUAL, 0, 2, 0),
        _load(argument, high=True),
        (_EQUAL, 1, 0, 0),
        _return(_NOTIFY),
        _return(_ALLOW),
    ]


def _one_of(values: tuple[int, ...], error: int) -> list[_Instruction]:
    """Refuse when the loaded word is one of these, else allow."""
    checks: list[_Instruction] = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*checks, _return(_ALLOW), _return(_ERRNO | error)]


_FLAGS: Final = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}


def _always(call: Call) -> list[_Instruction] | None:
    """What becomes of a call that is no event."""
    match call.name:
        case "clone":
            return [
                _load(0),
                (_ANY_BIT, 0, 2, _CLONE_FILES),
                (_ANY_BIT, 1, 0, _CLONE_THREAD),
                _return(_ERRNO | errno.EPERM),
                _return(_ALLOW),
            ]
        case "clone3" | "io_uring_setup" | "io_uring_enter" | "io_uring_register":
            return _refuse(errno.ENOSYS)
        case "setsockopt" | "getsockopt":  # SCTP_SOCKOPT_CONNECTX3 is one that is read
            options = _one_of(_SCTP_ADDRESSES, errno.EOPNOTSUPP)
            return [_load(1), (_EQUAL, 1, 0, _SOL_SCTP), _return(_ALLOW), _load(2), *options]
        case "socket":
            return [_load(0), *_one_of(tuple(REFUSED_FAMILIES.values()), errno.EAFNOSUPPORT)]
    return None


def _body(call: Call, wants: frozenset[SocketCall]) -> list[_Instruction] | None:
    """What becomes of a call, ending in a return; None when nobody wants it."""
    if not call.events:
        return _always(call)
    if wants.isdisjoint(call.events):
        return None
    match call.name:
        case "sendto" | "sendmsg" | "sendmmsg":
            rest = [_return(_ALLOW)]
            if SocketCall.SENDMSG in wants:
                rest = _when_given(4) if call.name == "sendto" else [_return(_NOTIFY)]
            if wants.isdisjoint(call.events[1:]):
                return rest
            return [*_when_flag(_FLAGS[call.name], [_return(_NOTIFY)]), *rest]
        case "recvfrom":
            return _when_given(4)
        case "accept" | "accept4" if wants.isdisjoint(call.events[1:]):
            return _when_given(1)
    return [_return(_NOTIFY)]


def _compat_body(call: Call, wants: frozenset[SocketCall]) -> list[_Instruction] | None:
    """Calls of the 32-bit entry that would have to be held are refused, as if they had not been invented yet."""
    if not call.events:
        return _always(call)
    return None if wants.isdisjoint(call.events) else _refuse(errno.ENOSYS)


def _table(rows: list[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    code: list[_Instruction] = []
    for value, body in rows:
        code += [(_EQUAL, 0, len(body), value), *body]
        if any(instruction[0] == _LOAD for instruction in body):
            assert body[-1][0] == _RETURN
    return [*code, _return(_ALLOW)]


def program(wants: frozenset[SocketCall], machine: Architecture = MACHINE) -> bytes:
    """An array of struct sock_filter for a process of whose calls these are wanted."""

    def rows(column: str, *, compat: bool) -> list[tuple[int, list[_Instruction]]]:
        bodies = ((call, _compat_body(call, wants) if compat else _body(call, wants)) for call in CALLS)
        return [(number(call, column), body) for call, body in bodies if body and number(call, column) >= 0]

    own: list[_Instruction] = [(_LOAD, 0, 0, _NUMBER)]
    if machine.x32:
        own += [(_AT_LEAST, 0, 1, _X32), _return(_ERRNO | errno.ENOSYS)]
    own += _table(rows(machine.column, compat=False))
    other = [(_LOAD, 0, 0, _NUMBER), *_table(rows(machine.compat_column, compat=True))]
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 3, 0, machine.audit),
        (_EQUAL, 1, 0, machine.compat_audit),
        _return(_ERRNO | errno.ENOSYS),
        (0x05, 0, 0, len(own)),  # BPF_JMP | BPF_JA
        *own,
        *other,
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
