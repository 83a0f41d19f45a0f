"""What runs a program over one event record: the context is filled from it, and what the program wrote goes back.

Not here: several programs (natives of the chain), and which calls lead to which programs.
"""

from __future__ import annotations

import platform
import socket
from typing import Final

from netdev.interpose import Event, SocketCall
from runtime.native import (
    bswap16,
    bswap32,
    call_program,
    load8,
    load16,
    load32,
    load64,
    memcpy,
    memeq,
    memzero,
    native,
    shr,
    store8,
    store16,
    store32,
    store64,
    syscall,
    udiv,
    urem,
    zext32,
)
from runtime.spec import Env
from xdp.sockets.contexts import BindMd, SockAddr, SockOps
from xdp.sockets.layout import CONTEXT_ROOM, LONGEST_TEXT, Room, Word
from xdp.sockets.verdicts import BindAction, SockOp

__all__ = [
    "drive_bind",
    "drive_sock_addr",
    "drive_sock_ops",
    "enter_bind",
    "enter_sock_addr",
    "enter_sock_ops",
    "is_mapped",
    "leave_bind",
    "leave_sock_addr",
]

_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_INET_SIZE: Final = 16
_INET6_SIZE: Final = 28
_SOCKET_SIZE: Final = 80
_MAPPED: Final = 0xFFFF0000
_TAIL_CALLS: Final = 33
_READ_LINK: Final = 78 if platform.machine() == "aarch64" else 267
_AT_FDCWD: Final = -100
_CLOSE: Final = 7
_ESTABLISHED: Final = 1
_UDP: Final = 17
_COMM: Final = 16
_BIND_ADDRESS: Final = 16
_SLASH_PROC: Final = int.from_bytes(b"/proc/\0\0", "little")
_SLASH_EXE: Final = int.from_bytes(b"/exe\0\0\0\0", "little")

# struct bpf_sock
_BOUND_IF: Final = 0
_FAMILY: Final = 4
_TYPE: Final = 8
_PROTOCOL: Final = 12
_MARK: Final = 16
_PRIORITY: Final = 20
_SRC_IP4: Final = 24
_SRC_IP6: Final = 28
_SRC_PORT: Final = 44
_DST_PORT: Final = 48
_DST_IP4: Final = 52
_DST_IP6: Final = 56
_STATE: Final = 72
_QUEUE: Final = 76


@native
def is_mapped(address: int) -> int:
    """Whether a struct sockaddr_in6 has an IPv4 address inside an IPv6 one (::ffff:1.2.3.4)."""
    if load16(address) != _INET6:
        return 0
    if load64(address + 8) != 0 or load32(address + 16) != _MAPPED:
        return 0
    return 1


@native
def _put_end(address: int, ip4: int, ip6: int) -> int:
    """The IP address of a socket address to where the two families have it; the port in the network's order."""
    if load16(address) == _INET6:
        memcpy(ip6, address + 8, 16)
        if is_mapped(address) != 0:
            store32(ip4, load32(address + 20))
    else:
        store32(ip4, load32(address + 4))
    return load16(address + 2)


@native
def _state(record: int) -> int:
    """The state as TCP has them; UDP has two of them, connected and not."""
    if load64(record + Event.PROTOCOL) != _UDP:
        return load64(record + Event.STATE)
    return _ESTABLISHED if load64(record + Event.REMOTE_LENGTH) >= _INET_SIZE else _CLOSE


@native
def _fill_socket(record: int) -> int:
    """Fill a struct bpf_sock; its address."""
    at = record + Room.SOCKET
    memzero(at, _SOCKET_SIZE)
    store32(at + _BOUND_IF, load64(record + Event.BOUND_IF))
    store32(at + _FAMILY, load64(record + Event.FAMILY))
    store32(at + _TYPE, load64(record + Event.TYPE))
    store32(at + _PROTOCOL, load64(record + Event.PROTOCOL))
    store32(at + _MARK, load64(record + Event.MARK))
    store32(at + _PRIORITY, load64(record + Event.PRIORITY))
    store32(at + _STATE, _state(record))
    store32(at + _QUEUE, -1)
    if load64(record + Event.LOCAL_LENGTH) >= _INET_SIZE:
        store32(at + _SRC_PORT, bswap16(_put_end(record + Event.LOCAL, at + _SRC_IP4, at + _SRC_IP6)))
    if load64(record + Event.REMOTE_LENGTH) >= _INET_SIZE:
        store16(at + _DST_PORT, _put_end(record + Event.REMOTE, at + _DST_IP4, at + _DST_IP6))
    return at


