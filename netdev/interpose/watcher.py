"""The watcher: a thread that looks after calls that take long, as their callers may be interrupted or die meanwhile.

Not here: the calls themselves (handling). A caller's death cancels its call at once; a signal that it has to take ends the
call as the kernel would end it.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from typing import Final, final

from netdev.interpose.closing import Closings
from netdev.interpose.facts import Caller, tcp_state
from netdev.interpose.held import JobMemory
from netdev.interpose.loops import Job
from netdev.interpose.record import SocketEvent
from netdev.interpose.reference import no_process_left
from netdev.interpose.system import NOTIFICATION_SIZE, RESTART, Notification, is_valid
from netdev.interpose.workers import Workers, cancel

__all__ = ["Watcher"]

_TICK: Final = 0.02
_REST: Final = 0.25
_LONG: Final = 5_000_000
_EINTR: Final = 4
_ESTABLISHED: Final = 1
_UNDER_WAY: Final = (2, 3)  # SYN_SENT, SYN_RECV


@final
class _Watched:
    """A call that takes long: its caller's process, and when it was looked at."""

    __slots__ = ("caller", "pidfd", "seen", "shared")

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.pidfd = caller.pidfd
        self.shared = 0


@final
class Watcher:
    """Runs until `close`. `wake` is an eventfd: whoever writes to it wants more workers."""

    def __init__(self, *, closings: bool) -> None:
        """`closings`: the ends of connections are of interest."""
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self.wake, select.EPOLLIN)
        self._closings: Closings | None = None
        if closings:
            with contextlib.suppress(OSError):  # coverage says so
                self._closings = Closings()
                self._epoll.register(self._closings, select.EPOLLIN)
        self._groups: list[Workers] = []
        self._watched: dict[tuple[int, int], _Watched] = {}
        self._opening: dict[int, tuple[Workers, SocketEvent]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="interpose-watcher", daemon=True)
        self._thread.start()

    def add(self, workers: Workers) -> None:
        """Look after these, until no process is left under their filter."""
        with self._lock:
            self._groups.append(workers)
        self._epoll.register(workers.listener, 0)
        os.eventfd_write(self.wake, 1)

    def opened(self, workers: Workers, event: SocketEvent, descriptor: int) -> None:
        """Tell the policy when this connection is open. The descriptor is closed here."""
        with self._lock:
            self._opening[descriptor] = (workers, event)
        self._epoll.register(descriptor, select.EPOLLOUT | select.EPOLLONESHOT)

    @property
    def tells_closings(self) -> bool:
        """Whether the kernel tells of the ends of connections."""
        return self._closings is not None

    def closes(self, workers: Workers, event: SocketEvent, cookie: int) -> None:
        """Tell the policy when this connection has ended."""
        if self._closings is not None:
            self._closings.expect(workers, event, cookie)

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        os.eventfd_write(self.wake, 1)
        self._thread.join()
        for watched in self._watched.values():
            os.close(watched.pidfd)
        for descriptor in self._opening:
            os.close(descriptor)
        if self._closings is not None:
            self._closings.close()
        self._epoll.close()
        os.close(self.wake)

    def _run(self) -> None:
        while not self._ended:
            busy = any(job[Job.SINCE] for workers in self._groups for job in list(workers.jobs))
            for descriptor, _ in self._epoll.poll(_TICK if busy or self._groups else _REST):
                self._ready(descriptor)
            for workers in list(self._groups):
                self._look(workers)

    def _ready(self, descriptor: int) -> None:
        if descriptor == self.wake:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self.wake)
            for workers in self._groups:
                workers.may_block()
        elif self._closings is not None and descriptor == self._closings.fileno():
            self._closings.ready()
        elif descriptor in self._opening:
            self._opened(descriptor)

    def _opened(self, descriptor: int) -> None:
        state = tcp_state(descriptor)
        if state in _UNDER_WAY:
            self._epoll.modify(descriptor, select.EPOLLOUT | select.EPOLLONESHOT)
            return
        with self._lock:
            workers, event = self._opening.pop(descriptor)
        if state == _ESTABLISHED:
            workers.tell_opened(event, descriptor)
        os.close(descriptor)

    def _look(self, workers: Workers) -> None:
        if no_process_left(workers.listener):
            with self._lock:
                self._groups.remove(workers)
            self._epoll.unregister(workers.listener)
            workers.stop()
            return
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        alive = set()
        for job in list(workers.jobs):
            since, held = job[Job.SINCE], job[Job.ID]
            if since and held and now - since > _LONG:
                alive.add((workers.listener, held))
                self._look_at(workers, job, held)
        for key in [key for key in self._watched if key[0] == workers.listener and key not in alive]:
            os.close(self._watched.pop(key).pidfd)
        workers.drain_all()

    def _look_at(self, workers: Workers, job: JobMemory, held: int) -> None:
        """Cancel the call of a caller that is gone or has a signal to take."""
        if not is_valid(workers.listener, held):
            cancel(job, -_EINTR)
            return
        key = (workers.listener, held)
        watched = self._watched.get(key)
        if watched is None:
            start = Job.NOTIFICATION
            caller = Caller.open(Notification.parse(bytes(job.memory[start : start + NOTIFICATION_SIZE])))
            if isinstance(caller, int) or job[Job.ID] != held:
                if not isinstance(caller, int):
                    os.close(caller.pidfd)
                return
            watched = self._watched[key] = _Watched(caller)
            self._epoll.register(caller.pidfd, select.EPOLLIN | select.EPOLLONESHOT)
        own, shared = watched.caller.pending()
        if own or (shared and watched.caller.is_alone()):
            cancel(job, -RESTART)
        elif shared & watched.shared:
            cancel(job, -_EINTR)  # a signal for the process that no other thread took: it is this one's
        watched.shared = shared
