"""The loop that a supervisor's workers run, as a record of functions, and the memory that they share with it.

Not here: the loops. `reference.py` has them in plain Python; whoever has a compiler hands in faster ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from netdev.interpose.record import EVENT_ROOM, EVENT_SIZE

__all__ = ["DATA_ROOM", "JOB_SIZE", "LOG_SLOTS", "SPARE", "InterposeLoops", "Job", "Outcome", "Shared"]

DATA_ROOM: Final = 65536
LOG_SLOTS: Final = 64
SPARE: Final = 4
"""So many workers wait although there is nothing to do; one that finds them waiting ends."""


class Shared(IntEnum):
    """Offsets of the words that the workers of one listener share.

    IDLE: how many wait for a call. STOP: not 0 when they are to end.
    """

    IDLE = 0
    STOP = 8


class Job(IntEnum):
    """Offsets of a worker's memory: words of 64 bits, then buffers.

    HAPPENED: the native policy's function for what has happened (0: none); TOLD: the events that it is wanted for besides WANTS.
    LISTENER: the descriptor. SHARED: the address of the words of Shared. WAKE: an eventfd to write to when a call may block and
    no worker waits. FUNCTION, ENV: the native policy (0: none). NATIVE: the events that it decides, WANTS: those wanted
    (sets of 1 << SocketCall). NEEDS: a set of Fact. COLD: events whose calls are always left to Python.
    ID: the call in progress, 0 between calls. SINCE: CLOCK_MONOTONIC in nanoseconds when the call began to be made, 0 while
    it is not. CANCEL: the ID of a call whose EINTR is not to be tried again but answered with CANCEL_WITH (an errno with a
    minus). THREAD: whom to interrupt.
    SOCKET: a duplicate of the caller's descriptor (-1: none). WORD: a decision for `make`. VALUE: what the call that was made
    returned. LOG_HEAD, LOG_TAIL: records written to and read from LOG since the beginning.
    NOTIFICATION (struct seccomp_notif) and SCRATCH: buffers. RECORD: the record of the call with its room. LOG: LOG_SLOTS
    records. DATA: DATA_ROOM bytes for a message.
    """

    LISTENER = 0
    SHARED = 8
    WAKE = 16
    FUNCTION = 24
    ENV = 32
    NATIVE = 40
    WANTS = 48
    NEEDS = 56
    COLD = 64
    ID = 72
    SINCE = 80
    CANCEL = 88
    THREAD = 96
    SOCKET = 104
    WORD = 112
    VALUE = 120
    CANCEL_WITH = 128
    LOG_HEAD = 136
    LOG_TAIL = 144
    HAPPENED = 152
    TOLD = 160
    NOTIFICATION = 256
    SCRATCH = 384
    RECORD = 1024
    LOG = 1024 + EVENT_ROOM
    DATA = 1024 + EVENT_ROOM + LOG_SLOTS * EVENT_SIZE


JOB_SIZE: Final = Job.DATA + DATA_ROOM


class Outcome(IntEnum):
    """Why a function of the loop returns.

    COLD: a call is in NOTIFICATION, nothing was done about it. ASK: its RECORD is filled and SOCKET open; decide, put the word
    into WORD, `make` and `conclude`. REFUSED: it was decided and made, and VALUE is a refusal for want of a privilege: the
    caller may have it; SOCKET is still open. CONNECTED: it is a connect that was made, and its connection, or its beginning, has to be
    told before it is answered with VALUE; SOCKET is still open. FULL: the log has to be read. GONE: no process is left. STOPPED: Shared.STOP.
    DONE: see InterposeLoops.
    """

    DONE = 0
    COLD = 1
    ASK = 2
    REFUSED = 3
    FULL = 4
    GONE = 5
    STOPPED = 6
    CONNECTED = 7


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InterposeLoops:
    """The loop. Each function takes the address of a job, of JOB_SIZE bytes.

    serve → an Outcome: waits for calls and deals with those that it can; DONE when SPARE others wait already. For a call that was left at ASK, then
    decided: make → DONE (its result is in VALUE) or REFUSED; conclude → DONE, the caller has its answer, the log its
    record, and SOCKET is closed. `prepare` is called once, with no worker running: it may compile.
    """

    serve: Callable[[int], int]
    make: Callable[[int], int]
    conclude: Callable[[int], int]
    prepare: Callable[[], None]