@native
def _begin(record: int, env: int) -> int:
    """The environment of this event, and an empty context; its address."""
    store64(env + Word.RECORD, record)
    store64(env + Env.TAIL_CALLS, _TAIL_CALLS)
    memzero(record + Room.CONTEXT, CONTEXT_ROOM)
    return record + Room.CONTEXT


@native
def _destination(record: int) -> int:
    """Where the address lies that programs see as the user's: of an accepted connection, the own end."""
    return record + Event.LOCAL if load64(record + Event.CALL) == SocketCall.ACCEPTED else record + Event.ADDRESS


@native
def _source(record: int) -> int:
    """Where the address lies that programs see as the source of messages, 0 without one."""
    call = load64(record + Event.CALL)
    if call == SocketCall.ACCEPTED or call == SocketCall.LISTEN:  # noqa: PLR1714 - natives have no tuples
        return record + Event.ADDRESS
    if call == SocketCall.SENDMSG and load64(record + Event.SOURCE_LENGTH) >= _INET_SIZE:
        return record + Event.SOURCE
    if call == SocketCall.SENDMSG or call == SocketCall.CONNECT_AUTHORIZATION:  # noqa: PLR1714
        return record + Event.LOCAL if load64(record + Event.LOCAL_LENGTH) >= _INET_SIZE else 0
    return 0


@native
def _is_plain4(record: int, address: int) -> int:
    """Whether the kernel makes an IPv4 message of one to a mapped address."""
    return is_mapped(address) if load64(record + Event.CALL) == SocketCall.SENDMSG else 0


@native
def _fill_source(record: int, ctx: int) -> int:
    source = _source(record)
    if source != 0:
        _put_end(source, ctx + SockAddr.MSG_SRC_IP4, ctx + SockAddr.MSG_SRC_IP6)
    return 0


@native
def enter_sock_addr(record: int, env: int) -> int:
    """Fill struct bpf_sock_addr; its address."""
    ctx = _begin(record, env)
    address = _destination(record)
    family = load16(address)
    store16(ctx + SockAddr.USER_PORT, load16(address + 2))
    if _is_plain4(record, address) != 0:
        family = _INET
        store32(ctx + SockAddr.USER_IP4, load32(address + 20))
    elif family == _INET6:
        memcpy(ctx + SockAddr.USER_IP6, address + 8, 16)
    else:
        store32(ctx + SockAddr.USER_IP4, load32(address + 4))
    store32(ctx + SockAddr.USER_FAMILY, family)
    store32(ctx + SockAddr.FAMILY, load64(record + Event.FAMILY))
    store32(ctx + SockAddr.TYPE, load64(record + Event.TYPE))
    store32(ctx + SockAddr.PROTOCOL, load64(record + Event.PROTOCOL))
    _fill_source(record, ctx)
    store64(ctx + SockAddr.SK, _fill_socket(record))
    return ctx


@native
def _leave_source(record: int, ctx: int) -> int:
    """Note the source address of a message, when the program has set another."""
    source = _source(record)
    at = record + Room.SCRATCH
    memzero(at, 20)
    if source != 0:
        _put_end(source, at, at + 4)
    new = record + Event.SOURCE
    if memeq(at, ctx + SockAddr.MSG_SRC_IP4, 20) != 0:
        return 0
    if load32(ctx + SockAddr.USER_FAMILY) == _INET6:
        memzero(new, _INET6_SIZE)
        store16(new, _INET6)
        memcpy(new + 8, ctx + SockAddr.MSG_SRC_IP6, 16)
        return store64(record + Event.SOURCE_LENGTH, _INET6_SIZE)
    memzero(new, _INET_SIZE)
    store16(new, _INET)
    store32(new + 4, load32(ctx + SockAddr.MSG_SRC_IP4))
    return store64(record + Event.SOURCE_LENGTH, _INET_SIZE)


@native
def leave_sock_addr(record: int) -> int:
    """What the program wrote into the context, into the record; nothing where programs only read."""
    call = load64(record + Event.CALL)
    ctx = record + Room.CONTEXT
    if call == SocketCall.ACCEPTED or call == SocketCall.LISTEN or call == SocketCall.CONNECT_AUTHORIZATION:  # noqa: PLR1714
        return 0
    address = record + Event.ADDRESS
    store16(address + 2, load16(ctx + SockAddr.USER_PORT))
    if _is_plain4(record, address) != 0:
        store32(address + 20, load32(ctx + SockAddr.USER_IP4))
    elif load16(address) == _INET6:
        memcpy(address + 8, ctx + SockAddr.USER_IP6, 16)
    else:
        store32(address + 4, load32(ctx + SockAddr.USER_IP4))
    return _leave_source(record, ctx) if call == SocketCall.SENDMSG else 0


