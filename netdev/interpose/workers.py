"""The workers of one listener: threads that wait for held calls and deal with them, as many as are blocked and one more.

Not here: what is done about a call (handling), and who looks after workers that are blocked (watcher).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol, final

from netdev.interpose.decisions import Action, Decision, Policy
from netdev.interpose.facts import cookie_of, fill_ends
from netdev.interpose.handling import handle, make_again, tell_connected
from netdev.interpose.held import GoneError, JobMemory
from netdev.interpose.identity import is_privileged, take_off_rights
from netdev.interpose.loops import JOB_SIZE, LOG_SLOTS, SPARE, InterposeLoops, Job, Outcome, Shared
from netdev.interpose.record import EVENT_SIZE, Event, SocketCall, SocketEvent
from netdev.interpose.system import (
    NOTIFICATION_SIZE,
    NUDGE,
    Notification,
    answer,
    is_valid,
    own_tid,
    set_sync_wake_up,
    thread_kill,
)

__all__ = ["Host", "Orders", "Workers"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a supervision was asked to do; the policy's attributes as they were then."""

    policy: Policy
    wants: frozenset[SocketCall]
    needs: int
    allow_on_error: bool
    loops: InterposeLoops
    most: int


class Host(Protocol):
    """What workers need of the supervisor."""

    wake: int
    """An eventfd that the watcher waits on."""

    def opened(self, workers: Workers, event: SocketEvent, descriptor: int) -> None:
        """A connection was begun; the descriptor is the host's from now on."""

    def closes(self, workers: Workers, event: SocketEvent, cookie: int) -> None:
        """The connection is open; its end is of interest."""

    def failed(self, sentence: str) -> None:
        """Something went wrong."""


def _bits(calls: frozenset[SocketCall]) -> int:
    return sum(1 << call for call in calls)


_PATIENCE: Final = 2.0
"""Seconds for workers to end in."""
_TOLD: Final = frozenset({SocketCall.ESTABLISHED_ACTIVE, SocketCall.CLOSED})
_COLD: Final = _TOLD | {SocketCall.CONNECT_AUTHORIZATION}  # a connect that is followed by these
_ESTABLISHED: Final = (SocketCall.ESTABLISHED_ACTIVE, SocketCall.ESTABLISHED_PASSIVE)


