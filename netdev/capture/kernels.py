"""The loops over records and frames that a capture needs, as a record of functions; nothing else here runs once a frame.

Not here: the loops. `reference.py` has them in plain Python, as the oracle of tests and the default; whoever
has a compiler hands in faster ones. Both sides share a *job*: a record of 64-bit words, in and out, some of
them addresses in this process. A kernel gets the job's address and returns a word.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, final

from numpy.typing import NDArray

__all__ = [
    "NO_COMMENT",
    "VERDICT_TYPE",
    "Clock",
    "Format",
    "Job",
    "Kernels",
    "Row",
    "Stop",
    "Walk",
    "Wrap",
    "address_of",
]

NO_COMMENT: Final = 0xFFFF_FFFF
"""In place of a comment's number: this frame has none."""
VERDICT_TYPE: Final = 2
"""The kind of verdict that goes before the value in a pcapng verdict option: of a Linux XDP program."""


class Stop(IntEnum):
    """Why a walk ended. DONE: so many frames were met; END: no byte is left. From CUT_HEADER on it is damage.

    HEADER: at a block that only the caller can read (a section or an interface). CUT_HEADER, CUT_BODY: what begins at
    AT runs past the end. TOO_LONG: a frame longer than is believed. BLOCK_LENGTH: a block's length is
    too small for it, or no multiple of 4. TRAILER: the length at a block's end is not the one at its start. INTERFACE: a
    frame of an interface that was not described. OVERRUN: a frame longer than its block.
    """

    DONE = 0
    END = 1
    HEADER = 2
    CUT_HEADER = 3
    CUT_BODY = 4
    TOO_LONG = 5
    BLOCK_LENGTH = 6
    TRAILER = 7
    INTERFACE = 8
    OVERRUN = 9


class Walk(IntEnum):
    """Offsets of the words of a walk over records.

    In: DATA, SIZE: the file in memory. COUNT: how many frames at most. BIG: 1 when it is big-endian. INTERFACES: how
    many interfaces the section has so far, the first of them FIRST in the whole file. FRACTION: nanoseconds in the second
    word of a classic timestamp. ROWS: one Row an interface of the file.
    In and out: AT: where the next record or block begins.
    Out: DONE: frames met, CAPTURED: their bytes. USED: one byte an interface of the file, set when a frame is of it.
    When OFFSETS is not 0 the frames go into five arrays as FrameBatch has them, from index 0 on.
    """

    DATA = 0
    SIZE = 8
    AT = 16
    COUNT = 24
    BIG = 32
    INTERFACES = 40
    FIRST = 48
    FRACTION = 56
    ROWS = 64
    DONE = 72
    CAPTURED = 80
    USED = 88
    OFFSETS = 96
    CAPLENS = 104
    LENGTHS = 112
    TIMESTAMPS = 120
    NUMBERS = 128


class Clock(IntEnum):
    """How a timestamp in units becomes nanoseconds, modulo 2**64.

    TIMES: multiplied by FACTOR. OVER: divided by FACTOR, as an unsigned word; 0 gives 0. BINARY: times 10**9,
    shifted right by FACTOR bits, 0 to 127.
    """

    TIMES = 0
    OVER = 1
    BINARY = 2


class Row(IntEnum):
    """Offsets of the words of an interface's row.

    A Clock and its FACTOR, what is ADDED (nanoseconds), the SNAPLEN (0: none), the Wrapping of its frames.
    """

    CLOCK = 0
    FACTOR = 8
    ADDED = 16
    SNAPLEN = 24
    WRAPPING = 32
    SIZE = 40


class Wrap(IntEnum):
    """Offsets of the words of a wrapping: COUNT frames become Ethernet frames, one after the other, at OUT.

    BASE: what OFFSETS count from, before; afterwards they count from OUT. CAPLENS and LENGTHS are changed as well.
    NUMBERS are the frames' interfaces, ROWS one Row for each. At OUT there is room for every frame and 14 bytes more.
    """

    BASE = 0
    OFFSETS = 8
    CAPLENS = 16
    LENGTHS = 24
    NUMBERS = 32
    COUNT = 40
    ROWS = 48
    OUT = 56


class Format(IntEnum):
    """Offsets of the words of a formatting: frames of a batch to records at OUT.

    In: BASE to NUMBERS: the batch. SELECTION: 32-bit indices of the frames, COUNT of them. OUT, ROOM: where records
    go, and how many bytes there are. FRACTION: nanoseconds in the unit of a classic timestamp.
    pcapng only: FIRST is added to interface numbers. IDS: 64-bit packet ids, VERDICTS: 64-bit verdicts, COMMENTS: 32-bit
    numbers of comments, each by index of the batch, or 0 for none at all. TEXTS: for each comment two words, the address
    and the length of its text.
    In and out: AT: the place in the selection. Out: USED: bytes at OUT.
    """

    BASE = 0
    OFFSETS = 8
    CAPLENS = 16
    LENGTHS = 24
    TIMESTAMPS = 32
    NUMBERS = 40
    SELECTION = 48
    COUNT = 56
    AT = 64
    OUT = 72
    ROOM = 80
    USED = 88
    FRACTION = 96
    FIRST = 104
    IDS = 112
    VERDICTS = 120
    COMMENTS = 128
    TEXTS = 136


Kernel = Callable[[int], int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """The loops. Each takes the address of a job.

    walk_pcap, walk_pcapng(Walk) → Stop. wrap(Wrap) → 0. format_pcap, format_pcapng(Format) → frames formatted: those
    that fit into ROOM.
    """

    walk_pcap: Kernel
    walk_pcapng: Kernel
    wrap: Kernel
    format_pcap: Kernel
    format_pcapng: Kernel


@final
class Job:
    """A record of words at `address`, by the offsets of one of the enumerations above."""

    __slots__ = ("_words", "address")

    def __init__(self, kind: type[IntEnum]) -> None:
        self._words = (ctypes.c_int64 * len(kind))()
        self.address = ctypes.addressof(self._words)

    def __getitem__(self, field: IntEnum) -> int:
        return self._words[field >> 3]

    def __setitem__(self, field: IntEnum, word: int) -> None:
        self._words[field >> 3] = word


def address_of(array: NDArray[Any]) -> int:
    """The address of an array's first element; raises nothing, keeps nothing alive."""
    address: int = array.__array_interface__["data"][0]
    return address
