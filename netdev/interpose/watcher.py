"""The watcher: a thread that looks after calls that take long, as their callers may be interrupted or die meanwhile.

Not here: the calls themselves (handling). A caller's death cancels its call at once; a signal that it has to take ends the
call as the kernel would end it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
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
_AT_ONCE: Final = 32
_UNDER_WAY: Final = (2, 3)  # SYN_SENT, SYN_RECV
_NEVER: Final = (0, 7)  # of no TCP socket, CLOSE: it was refused. Behind those are the states of a connection that ends


@final
class _Watched:
    """A call that takes long: the worker's job, the caller, and the signals that waited for its process when last seen."""

    __slots__ = ("caller", "held", "job", "shared", "workers")

    def __init__(self, workers: Workers, job: JobMemory, held: int, caller: Caller) -> None:
        self.workers = workers
        self.job = job
        self.held = held
        self.caller = caller
        self.shared = 0

    def look(self) -> bool:
        """Cancel the call of a caller that is gone or has a signal to take; False when it is over."""
        if self.job[Job.ID] != self.held:
            return False
        if not is_valid(self.workers.listener, self.held):
            cancel(self.job, -errno.EINTR)
            return True
        own, shared = self.caller.pending()
        if own or (shared and self.caller.is_alone()):
            cancel(self.job, -RESTART)
        elif shared & self.shared:
            cancel(self.job, -errno.EINTR)  # a signal for the process that no other thread took: it is this one's
        self.shared = shared
        return True


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
        self._watched: dict[int, _Watched] = {}
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
        for pidfd in self._watched:
            os.close(pidfd)
        for descriptor in self._opening:
            os.close(descriptor)
        if self._closings is not None:
            self._closings.close()
        self._epoll.close()
        os.close(self.wake)

    def _run(self) -> None:
        while not self._ended:
            try:
                for descriptor, _ in self._epoll.poll(_TICK if self._groups else _REST):
                    self._ready(descriptor)
                for workers in list(self._groups):
                    self._find(workers)
                self._look()
            except Exception as error:  # noqa: BLE001 - without a watcher, blocked calls would never be cancelled
                for workers in list(self._groups):
                    workers.failed(f"the watcher failed: {error!r}")
                time.sleep(_TICK)

    def _ready(self, descriptor: int) -> None:
        if descriptor == self.wake:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self.wake)
            for workers in list(self._groups):
                workers.may_block()
        elif descriptor in self._watched:
            self._watched[descriptor].look()
        elif self._closings is not None and descriptor == self._closings.fileno():
            self._closings.ready(self._drain)
        elif descriptor in self._opening:
            self._opened(descriptor)

    def _drain(self) -> None:
        """Read the logs: connections may have been made, and ended, since."""
        for workers in list(self._groups):
            workers.drain_all()

    def _opened(self, descriptor: int) -> None:
        state = tcp_state(descriptor)
        if state in _UNDER_WAY:
            self._epoll.modify(descriptor, select.EPOLLOUT | select.EPOLLONESHOT)
            return
        with self._lock:
            workers, event = self._opening.pop(descriptor)
        if state not in _NEVER:
            workers.tell_opened(event, descriptor)
        os.close(descriptor)

    def _find(self, workers: Workers) -> None:
        """Find calls that have begun to take long; or that nobody is left to call."""
        if no_process_left(workers.listener):
            with self._lock:
                self._groups.remove(workers)
            self._epoll.unregister(workers.listener)
            workers.stop()
            return
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        known = {id(watched.job): watched.held for watched in self._watched.values()}
        for job in list(workers.jobs):
            since, held = job[Job.SINCE], job[Job.ID]
            if since and held and now - since > _LONG and known.get(id(job)) != held:
                self._watch(workers, job, held)
        workers.drain_all()

    def _watch(self, workers: Workers, job: JobMemory, held: int) -> None:
        if not is_valid(workers.listener, held):
            if job[Job.ID] == held:
                cancel(job, -errno.EINTR)
            return
        start = Job.NOTIFICATION
        caller = Caller.open(Notification.parse(bytes(job.memory[start : start + NOTIFICATION_SIZE])))
        if isinstance(caller, int):
            return
        self._watched[caller.pidfd] = _Watched(workers, job, held, caller)
        self._epoll.register(caller.pidfd, select.EPOLLIN | select.EPOLLONESHOT)

    def _look(self) -> None:
        """Look at some of the calls that take long, in turn."""
        for pidfd in list(itertools.islice(self._watched, _AT_ONCE)):
            watched = self._watched.pop(pidfd)
            if watched.look():
                self._watched[pidfd] = watched
            else:
                os.close(pidfd)