@final
class Workers:
    """The workers of one listener. Implements held.Context."""

    def __init__(self, listener: int, orders: Orders, host: Host) -> None:
        self.listener = listener
        self.orders = orders
        self.host = host
        self.policy = orders.policy
        self.wants = orders.wants
        self.needs = orders.needs
        self.allow_on_error = orders.allow_on_error
        self.privileged = is_privileged()
        self.synchronous = set_sync_wake_up(listener)
        self.gone = threading.Event()
        self.events: deque[bytes] = deque(maxlen=65536)
        self.lost = 0
        self._words = (ctypes.c_uint64 * len(Shared))()
        self.shared = JobMemory(ctypes.addressof(self._words), 8 * len(Shared), self._words)
        self.jobs: dict[JobMemory, threading.Thread] = {}
        self._spare_jobs: list[JobMemory] = []
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self.grow()

    def _new_job(self) -> JobMemory:
        pages = mmap.mmap(-1, (JOB_SIZE + 4095) & ~4095)
        memory = (ctypes.c_ubyte * JOB_SIZE).from_buffer(pages)
        job = JobMemory(ctypes.addressof(memory), JOB_SIZE, memory)
        native = self.policy.native
        job[Job.LISTENER] = self.listener
        job[Job.SHARED] = self.shared.address
        job[Job.WAKE] = self.host.wake
        job[Job.SOCKET] = -1
        if native is not None:
            job[Job.FUNCTION], job[Job.ENV], job[Job.NATIVE] = native.function, native.env, _bits(native.wants)
        job[Job.WANTS] = _bits(self.wants)
        job[Job.NEEDS] = int(self.needs)
        told = native is not None and native.happened and SocketCall.ESTABLISHED_ACTIVE in self.wants
        if native is not None and told:
            job[Job.HAPPENED], job[Job.TOLD] = native.happened, 1 << SocketCall.CONNECT
        cold = self.wants & (_COLD - _TOLD if told else _COLD)
        job[Job.COLD] = 1 << SocketCall.CONNECT if cold else 0
        return job

    def grow(self) -> None:
        """Start a worker when none waits, unless there are as many as allowed."""
        with self._lock:
            if self.shared[Shared.STOP] or len(self.jobs) >= self.orders.most:
                return
            job = self._spare_jobs.pop() if self._spare_jobs else self._new_job()
            thread = threading.Thread(target=self._work, args=(job,), name="interpose", daemon=True)
            self.jobs[job] = thread
            try:
                thread.start()
            except RuntimeError as error:
                del self.jobs[job]
                self._spare_jobs.append(job)
                self.failed(f"no worker could be started: {error}")

    def may_block(self) -> None:
        """Somebody else has to wait for calls, as this worker may be busy for long."""
        if self.shared[Shared.IDLE] <= 0:
            self.grow()

    def opened(self, event: SocketEvent, descriptor: int) -> None:
        """held.Context: the supervisor waits for it."""
        self.host.opened(self, event, descriptor)

    def tell_opened(self, event: SocketEvent, descriptor: int) -> None:
        """The connection that an event was about is open."""
        event[Event.CALL] = SocketCall.ESTABLISHED_ACTIVE
        event[Event.RESULT] = 0
        fill_ends(event, descriptor)
        self.closes(event, descriptor)
        if SocketCall.ESTABLISHED_ACTIVE not in self.wants:
            return
        self.events.append(bytes(event.memory[:EVENT_SIZE]))
        self._done(event)

    def closes(self, event: SocketEvent, descriptor: int) -> None:
        """held.Context."""
        if SocketCall.CLOSED in self.wants:
            self.host.closes(self, event, cookie_of(descriptor))

    def tell_closed(self, event: SocketEvent) -> None:
        """closing.Listener."""
        event[Event.CALL] = SocketCall.CLOSED
        event[Event.TIME] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.events.append(bytes(event.memory[:EVENT_SIZE]))
        self._done(event)

    def failed(self, sentence: str) -> None:
        """held.Context."""
        self.host.failed(sentence)

    def _work(self, job: JobMemory) -> None:
        try:
            take_off_rights()
            while self._survives(job):
                pass
        except OSError as error:
            self.failed(f"a worker ended: {error}")
        finally:
            self.drain(job)
            with self._lock:
                self.jobs.pop(job, None)
                if len(self._spare_jobs) < SPARE:
                    self._spare_jobs.append(job)

    def _survives(self, job: JobMemory) -> bool:
        """A step; a mistake of ours costs the call, not the worker."""
        try:
            return self._step(job)
        except GoneError:
            os.close(job[Job.SOCKET])
            job[Job.SOCKET], job[Job.ID] = -1, 0
            return not self.shared[Shared.STOP]
        except BaseException as error:  # noqa: BLE001 - a caller must not wait for ever, whatever went wrong here
            self.failed(f"a call could not be dealt with: {error!r}")
            answer(job[Job.LISTENER], job[Job.ID], -errno.EPERM)
            if job[Job.SOCKET] >= 0:
                os.close(job[Job.SOCKET])
                job[Job.SOCKET] = -1
            job[Job.SINCE] = job[Job.ID] = 0
            return not self.shared[Shared.STOP]

    def _step(self, job: JobMemory) -> bool:
        """Deal with one reason of the loop to return; False when the worker is to end."""
        job[Job.THREAD] = own_tid()
        outcome = Outcome(self.orders.loops.serve(job.address))
        match outcome:
            case Outcome.COLD:
                start = Job.NOTIFICATION
                held = Notification.parse(bytes(job.memory[start : start + NOTIFICATION_SIZE]))
                handle(self, job, held)
            case Outcome.ASK:
                self._ask(job)
            case Outcome.CONNECTED:
                self._connected(job)
            case Outcome.REFUSED:
                self._again(job)
            case Outcome.GONE:
                self.gone.set()
                return False
            case Outcome.STOPPED:
                return False
            case Outcome.FULL | Outcome.DONE:
                pass
        job[Job.ID] = 0
        if job[Job.LOG_HEAD] - job[Job.LOG_TAIL] >= LOG_SLOTS // 2:
            self.drain(job)
        return self.shared[Shared.IDLE] < SPARE

    def _ask(self, job: JobMemory) -> None:
        """Decide in Python about a call that the loop has prepared."""
        event = SocketEvent(job.address + Job.RECORD, job)
        self.may_block()
        try:
            decision = self.policy.decide(event)
        except BaseException as error:  # noqa: BLE001 - a policy is foreign code; what it raises must not let a call through
            self.failed(f"the policy failed on {event.call.name}: {error!r}")
            decision = Decision(Action.ALLOW if self.allow_on_error else Action.DENY)
        job[Job.WORD] = decision.word
        if not is_valid(job[Job.LISTENER], job[Job.ID]):
            raise GoneError
        outcome = Outcome(self.orders.loops.make(job.address))
        if outcome is Outcome.REFUSED:
            self._again(job)
            return
        if job[Job.HAPPENED] and event.call is SocketCall.CONNECT:
            self._connected(job)
            return
        self._done(event)
        self.orders.loops.conclude(job.address)

    def _done(self, event: SocketEvent) -> None:
        try:
            self.policy.done(event, event.result)
        except BaseException as error:  # noqa: BLE001 - as above
            self.failed(f"the policy failed after {event.call.name}: {error!r}")

    def _again(self, job: JobMemory) -> None:
        """What was refused to us may be the caller's right."""
        make_again(self, job, _notification(job))

    def _connected(self, job: JobMemory) -> None:
        """Tell of a connect that was made, and answer it."""
        tell_connected(self, job, _notification(job))

    def drain(self, job: JobMemory) -> None:
        """Move what a worker has logged to where `events` are read from."""
        with self._draining:
            head, tail = job[Job.LOG_HEAD], job[Job.LOG_TAIL]
            for number in range(tail, head):
                at = Job.LOG + number % LOG_SLOTS * EVENT_SIZE
                if len(self.events) == self.events.maxlen:
                    self.lost += 1
                record = bytes(job.memory[at : at + EVENT_SIZE])
                self.events.append(record)
                self._expect_end(record)
            job[Job.LOG_TAIL] = head

    def _expect_end(self, record: bytes) -> None:
        """See to it that the end of a connection is told whose beginning is in the log."""
        if SocketCall.CLOSED in self.wants and int.from_bytes(record[:8], sys.byteorder) in _ESTABLISHED:
            event = SocketEvent.copied(record)
            self.host.closes(self, event, event.cookie)

    def drain_all(self) -> None:
        """The logs of all workers."""
        with self._lock:
            jobs = list(self.jobs)
        for job in jobs:
            self.drain(job)

    def stop(self) -> None:
        """End all workers; calls that they hold are cancelled, and the listener is closed.

        One that cannot end, as a policy does not answer or memory of its caller cannot be read, is left behind without
        the listener: nothing comes of its call any more.
        """
        self.shared[Shared.STOP] = 1
        me = threading.current_thread()
        end = time.monotonic() + _PATIENCE
        while True:
            with self._lock:
                threads = [(job, t) for job, t in self.jobs.items() if t is not me]
            if not threads or time.monotonic() > end:
                break
            for job, thread in threads:
                cancel(job, -errno.ENOSYS)
                if thread.native_id is not None:
                    thread_kill(os.getpid(), thread.native_id, NUDGE)
                thread.join(0.01)
        for job, _ in threads:
            job[Job.LISTENER] = -1
        if self.listener >= 0:
            listener, self.listener = self.listener, -1
            os.close(listener)
        self.gone.set()


def _notification(job: JobMemory) -> Notification:
    start = Job.NOTIFICATION
    return Notification.parse(bytes(job.memory[start : start + NOTIFICATION_SIZE]))


def cancel(job: JobMemory, result: int) -> None:
    """Let the call that a worker makes end with that errno (a minus), as soon as it is interrupted."""
    job[Job.CANCEL_WITH] = result
    job[Job.CANCEL] = job[Job.ID]
    if job[Job.SINCE]:
        thread_kill(os.getpid(), job[Job.THREAD], NUDGE)
