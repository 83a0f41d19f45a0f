"""What natives ask about a held call's socket and thread, into its record.

Not here: the caller's memory, and the call (supervise).
"""

from __future__ import annotations

import os
import socket
from typing import Final

from netdev.interpose import Event, Fact, Job, Own
from runtime.native import (
    load16,
    load32,
    load64,
    memzero,
    monotonic_ns,
    native,
    store8,
    store16,
    store32,
    store64,
    syscall,
    udiv,
    urem,
)

__all__ = ["ends", "facts", "give_port", "name", "option", "tcp_state"]

_TID: Final = 8
_NUMBER: Final = 16
_ARGUMENTS: Final = 32

# where in Job.SCRATCH
_OPTION: Final = Job.SCRATCH + 160
_OPTION_SIZE: Final = Job.SCRATCH + 176
_PATH: Final = Job.SCRATCH + 192

_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_TCP: Final = int(socket.IPPROTO_TCP)
_UDP: Final = int(socket.IPPROTO_UDP)
_UDP_LITE: Final = 136
_TCP_INFO: Final = int(socket.TCP_INFO)
_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
_SO_TYPE: Final = int(socket.SO_TYPE)
_SO_DOMAIN: Final = int(socket.SO_DOMAIN)
_SO_PROTOCOL: Final = int(socket.SO_PROTOCOL)
_SO_MARK: Final = int(socket.SO_MARK)
_SO_PRIORITY: Final = int(socket.SO_PRIORITY)
_SO_COOKIE: Final = 57
_SO_BINDTOIFINDEX: Final = 62
_SO_NETNS_COOKIE: Final = 71
_READ_ONLY: Final = os.O_RDONLY | os.O_CLOEXEC
_AT_FDCWD: Final = -100
_ADDRESS_ROOM: Final = 128
_COMM_ROOM: Final = 16
_INET_SIZE: Final = 16


@native
def option(job: int, level: int, name: int, size: int) -> int:
    """A socket's option, or 0."""
    store64(job + _OPTION, 0)
    store32(job + _OPTION_SIZE, size)
    done = syscall(Own.GETSOCKOPT, load64(job + Job.SOCKET), level, name, job + _OPTION, job + _OPTION_SIZE, 0)
    return load64(job + _OPTION) if done >= 0 else 0


@native
def name(job: int, call: int, address: int, length: int) -> int:
    """Put the address of an end of the socket into the record."""
    store32(job + _OPTION_SIZE, _ADDRESS_ROOM)
    done = syscall(call, load64(job + Job.SOCKET), job + Job.RECORD + address, job + _OPTION_SIZE, 0, 0, 0)
    store64(job + Job.RECORD + length, load32(job + _OPTION_SIZE) if done >= 0 else 0)
    return 0


@native
def _comm(job: int) -> int:
    """The thread's name: /proc/TID/comm."""
    path = job + _PATH
    store64(path, 0x2F636F72702F)  # "/proc/"
    tid = load32(job + Job.NOTIFICATION + _TID)
    digits = 1
    power = 10
    while power <= tid:
        power *= 10
        digits += 1
    at = path + 6
    for _ in range(digits):
        power = udiv(power, 10)
        store8(at, 48 + urem(udiv(tid, power), 10))
        at += 1
    memzero(at, 8)
    store32(at, 0x6D6F632F)  # "/com"
    store8(at + 4, 0x6D)
    descriptor = syscall(Own.OPENAT, _AT_FDCWD, path, _READ_ONLY, 0, 0, 0)
    if descriptor < 0:
        return 0
    text = job + Job.RECORD + Event.COMM
    size = syscall(Own.READ, descriptor, text, _COMM_ROOM, 0, 0, 0)
    syscall(Own.CLOSE, descriptor, 0, 0, 0, 0, 0)
    if size > 0:
        store8(text + size - 1, 0)
    return 0


@native
def tcp_state(job: int) -> int:
    """The state of the socket as TCP counts them, 0 when it has none."""
    return option(job, _TCP, _TCP_INFO, 1) & 255


@native
def ends(job: int) -> int:
    """Both ends of the socket."""
    name(job, Own.GETSOCKNAME, Event.LOCAL, Event.LOCAL_LENGTH)
    return name(job, Own.GETPEERNAME, Event.REMOTE, Event.REMOTE_LENGTH)


@native
def facts(job: int) -> int:
    """What is known about the socket; 0 when it is none of the internet's."""
    record = job + Job.RECORD
    family = option(job, _SOL_SOCKET, _SO_DOMAIN, 4)
    if family != _INET and family != _INET6:  # noqa: PLR1714 - natives have no tuples
        return 0
    store64(record + Event.FAMILY, family)
    store64(record + Event.TYPE, option(job, _SOL_SOCKET, _SO_TYPE, 4))
    store64(record + Event.PROTOCOL, option(job, _SOL_SOCKET, _SO_PROTOCOL, 4))
    store64(record + Event.SOCKET_FD, load64(job + Job.SOCKET))
    store64(record + Event.FD, load32(job + Job.NOTIFICATION + _ARGUMENTS))
    store64(record + Event.NUMBER, load32(job + Job.NOTIFICATION + _NUMBER))
    store64(record + Event.TIME, monotonic_ns())
    needs = load64(job + Job.NEEDS)
    if needs & Fact.COOKIE != 0:
        store64(record + Event.COOKIE, option(job, _SOL_SOCKET, _SO_COOKIE, 8))
    if needs & Fact.NETNS_COOKIE != 0:
        store64(record + Event.NETNS_COOKIE, option(job, _SOL_SOCKET, _SO_NETNS_COOKIE, 8))
    if needs & Fact.COMM != 0:
        _comm(job)
    if needs & Fact.OPTIONS != 0:
        store64(record + Event.BOUND_IF, option(job, _SOL_SOCKET, _SO_BINDTOIFINDEX, 4))
        store64(record + Event.MARK, option(job, _SOL_SOCKET, _SO_MARK, 4))
        store64(record + Event.PRIORITY, option(job, _SOL_SOCKET, _SO_PRIORITY, 4))
        store64(record + Event.STATE, tcp_state(job))
    if needs & Fact.ENDS != 0:
        ends(job)
    return 1


@native
def give_port(job: int) -> int:
    """Give a UDP socket that is about to send a port if it has none, as the kernel does before it asks programs."""
    record = job + Job.RECORD
    protocol = load64(record + Event.PROTOCOL)
    if protocol != _UDP and protocol != _UDP_LITE:  # noqa: PLR1714 - natives have no tuples
        return 0
    size = load64(record + Event.LOCAL_LENGTH)
    if size < _INET_SIZE or load16(record + Event.LOCAL + 2) != 0:
        return 0
    nowhere = job + _PATH
    memzero(nowhere, _ADDRESS_ROOM)
    store16(nowhere, load16(record + Event.LOCAL))
    if syscall(Own.BIND, load64(job + Job.SOCKET), nowhere, size, 0, 0, 0) < 0:
        return 0
    return name(job, Own.GETSOCKNAME, Event.LOCAL, Event.LOCAL_LENGTH)
