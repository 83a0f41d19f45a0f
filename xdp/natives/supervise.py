"""Held socket calls, as natives: connect, bind, listen and sendto on sockets of the internet, where nothing is unusual.

Not here: what the words of a job mean (netdev.interpose.loops), and every other call, which is left to Python as it came.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import cache
from typing import Final

from netdev.interpose import (
    DATA_ROOM,
    EVENT_SIZE,
    LOG_SLOTS,
    SPARE,
    Action,
    Event,
    Fact,
    InterposeLoops,
    Job,
    Outcome,
    Own,
    Shared,
    SocketCall,
)
from runtime.native import (
    Library,
    atomic_add64,
    call_entry,
    library,
    load16,
    load32,
    load64,
    memcpy,
    memzero,
    monotonic_ns,
    native,
    sext32,
    shr,
    store32,
    store64,
    syscall,
    unlikely,
    urem,
)
from xdp.natives.compiled import Compiled
from xdp.natives.facts import ends, facts, give_port, name, option, tcp_state
from xdp.natives.sources import send_from

__all__ = ["INTERPOSE", "conclude", "make", "serve"]

# ioctls of <linux/seccomp.h> and of <linux/pidfd.h>
_RECEIVE: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ID_VALID: Final = 0x40082102
_GET_INFO: Final = 0xC040FF0B
_PIDFD_THREAD: Final = 0x80
_HANG_UP: Final = 16
_NOTIFICATION_SIZE: Final = 80
_TID: Final = 8
_NUMBER: Final = 16
_ARGUMENTS: Final = 32

# where in Job.SCRATCH
_OURS: Final = Job.SCRATCH
_THEIRS: Final = Job.SCRATCH + 32
_INFO: Final = Job.SCRATCH + 64
_RESPONSE: Final = Job.SCRATCH + 128
_OPTION: Final = Job.SCRATCH + 160
_OPTION_SIZE: Final = Job.SCRATCH + 176
_PATH: Final = Job.SCRATCH + 192

_EINTR: Final = errno.EINTR
_EINVAL: Final = errno.EINVAL
_EINPROGRESS: Final = errno.EINPROGRESS
_SYN_SENT: Final = 2
_SYN_RECV: Final = 3
_CLOSED: Final = 7
_EPERM: Final = errno.EPERM
_EACCES: Final = errno.EACCES
_ENOENT: Final = errno.ENOENT
_ERESTARTSYS: Final = 512
_RESTART_BLOCK: Final = 516
_MOST_ERRNO: Final = 4095
_STREAM: Final = int(socket.SOCK_STREAM)
_TCP: Final = int(socket.IPPROTO_TCP)
_SOL_SOCKET: Final = int(socket.SOL_SOCKET)
_SO_SNDTIMEO: Final = int(socket.SO_SNDTIMEO)
_SO_COOKIE: Final = 57
_NOSIGNAL: Final = int(socket.MSG_NOSIGNAL)
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_UNUSUAL: Final = 0x2000_0000 | 0x0400_0000  # MSG_FASTOPEN, MSG_ZEROCOPY
_GET_FLAGS: Final = 3
_NONBLOCK: Final = os.O_NONBLOCK
_ADDRESS_ROOM: Final = 128


@native
def _argument(job: int, at: int) -> int:
    return load64(job + Job.NOTIFICATION + _ARGUMENTS + 8 * at)


@native
def _listener(job: int, request: int, data: int) -> int:
    return syscall(Own.IOCTL, load64(job + Job.LISTENER), request, data, 0, 0, 0)


@native
def _shut(descriptor: int) -> int:
    return syscall(Own.CLOSE, descriptor, 0, 0, 0, 0, 0)


@native
def _is_deserted(job: int) -> int:
    """Whether no process is left."""
    store64(job + _OPTION, load64(job + Job.LISTENER))
    memzero(job + _PATH, 16)
    syscall(Own.PPOLL, job + _OPTION, 1, job + _PATH, 0, 8, 0)
    return load16(job + _OPTION + 6) & _HANG_UP


@native
def _full(job: int) -> int:
    return 1 if load64(job + Job.LOG_HEAD) - load64(job + Job.LOG_TAIL) >= LOG_SLOTS - 1 else 0  # a call may have two


@native
def _event_of(number: int) -> int:
    if number == Own.CONNECT:
        return SocketCall.CONNECT
    if number == Own.SENDTO:
        return SocketCall.SENDMSG
    if number == Own.BIND:
        return SocketCall.BIND
    return SocketCall.LISTEN if number == Own.LISTEN else 0


@native
def _caller(job: int) -> int:
    """Who calls, into the record, and the duplicate of its descriptor into SOCKET; 0 when that cannot be done here."""
    tid = load32(job + Job.NOTIFICATION + _TID)
    pidfd = syscall(Own.PIDFD_OPEN, tid, _PIDFD_THREAD, 0, 0, 0, 0)
    if pidfd < 0:
        return 0
    info = job + _INFO
    store64(info, 7)
    known = syscall(Own.IOCTL, pidfd, _GET_INFO, info, 0, 0, 0)
    duplicate = syscall(Own.PIDFD_GETFD, pidfd, load32(job + Job.NOTIFICATION + _ARGUMENTS), 0, 0, 0, 0)
    _shut(pidfd)
    if duplicate < 0:
        return 0
    if known < 0:
        _shut(duplicate)
        return 0
    store64(job + Job.SOCKET, duplicate)
    record = job + Job.RECORD
    memzero(record, EVENT_SIZE)
    store64(record + Event.CGROUP_ID, load64(info + 8))
    store64(record + Event.PID_TGID, load32(info + 20) << 32 | tid)
    store64(record + Event.UID_GID, load32(info + 40) << 32 | load32(info + 36))
    return 1


@native
def _leave(job: int, outcome: int) -> int:
    """Close the duplicate."""
    _shut(load64(job + Job.SOCKET))
    store64(job + Job.SOCKET, -1)
    return outcome


@native
def _wake(job: int) -> int:
    """Let another worker be started when nobody waits."""
    if load64(load64(job + Job.SHARED) + Shared.IDLE) > 0:
        return 0
    store64(job + _OPTION, 1)
    return syscall(Own.WRITE, load64(job + Job.WAKE), job + _OPTION, 8, 0, 0, 0)


@native
def _fetched(job: int, pointer: int, length: int, data: int, size: int) -> int:
    """Copy an address and a message out of the caller's memory; 0 when they are unusual or not all there."""
    if length < 2 or length > _ADDRESS_ROOM:
        return 0
    if size < 0 or size > DATA_ROOM:
        return 0
    ours = job + _OURS
    theirs = job + _THEIRS
    store64(ours, job + Job.RECORD + Event.ADDRESS)
    store64(ours + 8, length)
    store64(ours + 16, job + Job.DATA)
    store64(ours + 24, size)
    store64(theirs, pointer)
    store64(theirs + 8, length)
    store64(theirs + 16, data)
    store64(theirs + 24, size)
    parts = 1 if size == 0 else 2
    tid = load32(job + Job.NOTIFICATION + _TID)
    store64(job + Job.RECORD + Event.ADDRESS_LENGTH, length)
    store64(job + Job.RECORD + Event.SIZE, size)
    _wake(job)  # the caller may see to it that its memory is not there for long
    return 1 if syscall(Own.VM_READ, tid, ours, parts, theirs, parts, 0) == length + size else 0


