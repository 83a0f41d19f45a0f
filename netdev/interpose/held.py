"""A held call on its way: the caller, the duplicate of its socket, the record, and the ways that it can end.

Not here: what the calls are (handling, sending, receiving).
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Final, Protocol, final

from netdev.interpose.decisions import ALLOW, Action, Decision, Fact, Policy
from netdev.interpose.facts import Caller, SocketKind, cookie_of, fill_ends, fill_socket, kind_of, tcp_state
from netdev.interpose.identity import as_caller
from netdev.interpose.loops import LOG_SLOTS, Job
from netdev.interpose.record import EVENT_SIZE, SOCKADDR_SIZE, Event, SocketCall, SocketEvent
from netdev.interpose.system import (
    CONTINUE,
    RESTART,
    Notification,
    answer,
    duplicate,
    is_valid,
    own_tid,
    read_memory,
    thread_kill,
)

__all__ = ["Context", "GoneError", "Held", "JobMemory", "RefusedError", "family_of"]

_REFUSALS: Final = (-errno.EACCES, -errno.EPERM)
_CAP_NET_BIND_SERVICE: Final = 10
_CLOSE: Final = 7
_OPENING: Final = (2, 3)  # SYN_SENT, SYN_RECV
_AFTERWARDS: Final = (SocketCall.ACCEPTED, SocketCall.RECVMSG)
_LATER: Final = (SocketCall.ESTABLISHED_ACTIVE, SocketCall.CLOSED)
_UNDER_WAY: Final = (-errno.EINPROGRESS, -errno.EINTR, -RESTART)
_NO_TIMEOUT: Final = bytes(16)


class GoneError(Exception):
    """The caller does not wait any more."""


@final
class RefusedError(Exception):
    """The call ends with this errno (with a minus)."""

    def __init__(self, result: int) -> None:
        super().__init__(os.strerror(-result))
        self.result = result


def family_of(address: bytes) -> int:
    """The family that an address names; 0 (AF_UNSPEC) when it is too short to name one."""
    return int.from_bytes(address[:2], sys.byteorder) if len(address) >= 2 else 0


@final
class JobMemory:
    """The words of a job."""

    __slots__ = ("address", "keep", "memory")

    def __init__(self, address: int, size: int, keep: object = None) -> None:
        self.address = address
        self.memory = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
        self.keep = keep

    def __getitem__(self, field: int) -> int:
        word: int = struct.unpack_from("=q", self.memory, field)[0]
        return word

    def __setitem__(self, field: int, word: int) -> None:
        struct.pack_into("=Q", self.memory, field, word & (1 << 64) - 1)


class Context(Protocol):
    """What a held call needs of the supervision that it belongs to."""

    listener: int
    policy: Policy
    wants: frozenset[SocketCall]
    needs: int
    allow_on_error: bool
    privileged: bool

    def may_block(self) -> None:
        """See to it that somebody else waits for calls."""

    def drain(self, job: JobMemory) -> None:
        """Make room in a job's log."""

    def opened(self, event: SocketEvent, descriptor: int) -> None:
        """A connection was begun and its end is not known yet; the descriptor is the callee's from now on."""

    def closes(self, event: SocketEvent, descriptor: int) -> None:
        """A connection is open: its end is of interest."""

    def failed(self, sentence: str) -> None:
        """Note down what went wrong with a policy or a caller."""


