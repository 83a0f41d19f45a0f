"""What is done about a held call, in plain Python: decide with the bytes that were read, then make the call with them.

Not here: messages (sending) and what comes back (receiving).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket

from netdev.interpose.calls import Own
from netdev.interpose.facts import SocketKind, name_of
from netdev.interpose.held import Context, GoneError, Held, JobMemory, RefusedError, family_of
from netdev.interpose.loops import Job
from netdev.interpose.messages import OwnMessage, with_source
from netdev.interpose.program import REFUSED_FAMILIES
from netdev.interpose.receiving import accept, receive_from, receive_message, receive_messages, tell_name
from netdev.interpose.record import Event, SocketCall
from netdev.interpose.sending import send_message, send_messages, send_to
from netdev.interpose.system import Notification, answer, is_valid, system

__all__ = ["handle", "make_again", "tell_connected"]

_FAMILY_SIZE = 2


def handle(context: Context, job: JobMemory, held: Notification) -> None:
    """Deal with a held call; afterwards it is answered, or its caller is gone."""
    context.may_block()
    try:
        with Held(context, job, held) as call:
            try:
                _dispatch(call)
            except RefusedError as refused:
                call.answer(refused.result)
    except GoneError:
        return
    except RefusedError as refused:
        _unreachable(context, held, refused.result)
    except OSError as error:
        context.failed(f"{held.name} of {held.tid}: {error}")
        answer(context.listener, held.id, -errno.EPERM)


def make_again(context: Context, job: JobMemory, held: Notification) -> None:
    """Make a call that was decided, and refused to us, with the rights of the caller."""
    try:
        with Held(context, job, held, decided=True) as call:
            result = call.make_again(lambda: _recorded(call), job[Job.VALUE])
            _tell(call, result)
    except GoneError:
        return
    except RefusedError as refused:
        _unreachable(context, held, refused.result)


def tell_connected(context: Context, job: JobMemory, held: Notification) -> None:
    """Tell of a connect that was decided and made, and answer it."""
    try:
        with Held(context, job, held, decided=True) as call:
            _tell(call, job[Job.VALUE])
    except GoneError:
        return
    except RefusedError as refused:
        _unreachable(context, held, refused.result)


def _tell(call: Held, result: int) -> None:
    """Answer a call that was decided and made; first tell of the connection that it has opened."""
    event = call.event
    call.tell(result)
    if event[Event.CALL] == SocketCall.CONNECT and event[Event.TYPE] == socket.SOCK_STREAM and call.tells_connections:
        call.connected(result)
    call.answer(result)


def _recorded(call: Held) -> int:
    """The call as the record has it."""
    event = call.event
    match event.call:
        case SocketCall.CONNECT:
            return _named(call, Own.CONNECT, event.address)
        case SocketCall.BIND:
            return _named(call, Own.BIND, event.address)
        case SocketCall.LISTEN:
            return system(Own.LISTEN, call.socket, event.backlog)
        case _:
            data = (ctypes.c_char * event[Event.SIZE]).from_address(call.job.address + Job.DATA)
            control = with_source(b"", event.source) if event.source else b""
            own = OwnMessage(name=event.address, data=data, control=control)
            return system(Own.SENDMSG, call.socket, own.address, event.flags | socket.MSG_NOSIGNAL)


def _unreachable(context: Context, held: Notification, result: int) -> None:
    """The caller cannot be looked into (it is not dumpable and we have no right): what was asked for in that case."""
    if not is_valid(context.listener, held.id):
        return
    context.failed(f"{held.name} of {held.tid} cannot be judged: {os.strerror(-result)}")
    if context.allow_on_error:
        answer(context.listener, held.id, 0, 1)
    else:
        answer(context.listener, held.id, -errno.EPERM)


def _dispatch(call: Held) -> None:
    kind = call.open_socket()
    if kind.family in REFUSED_FAMILIES.values():
        raise RefusedError(-errno.EAFNOSUPPORT)  # from elsewhere, or made of a TCP socket (TCP_ULP)
    match call.held.name:
        case "connect":
            _connect(call, kind)
        case "bind":
            _bind(call, kind)
        case "listen":
            _listen(call, kind)
        case "sendto":
            send_to(call, kind)
        case "sendmsg":
            send_message(call, kind)
        case "sendmmsg":
            send_messages(call, kind)
        case "accept" | "accept4":
            accept(call, kind)
        case "recvfrom":
            receive_from(call, kind)
        case "recvmsg":
            receive_message(call, kind)
        case "recvmmsg":
            receive_messages(call, kind)
        case "getsockname" | "getpeername":
            tell_name(call, kind)
        case _:
            call.answer(-errno.ENOSYS)


def _named(call: Held, number: Own, address: bytes) -> int:
    """Connect or bind the duplicate."""
    return system(number, call.socket, ctypes.create_string_buffer(address, len(address) or 1), len(address))


def _elsewhere(call: Held, number: Own, address: bytes) -> None:
    """A family of which nothing is enforced: the kernel makes the call, unless the descriptor could be exchanged."""
    if call.caller.is_alone():
        call.leave_alone()
    else:
        call.answer(call.make_as_caller(lambda: _named(call, number, address)))


def _connect(call: Held, kind: SocketKind) -> None:
    address = call.read_address(call.held.arguments[1], call.held.integer(2))
    if not kind.is_inet:
        _elsewhere(call, Own.CONNECT, address)
        return
    event = call.event
    event.address = address
    if len(address) >= _FAMILY_SIZE and family_of(address) != socket.AF_UNSPEC:
        if kind.protocol == socket.IPPROTO_TCP and kind.is_stream:
            result = _began(call, address)
            if result != -errno.EINVAL:
                call.answer(result)
                return
        call.ask(SocketCall.CONNECT)
        call.ask(SocketCall.CONNECT_AUTHORIZATION)
        event[Event.CALL] = SocketCall.CONNECT
    final = event.address
    is_new = call.is_new(kind)
    result = call.make(lambda: _named(call, Own.CONNECT, final))
    result = call.interrupted(result, socket.SO_SNDTIMEO)
    call.tell(result)
    if is_new:
        call.connected(result)
    call.answer(result)


def _began(call: Held, address: bytes) -> int:
    """What comes of connecting a socket that is connected, connects or listens already, about which Linux asks nobody.

    -EINVAL of any other. The kernel is given the family alone, with which nothing can go anywhere, whatever others do with the
    socket meanwhile.
    """
    result = call.make(lambda: _named(call, Own.CONNECT, address[:_FAMILY_SIZE]))
    return call.interrupted(result, socket.SO_SNDTIMEO)


def _bind(call: Held, kind: SocketKind) -> None:
    address = call.read_address(call.held.arguments[1], call.held.integer(2))
    if not kind.is_inet:
        _elsewhere(call, Own.BIND, address)
        return
    event = call.event
    event.address = address
    call.ask(SocketCall.BIND)
    final = event.address
    call.answer(call.make(lambda: _named(call, Own.BIND, final), blocks=False))


def _listen(call: Held, kind: SocketKind) -> None:
    backlog = call.held.integer(1)

    def act() -> int:
        return system(Own.LISTEN, call.socket, backlog)

    if not kind.is_inet:
        if call.caller.is_alone():
            call.leave_alone()
        else:
            call.answer(call.make_as_caller(act))
        return
    call.event.address = name_of(call.socket)
    call.event[Event.BACKLOG] = backlog
    call.ask(SocketCall.LISTEN)
    call.answer(call.make(act, blocks=False))
