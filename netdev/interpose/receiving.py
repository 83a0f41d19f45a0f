"""What is done about calls that give the caller an address or a connection: made by us, judged, and handed over.

Not here: sending.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Final

from netdev.interpose.calls import Own
from netdev.interpose.decisions import Action
from netdev.interpose.facts import SocketKind, fill_ends, fill_socket, kind_of, name_of
from netdev.interpose.held import GoneError, Held, RefusedError
from netdev.interpose.messages import MMSG_SIZE, OwnMessage, TheirMessage, source_of
from netdev.interpose.record import SOCKADDR_SIZE, Event, SocketCall
from netdev.interpose.system import add_descriptor, system, write_memory

__all__ = ["accept", "receive_from", "receive_message", "receive_messages", "tell_name"]

_MOST_DATA: Final = 1 << 20
_MOST_MESSAGES: Final = 1024
_TIMESPEC: Final = 16
_LATER: Final = (SocketCall.ESTABLISHED_PASSIVE, SocketCall.CLOSED)


def _write_address(call: Held, pointer: int, length_pointer: int, address: bytes) -> None:
    """As the kernel does it: as much as fits, and how long it is."""
    if not pointer:
        return
    room = int.from_bytes(call.read([(length_pointer, 4)]), "little", signed=True)
    if room < 0:
        raise RefusedError(-errno.EINVAL)
    written = write_memory(call.caller.tid, [(pointer, min(room, len(address)))], address)
    if not written or not write_memory(call.caller.tid, [(length_pointer, 4)], struct.pack("=I", len(address))):
        raise RefusedError(-errno.EFAULT)


def tell_name(call: Held, kind: SocketKind) -> None:
    """getsockname(2) and getpeername(2)."""
    peer = call.held.name == "getpeername"
    number = Own.GETPEERNAME if peer else Own.GETSOCKNAME
    buffer = ctypes.create_string_buffer(SOCKADDR_SIZE)
    length = ctypes.c_uint32(SOCKADDR_SIZE)
    result = system(number, call.socket, buffer, ctypes.byref(length))
    if result < 0:
        raise RefusedError(result)
    address = buffer.raw[: min(length.value, SOCKADDR_SIZE)]
    if kind.is_inet:
        call.event.address = address
        call.ask(SocketCall.GETPEERNAME if peer else SocketCall.GETSOCKNAME)
        address = call.event.address
    _write_address(call, call.held.arguments[1], call.held.arguments[2], address)
    call.answer(0)


def accept(call: Held, kind: SocketKind) -> None:
    """Both accept calls: the connection that we accept becomes the caller's."""
    flags = call.held.integer(3) if call.held.name == "accept4" else 0
    event = call.event
    event[Event.FLAGS] = flags
    if kind.is_inet:
        event.address = name_of(call.socket)
        call.ask(SocketCall.ACCEPT)
    elif call.caller.is_alone():
        call.leave_alone()
        return
    while True:
        result = call.make(lambda: system(Own.ACCEPT4, call.socket, 0, 0, flags | socket.SOCK_CLOEXEC))
        if result < 0:
            raise RefusedError(call.interrupted(result, socket.SO_RCVTIMEO))
        try:
            if not kind.is_inet or _is_welcome(call, result, flags):
                _hand_over(call, kind, result, flags)
                return
        finally:
            os.close(result)


def _is_welcome(call: Held, connection: int, flags: int) -> bool:
    """Whether the caller may have the connection."""
    event = call.event
    kind = kind_of(connection)
    if isinstance(kind, int):
        return False
    fill_socket(event, connection, kind, call.context.needs)
    fill_ends(event, connection)
    event[Event.FLAGS] = flags
    event.address = event.remote
    decision = call.judge(SocketCall.ACCEPTED)
    if decision.action is Action.DENY:
        call.tell(-decision.errno)
        return False
    return True


def _hand_over(call: Held, kind: SocketKind, connection: int, flags: int) -> None:
    address = name_of(connection, Own.GETPEERNAME)
    if call.event.address and SocketCall.ACCEPTED in call.context.wants:
        address = call.event.address
    if kind.is_inet and not call.context.wants.isdisjoint(_LATER):
        call.happened(SocketCall.ESTABLISHED_PASSIVE, connection)
    if kind.is_inet and call.held.arguments[1]:
        address = call.told_name(SocketCall.GETPEERNAME, address)
    _write_address(call, call.held.arguments[1], call.held.arguments[2], address)
    cloexec = bool(flags & socket.SOCK_CLOEXEC)
    given = add_descriptor(call.context.listener, call.held.id, connection, cloexec=cloexec)
    if given == -errno.ENOENT:
        raise GoneError
    call.answer(given, sent=given >= 0)