@final
class Held:
    """One held call. Used as a context: its descriptors are closed at the end."""

    def __init__(self, context: Context, job: JobMemory, held: Notification, *, decided: bool = False) -> None:
        """A call that nothing was done about yet; or one that was `decided`, with its record and socket in the job."""
        self.context = context
        self.job = job
        self.held = held
        self.event = SocketEvent(job.address + Job.RECORD, job)
        self.socket = -1
        self._asked = decided and self.event[Event.CALL] in context.wants
        if decided:
            self.socket, job[Job.SOCKET] = job[Job.SOCKET], -1
        caller = Caller.open(held)
        if isinstance(caller, int):
            if decided:
                os.close(self.socket)
            raise self._unseen(caller)
        self.caller = caller
        if not decided:
            self._begin(caller)

    def _begin(self, caller: Caller) -> None:
        context, held, event = self.context, self.held, self.event
        event.memory[:] = bytes(EVENT_SIZE)
        event[Event.NUMBER] = held.number
        event[Event.TIME] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        event[Event.PID_TGID] = caller.tgid << 32 | caller.tid
        event[Event.UID_GID] = caller.gid << 32 | caller.uid
        event[Event.CGROUP_ID] = caller.cgroup
        event[Event.FD] = held.integer(0) & 0xFFFF_FFFF
        if context.needs & Fact.COMM:
            comm = caller.comm()
            event.memory[Event.COMM : Event.COMM + len(comm)] = comm

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        if self.socket >= 0:
            os.close(self.socket)
            self.socket = -1
        os.close(self.caller.pidfd)

    def _unseen(self, result: int) -> Exception:
        """Why nothing can be known about the caller: it is gone, or it is out of reach."""
        if result == -errno.ESRCH or not is_valid(self.context.listener, self.held.id):
            return GoneError()
        return RefusedError(result)

    def open_socket(self) -> SocketKind:
        """Duplicate the caller's descriptor; what it is."""
        found = duplicate(self.caller.pidfd, self.held.integer(0))
        if found == -errno.EBADF:
            raise RefusedError(found)
        if found < 0:
            raise self._unseen(found)
        self.socket = found
        kind = kind_of(found)
        if isinstance(kind, int):
            raise RefusedError(kind)
        self.check()
        fill_socket(self.event, found, kind, self.context.needs)
        return kind

    def waits(self) -> bool:
        """Whether the caller still waits."""
        return is_valid(self.context.listener, self.held.id)

    def check(self) -> None:
        """What was read so far is the caller's only if it waits still."""
        if not self.waits():
            raise GoneError

    def read(self, pieces: list[tuple[int, int]]) -> bytes:
        """Memory of the caller."""
        data = read_memory(self.caller.tid, pieces)
        self.check()
        if data is None:
            raise RefusedError(-errno.EFAULT)
        return data

    def read_address(self, pointer: int, length: int) -> bytes:
        """A socket address that the caller hands over."""
        if not 0 <= length <= SOCKADDR_SIZE:
            raise RefusedError(-errno.EINVAL)
        return self.read([(pointer, length)]) if length else b""

    def ask(self, call: SocketCall) -> Decision:
        """What the policy says; a refusal ends the call."""
        decision = self.judge(call)
        if decision.action is Action.DENY:
            raise RefusedError(-decision.errno)
        return decision

    def judge(self, call: SocketCall) -> Decision:
        """What the policy says."""
        event = self.event
        event[Event.CALL] = call
        if call not in self.context.wants:
            return ALLOW
        self._asked = True
        if call is not SocketCall.CONNECT_AUTHORIZATION:
            event.put_bytes(Event.ORIGINAL, Event.ORIGINAL_LENGTH, event.address)
        try:
            decision = self.context.policy.decide(event)
        except BaseException as error:  # noqa: BLE001 - a policy is foreign code; what it raises must not let a call through
            self.context.failed(f"the policy failed on {call.name}: {error!r}")
            decision = ALLOW if self.context.allow_on_error else Decision(Action.DENY)
        if decision.action is Action.ASK:
            decision = Decision(Action.DENY)
        event[Event.ACTION] = decision.word
        if decision.redirected:
            event[Event.REDIRECTED] = 1
        if call not in _AFTERWARDS:
            self.check()  # what is decided for a caller that is gone is not done
        return decision

    def make(self, act: Callable[[], int], *, blocks: bool = True) -> int:
        """Make the call; what it returns, or its errno with a minus. Refusals are tried again with the caller's rights."""
        if blocks:
            self.context.may_block()
        result = self._run(act)
        return self.make_again(act, result) if result in _REFUSALS else result

    def make_again(self, act: Callable[[], int], refusal: int) -> int:
        """Make a call with the caller's rights that was refused to ours, and with what the decision lends."""
        if not self.context.privileged:
            return refusal
        event = self.event
        lends = event[Event.CALL] == SocketCall.BIND and Decision.of(event[Event.ACTION]).free_port
        lent = 1 << _CAP_NET_BIND_SERVICE if lends else 0
        return as_caller(self.caller, lambda: self._run(act), waits=self.waits, folders=False, lent=lent)

    def make_as_caller(self, act: Callable[[], int]) -> int:
        """Make a call that shows who makes it, or that depends on where."""
        self.context.may_block()
        return as_caller(self.caller, lambda: self._run(act), waits=self.waits, folders=True)

    def _run(self, act: Callable[[], int]) -> int:
        job = self.job
        job[Job.THREAD] = own_tid()
        job[Job.SINCE] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        try:
            while True:
                result = act()
                if result != -errno.EINTR:
                    return result
                if job[Job.CANCEL] == self.held.id:
                    return job[Job.CANCEL_WITH]
        finally:
            job[Job.SINCE] = 0

    def interrupted(self, result: int, timeout: int) -> int:
        """A call with a timeout (SO_SNDTIMEO, SO_RCVTIMEO) is not called again after a signal."""
        if result != -RESTART:
            return result
        with socket.socket(fileno=os.dup(self.socket)) as own:
            limited = own.getsockopt(socket.SOL_SOCKET, timeout, 16) != _NO_TIMEOUT
        return -errno.EINTR if limited else result

    def broken_pipe(self, result: int, flags: int, kind: SocketKind) -> None:
        """The signal that a call would have had, as it was made with MSG_NOSIGNAL."""
        streams = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
        if result == -errno.EPIPE and not flags & socket.MSG_NOSIGNAL and kind.type in streams:
            thread_kill(self.caller.tgid, self.caller.tid, signal.SIGPIPE)

    def answer(self, result: int, *, sent: bool = False) -> None:
        """Tell those who want to know, and let the call end so (unless that was `sent` already)."""
        self.tell(result)
        if not sent:
            answer(self.context.listener, self.held.id, result)

    def leave_alone(self) -> None:
        """Let the kernel make the call by itself: only where nothing has to hold."""
        answer(self.context.listener, self.held.id, 0, CONTINUE)

    def tell(self, result: int) -> None:
        """Log the record, if anybody was asked about it."""
        if not self._asked:
            return
        self._asked = False
        event = self.event
        event[Event.RESULT] = result
        self._log()
        self._done(result)

    def _done(self, result: int) -> None:
        try:
            self.context.policy.done(self.event, result)
        except BaseException as error:  # noqa: BLE001 - as above
            self.context.failed(f"the policy failed after {self.event.call.name}: {error!r}")

    def happened(self, call: SocketCall, descriptor: int) -> None:
        """Tell of a connection, which nobody decides about, and see to it that its end is told."""
        event = self.event
        before = event[Event.CALL], event[Event.RESULT]
        event[Event.CALL] = call
        event[Event.RESULT] = 0
        fill_ends(event, descriptor)
        if call in self.context.wants:
            if SocketCall.CLOSED in self.context.wants:
                event[Event.COOKIE] = cookie_of(descriptor)  # from the log, its end is waited for
            self._log()
            self._done(0)
        else:
            self.context.closes(event, descriptor)
        event[Event.CALL], event[Event.RESULT] = before

    def told_name(self, call: SocketCall, address: bytes) -> bytes:
        """What the caller is told as an address while another call is under way, whose record stays as it is."""
        if call not in self.context.wants:
            return address
        event, asked = self.event, self._asked
        before = bytes(event.memory[:EVENT_SIZE])
        event.address = address
        try:
            self.ask(call)
            return event.address
        finally:
            self.tell(0)
            event.memory[:EVENT_SIZE] = before
            self._asked = asked

    @property
    def tells_connections(self) -> bool:
        """Whether somebody wants to know of connections."""
        return not self.context.wants.isdisjoint(_LATER)

    def is_new(self, kind: SocketKind) -> bool:
        """Whether a connection that the call opens is to be told of: nobody has begun to connect the socket before."""
        return self.tells_connections and kind.is_stream and tcp_state(self.socket) == _CLOSE

    def connected(self, result: int) -> None:
        """Tell of the connection that this call has opened, now or when it is open; its peer may have closed it already."""
        state = tcp_state(self.socket)
        if result in _UNDER_WAY or (result >= 0 and state in _OPENING):
            self.context.opened(self.event, os.dup(self.socket))
        elif result >= 0 and state != _CLOSE:
            self.happened(SocketCall.ESTABLISHED_ACTIVE, self.socket)

    def _log(self) -> None:
        job = self.job
        head = job[Job.LOG_HEAD]
        if head - job[Job.LOG_TAIL] >= LOG_SLOTS:
            self.context.drain(job)
        at = Job.LOG + head % LOG_SLOTS * EVENT_SIZE
        job.memory[at : at + EVENT_SIZE] = self.event.memory[:EVENT_SIZE]
        job[Job.LOG_HEAD] = head + 1
