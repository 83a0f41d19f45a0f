"""The loop in plain Python: it only waits, and leaves every call to those who know what to do about it.

Not here: what that is (handling).
"""

from __future__ import annotations

import errno
import select
import struct
import threading
from typing import Final

from netdev.interpose.held import JobMemory
from netdev.interpose.loops import JOB_SIZE, LOG_SLOTS, InterposeLoops, Job, Outcome, Shared
from netdev.interpose.system import receive

__all__ = ["REFERENCE", "no_process_left"]

_counting: Final = threading.Lock()


def _count(shared: JobMemory, change: int) -> None:
    with _counting:
        shared[Shared.IDLE] += change


def no_process_left(listener: int) -> bool:
    """Whether nobody is under the filter any more."""
    poll = select.poll()
    poll.register(listener, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def _serve(address: int) -> int:
    job = JobMemory(address, JOB_SIZE)
    shared = JobMemory(job[Job.SHARED], len(Shared) * 8)
    if job[Job.LOG_HEAD] - job[Job.LOG_TAIL] >= LOG_SLOTS:
        return Outcome.FULL
    while True:
        if shared[Shared.STOP]:
            return Outcome.STOPPED
        _count(shared, 1)
        result = receive(job[Job.LISTENER], address + Job.NOTIFICATION)
        _count(shared, -1)
        if result >= 0:
            job[Job.ID] = struct.unpack_from("=q", job.memory, Job.NOTIFICATION)[0]
            return Outcome.COLD
        if result not in {-errno.EINTR, -errno.ENOENT}:
            return Outcome.GONE
        if result == -errno.ENOENT and no_process_left(job[Job.LISTENER]):
            return Outcome.GONE


def _nothing(_address: int) -> int:
    return Outcome.DONE  # `_serve` leaves nothing half done


def _prepare() -> None:
    """Nothing to compile."""


REFERENCE: Final = InterposeLoops(serve=_serve, make=_nothing, conclude=_nothing, prepare=_prepare)
"""The loop that needs no compiler: some hundred microseconds a call."""
