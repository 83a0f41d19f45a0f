"""What is done about messages that are sent: each is read once, judged by its address, and sent from our own memory.

Not here: connecting without a message (handling).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Callable
from typing import Final, Self

from netdev.interpose.calls import Own
from netdev.interpose.decisions import Fact
from netdev.interpose.facts import SocketKind, fill_ends
from netdev.interpose.held import Held, RefusedError, family_of
from netdev.interpose.messages import (
    MMSG_SIZE,
    OwnMessage,
    TheirMessage,
    control_messages,
    packed,
    source_of,
    with_source,
)
from netdev.interpose.program import MSG_FASTOPEN
from netdev.interpose.record import Event, SocketCall
from netdev.interpose.system import duplicate, system, write_memory

__all__ = ["send_message", "send_messages", "send_to"]

_CHUNK: Final = 1 << 20
_LARGEST: Final = 1 << 26
_ZEROCOPY: Final = 0x400_0000
_MOST_MESSAGES: Final = 1024
_INET_MOST: Final = 65535
_SCM_RIGHTS: Final = 1
_MORE_PEERS: Final = ((socket.IPPROTO_SCTP, 7), (socket.IPPROTO_SCTP, 8))
"""SCTP_DSTADDRV4, SCTP_DSTADDRV6: further addresses of the other end."""
_UDP: Final = (socket.IPPROTO_UDP, 136)  # and UDP-Lite


def send_to(call: Held, kind: SocketKind) -> None:
    """sendto(2)."""
    _, data, size, _, name, _ = call.held.arguments
    flags = call.held.integer(3)
    length = call.held.integer(5)
    if name and not 0 <= length <= 128:
        raise RefusedError(-errno.EINVAL)
    if name and not length and kind.is_inet and kind.type == socket.SOCK_DGRAM:
        raise RefusedError(_nowhere(call, size, flags))
    message = TheirMessage(
        at=0,
        name=name,
        name_length=length if name else 0,
        pieces=((data, min(size, 0x7FFF_F000)),),
        control=0,
        control_length=0,
    )
    _send_one(call, kind, message, flags)


def send_message(call: Held, kind: SocketKind) -> None:
    """sendmsg(2)."""
    flags = call.held.integer(2)
    if _is_free(call, kind, flags):
        call.leave_alone()
        return
    _send_one(call, kind, TheirMessage.read(call, call.held.arguments[1]), flags)


def _is_free(call: Held, kind: SocketKind, flags: int) -> bool:
    """Whether nothing about the message has to hold: another family, or a stream whose messages have no address."""
    nameless = kind.ignores_names and not flags & MSG_FASTOPEN
    return (nameless or not kind.is_inet) and call.caller.is_alone()


def _send_one(call: Held, kind: SocketKind, message: TheirMessage, flags: int) -> None:
    if not kind.is_inet and call.caller.is_alone():
        call.leave_alone()
        return
    is_new = bool(flags & MSG_FASTOPEN) and call.is_new(kind)
    result = _sent(call, kind, message, flags)
    call.broken_pipe(result, flags, kind)
    call.tell(result)
    if is_new:
        call.connected(min(result, 0))
    call.answer(result)


def send_messages(call: Held, kind: SocketKind) -> None:
    """sendmmsg(2): one after the other; an error after the first is not told."""
    _, vector, count, _, _, _ = call.held.arguments
    flags = call.held.integer(3)
    if _is_free(call, kind, flags):
        call.leave_alone()
        return
    done = 0
    result = 0
    for index in range(min(count & 0xFFFF_FFFF, _MOST_MESSAGES)):
        at = vector + MMSG_SIZE * index
        try:
            result = _sent(call, kind, TheirMessage.read(call, at), flags)
        except RefusedError as refused:
            result = refused.result
        call.broken_pipe(result, flags, kind)
        call.tell(result)
        if result < 0:
            break
        if not write_memory(call.caller.tid, [(at + 56, 4)], struct.pack("=I", result)):
            result = -errno.EFAULT
            break
        done += 1
    call.answer(done or min(result, 0))


def _sent(call: Held, kind: SocketKind, message: TheirMessage, flags: int) -> int:
    """Judge and send a message; how many bytes went, or an errno with a minus."""
    name = call.read_address(message.name, message.name_length)
    control = call.read([(message.control, message.control_length)]) if message.control_length else b""
    event = call.event
    event[Event.FLAGS] = flags & 0xFFFF_FFFF
    event[Event.SIZE] = message.size
    if kind.is_inet:
        name, control = _judged(call, kind, name, control, flags)
        return call.interrupted(_given(call, kind, message, (name, control, flags), call.make), socket.SO_SNDTIMEO)
    with _Fetched(call, control) as fetched:
        return _given(call, kind, message, (name, fetched.control, flags), call.make_as_caller)


def _judged(call: Held, kind: SocketKind, name: bytes, control: bytes, flags: int) -> tuple[bytes, bytes]:
    """The address and the control data that the message may have."""
    event = call.event
    opens = bool(flags & MSG_FASTOPEN) and kind.is_stream
    if kind.ignores_names and not opens:
        return b"", control
    if any((level, what) in _MORE_PEERS for level, what, _ in control_messages(control)):
        raise RefusedError(-errno.EOPNOTSUPP)
    if not name:
        return name, control
    event.address = name
    event.source = source = source_of(control)
    if opens and family_of(name) != socket.AF_UNSPEC:
        call.ask(SocketCall.CONNECT)
        call.ask(SocketCall.CONNECT_AUTHORIZATION)
        event[Event.CALL] = SocketCall.CONNECT
    elif not opens:
        if call.context.needs & Fact.ENDS and kind.protocol in _UDP:
            _give_port(call)
        call.ask(SocketCall.SENDMSG)
    if event.source and event.source != source:
        control = with_source(control, event.source)
    return event.address, control


def _give_port(call: Held) -> None:
    """Give the socket a port if it has none, as the kernel does before it asks programs about a message."""
    local = call.event.local
    if len(local) < 16 or local[2:4] != b"\0\0":
        return
    nowhere = ctypes.create_string_buffer(local[:2] + bytes(len(local) - 2), len(local))
    if call.make(lambda: system(Own.BIND, call.socket, nowhere, len(local)), blocks=False) == 0:
        fill_ends(call.event, call.socket)


_Make = Callable[[Callable[[], int]], int]


def _given(call: Held, kind: SocketKind, message: TheirMessage, parts: tuple[bytes, bytes, int], make: _Make) -> int:
    """Send the data, in pieces where the socket is a stream."""
    name, control, flags = parts
    size = message.size
    if kind.is_inet and kind.type in {socket.SOCK_DGRAM, socket.SOCK_RAW} and size > _INET_MOST:
        return _too_long(call, parts, make)
    whole = flags & _ZEROCOPY or not kind.is_stream
    if whole and size > _LARGEST:
        raise RefusedError(-errno.ENOBUFS)
    done = 0
    while True:
        chunk = size if whole else min(_CHUNK, size - done)
        data = _buffer(call.read(message.part(done, chunk)), shared=bool(flags & _ZEROCOPY))
        more = flags if done + chunk == size else flags | socket.MSG_MORE
        own = OwnMessage(name=name, data=data, control=control)

        def act(own: OwnMessage = own, more: int = more) -> int:
            return system(Own.SENDMSG, call.socket, own.address, more | socket.MSG_NOSIGNAL)

        result = make(act)
        if result < 0:
            return done or result
        done += result
        if done >= size or result < chunk:
            return done
        name, control, flags = b"", b"", flags & ~MSG_FASTOPEN


def _nowhere(call: Held, size: int, flags: int) -> int:
    """What the kernel says of a datagram to an address of no bytes, which is never sent: unlike a msghdr's, it is not no address."""
    data = ctypes.create_string_buffer(min(size, _INET_MOST + 1) or 1)
    address = ctypes.create_string_buffer(1)
    length = min(size, _INET_MOST + 1)
    sent = call.make(lambda: system(Own.SENDTO, call.socket, data, length, flags | socket.MSG_NOSIGNAL, address, 0))
    return sent if sent < 0 else -errno.EINVAL