@native
def _arguments(job: int, call: int) -> int:
    """What the call is about, into the record; 0 when it is unusual."""
    record = job + Job.RECORD
    if call == SocketCall.LISTEN:
        store64(record + Event.BACKLOG, sext32(_argument(job, 1)))
        return name(job, Own.GETSOCKNAME, Event.ADDRESS, Event.ADDRESS_LENGTH) + 1
    if call != SocketCall.SENDMSG:
        done = _fetched(job, _argument(job, 1), sext32(_argument(job, 2)), 0, 0)
        return 0 if call == SocketCall.CONNECT and load16(record + Event.ADDRESS) == 0 else done
    flags = _argument(job, 3) & 0xFFFFFFFF
    if flags & _UNUSUAL != 0 or load64(record + Event.TYPE) == _STREAM:
        return 0
    store64(record + Event.FLAGS, flags)
    if load64(job + Job.NEEDS) & Fact.ENDS != 0:
        give_port(job)
    return _fetched(job, _argument(job, 4), sext32(_argument(job, 5)), _argument(job, 1), _argument(job, 2))


@native
def _tells(job: int) -> int:
    """Whether what becomes of the connection is told (ESTABLISHED_ACTIVE)."""
    if load64(job + Job.HAPPENED) == 0 or load64(job + Job.RECORD + Event.CALL) != SocketCall.CONNECT:
        return 0
    return 1 if load64(job + Job.RECORD + Event.TYPE) == _STREAM else 0


@native
def _began(job: int) -> int:
    """What comes of connecting a socket that is connected, connects or listens already, of which Linux asks nobody; else -EINVAL.

    The kernel is given the family alone, with which nothing can go anywhere, whatever others do with the socket meanwhile.
    """
    length = job + Job.RECORD + Event.ADDRESS_LENGTH
    before = load64(length)
    store64(length, 2)
    result = _made(job, SocketCall.CONNECT)
    store64(length, before)
    return result


