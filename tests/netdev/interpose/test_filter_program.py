"""The filter, run by a small interpreter of classic BPF: what is held, refused and let through."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from netdev.interpose.calls import ARCHITECTURES, CALLS, number
from netdev.interpose.program import MSG_FASTOPEN, program
from netdev.interpose.record import SocketCall

NOTIFY = 0x7FC0_0000
ALLOWED = 0x7FFF_0000
CONNECT = frozenset({SocketCall.CONNECT})
SENDMSG = frozenset({SocketCall.SENDMSG})


def _run(code: bytes, audit: int, number: int, *arguments: int) -> int:
    data = struct.pack("=iIQ6Q", number, audit, 0, *(*arguments, *[0] * 6)[:6])
    accumulator = at = 0
    while True:
        kind, jump_true, jump_false, k = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        match kind:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x05:
                at += k
            case 0x15:
                at += jump_true if accumulator == k else jump_false
            case 0x35:
                at += jump_true if accumulator >= k else jump_false
            case 0x45:
                at += jump_true if accumulator & k else jump_false
            case 0x06:
                return k
            case _:
                raise AssertionError(kind)


def _refused(number: int) -> int:
    return 0x0005_0000 | number


MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def _verdict(wants: frozenset[SocketCall], machine: str, name: str, *arguments: int, compat: bool = False) -> int:
    architecture = ARCHITECTURES[machine]
    call = next(call for call in CALLS if call.name == name)
    column = architecture.compat_column if compat else architecture.column
    audit = architecture.compat_audit if compat else architecture.audit
    return _run(program(wants, architecture), audit, number(call, column), *arguments)


@MACHINES
def test_only_wanted_calls_are_held(machine: str) -> None:
    """Connect is held for those who want it, bind then is not, nor is anything that is no socket call."""
    assert _verdict(CONNECT, machine, "connect") == NOTIFY
    assert _verdict(CONNECT, machine, "bind") == ALLOWED
    assert _verdict(frozenset({SocketCall.BIND}), machine, "connect") == ALLOWED
    assert _verdict(frozenset(SocketCall), machine, "socket", 2) == ALLOWED
    assert _run(program(CONNECT, ARCHITECTURES[machine]), ARCHITECTURES[machine].audit, 0) == ALLOWED


@MACHINES
def test_messages_without_an_address_are_not_held(machine: str) -> None:
    """Sendto and recvfrom are held when they have an address, wherever in 64 bits it lies."""
    for name, wants in (("sendto", SENDMSG), ("recvfrom", frozenset({SocketCall.RECVMSG}))):
        assert _verdict(wants, machine, name, 3, 0, 0, 0, 0) == ALLOWED
        assert _verdict(wants, machine, name, 3, 0, 0, 0, 8) == NOTIFY
        assert _verdict(wants, machine, name, 3, 0, 0, 0, 1 << 32) == NOTIFY


@MACHINES
def test_a_message_that_connects_is_a_connect(machine: str) -> None:
    """MSG_FASTOPEN is held for those who want connects, in each call that sends; without it only for senders."""
    for name, at in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        arguments = [0] * 6
        arguments[at] = MSG_FASTOPEN
        assert _verdict(CONNECT, machine, name, *arguments) == NOTIFY
        assert _verdict(CONNECT, machine, name) == ALLOWED
        assert _verdict(SENDMSG, machine, name, 0, 0, 0, 0, 1) == NOTIFY


@MACHINES
def test_other_entries_are_refused(machine: str) -> None:
    """The 32-bit entry has no socket calls, and an unknown architecture no calls at all."""
    for name in ("connect", "socketcall", "sendmsg", "clone3", "io_uring_setup"):
        assert _verdict(frozenset(SocketCall), machine, name, compat=True) == _refused(errno.ENOSYS)
    assert _run(program(CONNECT, ARCHITECTURES[machine]), 0x1234, 0) == _refused(errno.ENOSYS)
    assert _run(program(CONNECT, ARCHITECTURES[machine]), ARCHITECTURES[machine].compat_audit, 4) == ALLOWED


def test_x32_is_refused() -> None:
    """Numbers with the bit of x32 are unknown calls, whatever they would be."""
    for number_ in (0x4000_0000 | 42, 0x4000_0000, 0xFFFF_FFFF - (1 << 32)):
        assert _run(program(CONNECT, ARCHITECTURES["x86_64"]), 0xC000003E, number_) == _refused(errno.ENOSYS)


@MACHINES
def test_ways_around_are_refused(machine: str) -> None:
    """io_uring, clone3, shared tables of descriptors, SCTP's options and families over TCP are refused; threads are not."""
    for name in ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3"):
        assert _verdict(CONNECT, machine, name) == _refused(errno.ENOSYS)
    assert _verdict(CONNECT, machine, "clone", 0x400) == _refused(errno.EPERM)
    assert _verdict(CONNECT, machine, "clone", 0x10400) == ALLOWED
    assert _verdict(CONNECT, machine, "clone", 0x4111) == ALLOWED
    for option in (100, 101, 107, 110, 111):
        assert _verdict(CONNECT, machine, "setsockopt", 3, 132, option) == _refused(errno.EOPNOTSUPP)
        assert _verdict(CONNECT, machine, "getsockopt", 3, 132, option) == _refused(errno.EOPNOTSUPP)
    assert _verdict(CONNECT, machine, "setsockopt", 3, 132, 5) == ALLOWED
    assert _verdict(CONNECT, machine, "setsockopt", 3, 6, 100) == ALLOWED
    for family in (21, 33, 43):
        assert _verdict(CONNECT, machine, "socket", family) == _refused(errno.EAFNOSUPPORT)


_HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"__NR_(\w+) (\d+)"),
    "i386": ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", r"__NR_(\w+) (\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"__NR_(\w+) (\d+)"),
}


@pytest.mark.parametrize("column", sorted(_HEADERS))
def test_numbers_are_the_kernels(column: str) -> None:
    """The table agrees with the headers of the system, and no number stands twice."""
    path, pattern = _HEADERS[column]
    if not Path(path).exists():
        pytest.skip(f"{path} is not installed")
    known = dict(re.findall(pattern, Path(path).read_text()))
    ours = {call.name: number(call, column) for call in CALLS if number(call, column) >= 0}
    assert {name: known.get(name) for name in ours} == {name: str(value) for name, value in ours.items()}
    assert len(set(ours.values())) == len(ours)