def _too_long(call: Held, parts: tuple[bytes, bytes, int], make: _Make) -> int:
    """What the kernel says of a message that is too long for a datagram: the contents do not matter, as it is never sent."""
    name, control, flags = parts
    own = OwnMessage(name=name, data=(ctypes.c_char * (_INET_MOST + 1))(), control=control)
    sent = make(lambda: system(Own.SENDMSG, call.socket, own.address, flags | socket.MSG_NOSIGNAL))
    return sent if sent < 0 else -errno.EMSGSIZE


def _buffer(data: bytes, *, shared: bool) -> ctypes.Array[ctypes.c_char]:
    """Memory with these contents. `shared`: the kernel goes on using its pages, so it is used for nothing else later."""
    if not shared or not data:
        return ctypes.create_string_buffer(data, len(data)) if data else (ctypes.c_char * 0)()
    pages = mmap.mmap(-1, len(data))
    pages[:] = data
    return (ctypes.c_char * len(data)).from_buffer(pages)


class _Fetched:
    """Control data whose descriptors (SCM_RIGHTS) are our duplicates of the caller's."""

    def __init__(self, call: Held, control: bytes) -> None:
        self._own: list[int] = []
        messages = []
        for level, kind, data in control_messages(control):
            if (level, kind) == (socket.SOL_SOCKET, _SCM_RIGHTS):
                theirs = struct.unpack(f"={len(data) // 4}i", data[: len(data) & ~3])
                messages.append((level, kind, struct.pack(f"={len(theirs)}i", *(self._fetch(call, d) for d in theirs))))
            else:
                messages.append((level, kind, data))
        self.control = packed(messages) if self._own else control

    def _fetch(self, call: Held, descriptor: int) -> int:
        own = duplicate(call.caller.pidfd, descriptor)
        if own < 0:
            self.close()
            raise RefusedError(own)
        self._own.append(own)
        return own

    def close(self) -> None:
        """Close the duplicates."""
        for own in self._own:
            os.close(own)
        self._own.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