@native
def _deal(job: int) -> int:
    """Deal with the call in NOTIFICATION."""
    call = _event_of(load32(job + Job.NOTIFICATION + _NUMBER))
    if call == 0 or shr((load64(job + Job.WANTS) | load64(job + Job.TOLD)) & ~load64(job + Job.COLD), call) & 1 == 0:
        return Outcome.COLD
    if _caller(job) == 0:
        return Outcome.COLD
    if facts(job) == 0:
        return _leave(job, Outcome.COLD)
    if _arguments(job, call) == 0:
        return _leave(job, Outcome.COLD)
    if unlikely(_listener(job, _ID_VALID, job + Job.ID) < 0) != 0:
        return _leave(job, Outcome.DONE)
    record = job + Job.RECORD
    store64(record + Event.CALL, call)
    if call == SocketCall.CONNECT and load64(record + Event.TYPE) == _STREAM:
        if load64(record + Event.PROTOCOL) != _TCP:
            return _leave(job, Outcome.COLD)
        result = _began(job)
        if result != -_EINVAL:
            store64(job + Job.VALUE, result)
            return _reply(job)
    return _decide(job, call)


@native
def _decide(job: int, call: int) -> int:
    """Decide about the call in RECORD, if that is wanted, and make it."""
    record = job + Job.RECORD
    store64(job + Job.WORD, Action.ALLOW)
    if shr(load64(job + Job.WANTS), call) & 1 != 0:
        memcpy(record + Event.ORIGINAL, record + Event.ADDRESS, _ADDRESS_ROOM)
        store64(record + Event.ORIGINAL_LENGTH, load64(record + Event.ADDRESS_LENGTH))
        if shr(load64(job + Job.NATIVE), call) & 1 == 0:
            return Outcome.ASK
        word = call_entry(load64(job + Job.FUNCTION), job + Job.RECORD, load64(job + Job.ENV))
        if word & 255 == Action.ASK:
            return Outcome.ASK
        store64(job + Job.WORD, word)
    if make(job) != Outcome.DONE:
        return Outcome.REFUSED
    if _tells(job) != 0:
        return _opened(job)
    return conclude(job)


@native
def _opened(job: int) -> int:
    """Tell of the connection that a call has opened, and answer it; CONNECTED when that is left to Python."""
    record = job + Job.RECORD
    result = load64(job + Job.VALUE)
    if result == -_EINPROGRESS or result == -_EINTR or result == -_ERESTARTSYS:  # noqa: PLR1714 - natives have no tuples
        return Outcome.CONNECTED
    if result < 0:
        return conclude(job)
    state = tcp_state(job)
    if state == _SYN_SENT or state == _SYN_RECV:  # noqa: PLR1714, SIM109
        return Outcome.CONNECTED
    if state == _CLOSED:
        return conclude(job)
    ends(job)
    store64(record + Event.COOKIE, option(job, _SOL_SOCKET, _SO_COOKIE, 8))
    _become(record, SocketCall.ESTABLISHED_ACTIVE, 0)
    told = call_entry(load64(job + Job.HAPPENED), record, load64(job + Job.ENV))
    _become(record, SocketCall.CONNECT, result)
    if told == 0:
        return Outcome.CONNECTED
    if shr(load64(job + Job.WANTS), SocketCall.CONNECT) & 1 != 0:
        _note(job)
    _become(record, SocketCall.ESTABLISHED_ACTIVE, 0)
    _note(job)
    return _reply(job)


@native
def _become(record: int, call: int, result: int) -> int:
    store64(record + Event.CALL, call)
    return store64(record + Event.RESULT, result)


@native
def _call(job: int, call: int) -> int:
    """Make the call on the duplicate."""
    record = job + Job.RECORD
    descriptor = load64(job + Job.SOCKET)
    address = record + Event.ADDRESS
    length = load64(record + Event.ADDRESS_LENGTH)
    if call == SocketCall.CONNECT:
        return syscall(Own.CONNECT, descriptor, address, length, 0, 0, 0)
    if call == SocketCall.BIND:
        return syscall(Own.BIND, descriptor, address, length, 0, 0, 0)
    if call == SocketCall.LISTEN:
        return syscall(Own.LISTEN, descriptor, load64(record + Event.BACKLOG), 0, 0, 0, 0)
    flags = load64(record + Event.FLAGS) | _NOSIGNAL
    if unlikely(load64(record + Event.SOURCE_LENGTH) != 0) != 0:
        return send_from(job, flags)
    return syscall(Own.SENDTO, descriptor, job + Job.DATA, load64(record + Event.SIZE), flags, address, length)