def _is_wanted(kind: SocketKind, flags: int) -> bool:
    """Whether a message that comes has an address of interest: a datagram, not an error about one."""
    return kind.is_inet and not kind.is_stream and not flags & socket.MSG_ERRQUEUE


def _told(call: Held, name: bytes, control: bytes) -> bytes:
    """The address that the caller is to see."""
    if not name:
        return name
    call.event.address = name
    call.event.source = source_of(control)
    call.ask(SocketCall.RECVMSG)
    return call.event.address


def receive_from(call: Held, kind: SocketKind) -> None:
    """recvfrom(2)."""
    _, data, size, _, pointer, length_pointer = call.held.arguments
    flags = call.held.integer(3)
    if not _is_wanted(kind, flags):
        call.leave_alone()
        return
    call.event[Event.FLAGS] = flags & 0xFFFF_FFFF
    own = OwnMessage(name=bytes(SOCKADDR_SIZE), data=ctypes.create_string_buffer(min(size, _MOST_DATA)), control=b"")
    result = call.make(lambda: system(Own.RECVMSG, call.socket, own.address, flags))
    if result < 0:
        raise RefusedError(call.interrupted(result, socket.SO_RCVTIMEO))
    name, _, _, _ = own.received()
    name = _told(call, name, b"")
    if not write_memory(call.caller.tid, [(data, size)], own.data.raw[:result]):
        raise RefusedError(-errno.EFAULT)
    _write_address(call, pointer, length_pointer, name)
    call.answer(result)


def _own_of(message: TheirMessage) -> OwnMessage:
    return OwnMessage(
        name=bytes(SOCKADDR_SIZE) if message.name else b"",
        data=ctypes.create_string_buffer(min(message.size, _MOST_DATA)),
        control=bytes(message.control_length if message.control else 0),
    )


def _deliver(call: Held, message: TheirMessage, own: OwnMessage, header: bytes, result: int) -> None:
    """Write a message that came, and its header, to where the caller wants them."""
    name, full, control, flags = own.received(header)
    told = _told(call, name, control)
    tid = call.caller.tid
    done = write_memory(tid, list(message.pieces), own.data.raw[:result])
    done = done and write_memory(tid, [(message.name, message.name_length)], told)
    done = done and write_memory(tid, [(message.control, message.control_length)], control)
    done = done and write_memory(tid, [(message.at + 8, 4)], struct.pack("=I", len(told) or full))
    done = done and write_memory(tid, [(message.at + 40, 8)], struct.pack("=Q", len(control)))
    done = done and write_memory(tid, [(message.at + 48, 4)], struct.pack("=i", flags))
    if not done:
        raise RefusedError(-errno.EFAULT)


def receive_message(call: Held, kind: SocketKind) -> None:
    """recvmsg(2)."""
    flags = call.held.integer(2)
    if not _is_wanted(kind, flags):
        call.leave_alone()
        return
    call.event[Event.FLAGS] = flags & 0xFFFF_FFFF
    message = TheirMessage.read(call, call.held.arguments[1])
    own = _own_of(message)
    result = call.make(lambda: system(Own.RECVMSG, call.socket, own.address, flags))
    if result < 0:
        raise RefusedError(call.interrupted(result, socket.SO_RCVTIMEO))
    _deliver(call, message, own, own.header, result)
    call.answer(result)


def receive_messages(call: Held, kind: SocketKind) -> None:
    """recvmmsg(2)."""
    _, vector, count, _, timeout, _ = call.held.arguments
    flags = call.held.integer(3)
    if not _is_wanted(kind, flags):
        call.leave_alone()
        return
    call.event[Event.FLAGS] = flags & 0xFFFF_FFFF
    count = min(count & 0xFFFF_FFFF, _MOST_MESSAGES)
    limit = ctypes.create_string_buffer(call.read([(timeout, _TIMESPEC)]), _TIMESPEC) if timeout else None
    messages = [TheirMessage.read(call, vector + MMSG_SIZE * index) for index in range(count)]
    own = [_own_of(message) for message in messages]
    array = ctypes.create_string_buffer(b"".join(each.header + bytes(8) for each in own), MMSG_SIZE * count or 1)
    result = call.make(lambda: system(Own.RECVMMSG, call.socket, array, count, flags, limit or 0))
    if result < 0:
        raise RefusedError(call.interrupted(result, socket.SO_RCVTIMEO))
    for index in range(result):
        header = array.raw[MMSG_SIZE * index : MMSG_SIZE * index + MMSG_SIZE]
        size = int.from_bytes(header[56:60], "little")
        _deliver(call, messages[index], own[index], header[:56], size)
        call.tell(size)
        if not write_memory(call.caller.tid, [(messages[index].at + 56, 4)], header[56:60]):
            raise RefusedError(-errno.EFAULT)
    if timeout and limit is not None:
        write_memory(call.caller.tid, [(timeout, _TIMESPEC)], limit.raw)
    call.answer(result)