@native
def drive_sock_addr(record: int, env: int) -> int:
    """Run a program about addresses over an event record; what it returned."""
    result = zext32(call_program(enter_sock_addr(record, env), env))
    leave_sock_addr(record)
    return result


@native
def _decimal(at: int, number: int) -> int:
    """Write a number; where it ends."""
    power = 1
    while udiv(number, power) >= 10:
        power *= 10
    while power > 0:
        store8(at, 48 + urem(udiv(number, power), 10))
        at += 1
        power = udiv(power, 10)
    return at


@native
def _find_text(record: int) -> int:
    """The path of the caller's program, or else its name; how long it is."""
    path = record + Room.PATH
    store64(path, _SLASH_PROC)
    store64(_decimal(path + 6, shr(load64(record + Event.PID_TGID), 32)), _SLASH_EXE)
    size = syscall(_READ_LINK, _AT_FDCWD, path, record + Room.TEXT, LONGEST_TEXT, 0, 0)
    if size <= 0:
        size = 0
        while size < _COMM and load8(record + Event.COMM + size) != 0:
            size += 1
        memcpy(record + Room.TEXT, record + Event.COMM, size)
    return size


@native
def enter_bind(record: int, env: int) -> int:
    """Fill bind_md; its address."""
    ctx = _begin(record, env)
    store64(ctx + BindMd.APP_ID_START, record + Room.TEXT)
    store64(ctx + BindMd.APP_ID_END, record + Room.TEXT + _find_text(record))
    store64(ctx + BindMd.PROCESS_ID, shr(load64(record + Event.PID_TGID), 32))
    memcpy(ctx + BindMd.SOCKET_ADDRESS, record + Event.ADDRESS, _BIND_ADDRESS)
    store8(ctx + BindMd.SOCKET_ADDRESS_LENGTH, load64(record + Event.ADDRESS_LENGTH))
    store8(ctx + BindMd.PROTOCOL, load64(record + Event.PROTOCOL))
    return ctx


@native
def leave_bind(record: int, result: int) -> int:
    """A redirect changes where the socket is bound; anything else leaves it."""
    if result == BindAction.BIND_REDIRECT:
        memcpy(record + Event.ADDRESS, record + Room.CONTEXT + BindMd.SOCKET_ADDRESS, _BIND_ADDRESS)
    return 0


@native
def drive_bind(record: int, env: int) -> int:
    """Run a bind program over an event record; what it returned."""
    result = zext32(call_program(enter_bind(record, env), env))
    leave_bind(record, result)
    return result


@native
def _operation(record: int, ctx: int) -> int:
    call = load64(record + Event.CALL)
    if call == SocketCall.ESTABLISHED_ACTIVE:
        return SockOp.ACTIVE_ESTABLISHED
    if call == SocketCall.ESTABLISHED_PASSIVE:
        return SockOp.PASSIVE_ESTABLISHED
    store32(ctx + SockOps.REPLY, load64(record + Event.STATE))  # args[0] and args[1]: the states before and after
    store32(ctx + SockOps.REPLY + 4, _CLOSE)
    return SockOp.STATE_CHANGE


@native
def enter_sock_ops(record: int, env: int) -> int:
    """Fill struct bpf_sock_ops; its address."""
    ctx = _begin(record, env)
    sk = _fill_socket(record)
    store32(ctx + SockOps.OP, _operation(record, ctx))
    store32(ctx + SockOps.FAMILY, load64(record + Event.FAMILY))
    store32(ctx + SockOps.REMOTE_IP4, load32(sk + _DST_IP4))
    store32(ctx + SockOps.LOCAL_IP4, load32(sk + _SRC_IP4))
    memcpy(ctx + SockOps.REMOTE_IP6, sk + _DST_IP6, 16)
    memcpy(ctx + SockOps.LOCAL_IP6, sk + _SRC_IP6, 16)
    store32(ctx + SockOps.REMOTE_PORT, bswap32(bswap16(load16(sk + _DST_PORT))))
    store32(ctx + SockOps.LOCAL_PORT, load32(sk + _SRC_PORT))
    store32(ctx + SockOps.IS_FULLSOCK, 1)
    store32(ctx + SockOps.STATE, load64(record + Event.STATE))
    store64(ctx + SockOps.SK, sk)
    store64(ctx + SockOps.SKB_DATA, ctx)
    store64(ctx + SockOps.SKB_DATA_END, ctx)
    return ctx


@native
def drive_sock_ops(record: int, env: int) -> int:
    """Run a program about what has happened to a connection over an event record; what it returned."""
    return zext32(call_program(enter_sock_ops(record, env), env))