@native
def _call_for_help(job: int, call: int) -> int:
    """Let another worker be started, when this call may block and nobody waits."""
    if load64(load64(job + Job.SHARED) + Shared.IDLE) > 0:
        return 0
    if call == SocketCall.BIND or call == SocketCall.LISTEN:  # noqa: PLR1714 - natives have no tuples
        return 0
    if syscall(Own.FCNTL, load64(job + Job.SOCKET), _GET_FLAGS, 0, 0, 0, 0) & _NONBLOCK != 0:
        return 0
    if load64(job + Job.RECORD + Event.FLAGS) & _DONTWAIT != 0:
        return 0
    return _wake(job)


@native
def _made(job: int, call: int) -> int:
    """Make the call, also when it takes long; what it returned."""
    _call_for_help(job, call)
    store64(job + Job.SINCE, monotonic_ns())
    result = _call(job, call)
    while unlikely(result == -_EINTR) != 0:
        if load64(job + Job.CANCEL) == load64(job + Job.ID):
            result = load64(job + Job.CANCEL_WITH)
            break
        result = _call(job, call)
    store64(job + Job.SINCE, 0)
    if unlikely(result == -_ERESTARTSYS) != 0:
        if option(job, _SOL_SOCKET, _SO_SNDTIMEO, 16) != 0:
            return -_EINTR
        return -_EINTR if load64(job + _OPTION + 8) != 0 else result
    return result


@native
def _note(job: int) -> int:
    """Log the record."""
    head = load64(job + Job.LOG_HEAD)
    memcpy(job + Job.LOG + urem(head, LOG_SLOTS) * EVENT_SIZE, job + Job.RECORD, EVENT_SIZE)
    store64(job + Job.LOG_HEAD, head + 1)
    return 0


@native
def _is_errno(number: int) -> int:
    """Whether a call may fail with it: 0 is none, and upon ERESTARTSYS and its like the kernel calls again."""
    if number == 0 or number > _MOST_ERRNO:
        return 0
    return 0 if _ERESTARTSYS <= number <= _RESTART_BLOCK else 1


@native
def make(job: int) -> int:
    """InterposeLoops.make."""
    record = job + Job.RECORD
    word = load64(job + Job.WORD)
    store64(record + Event.ACTION, word)
    store64(record + Event.REDIRECTED, shr(word, 24) & 1)
    result = -_EPERM
    if word & 255 == Action.ALLOW:
        result = _made(job, load64(record + Event.CALL))
    elif _is_errno(shr(word, 8) & 0xFFFF) != 0:
        result = -(shr(word, 8) & 0xFFFF)
    store64(job + Job.VALUE, result)
    store64(record + Event.RESULT, result)
    if word & 255 != Action.ALLOW:
        return Outcome.DONE
    if result == -_EPERM or result == -_EACCES:  # noqa: PLR1714 - natives have no tuples
        return Outcome.REFUSED
    return Outcome.DONE


@native
def conclude(job: int) -> int:
    """InterposeLoops.conclude."""
    if shr(load64(job + Job.WANTS), load64(job + Job.RECORD + Event.CALL)) & 1 != 0:
        _note(job)
    return _reply(job)


@native
def _reply(job: int) -> int:
    """Let the call end with VALUE, and close the duplicate."""
    result = load64(job + Job.VALUE)
    response = job + _RESPONSE
    store64(response, load64(job + Job.ID))
    store64(response + 8, max(result, 0))
    store32(response + 16, min(0, result))
    store32(response + 20, 0)
    _listener(job, _SEND, response)
    return _leave(job, Outcome.DONE)


@native
def serve(job: int) -> int:
    """InterposeLoops.serve."""
    shared = load64(job + Job.SHARED)
    held = job + Job.NOTIFICATION
    while load64(shared + Shared.STOP) == 0:
        if _full(job) != 0:
            return Outcome.FULL
        if load64(shared + Shared.IDLE) >= SPARE:
            return Outcome.DONE
        memzero(held, _NOTIFICATION_SIZE)
        atomic_add64(shared + Shared.IDLE, 1)
        result = _listener(job, _RECEIVE, held)
        atomic_add64(shared + Shared.IDLE, -1)
        if result < 0:
            if result == -_EINTR:
                continue
            if result == -_ENOENT and _is_deserted(job) == 0:
                continue
            return Outcome.GONE
        store64(job + Job.ID, load64(held))
        outcome = _deal(job)
        if outcome != Outcome.DONE:
            return outcome
        store64(job + Job.ID, 0)
    return Outcome.STOPPED


@cache
def _library() -> Library:
    return library((conclude, make, serve))


def _prepare() -> None:
    """Compile, or take from the disk cache, before calls are held."""
    _library()


INTERPOSE: Final = InterposeLoops(
    serve=Compiled(serve, _library),
    make=Compiled(make, _library),
    conclude=Compiled(conclude, _library),
    prepare=_prepare,
)
"""What to supervise with."""
