"""What a live attachment counts, in shared memory that other processes can read while it counts.

The memory is a header with a table of programs, then one block for each worker. A worker writes only its own block, between
two changes of the block's sequence word (odd: being written), so that a reader gets sums that belong together.
All words are 64 bits, little-endian.

    header   magic, version, workers, programs, words in a block, 3 words reserved;
             then for each program slot: id, priority, 6 words of name (zero-padded UTF-8)
    block    sequence; the words of Word; packets and bytes by verdict; drops by Cause;
             then for each program slot: packets and bytes by verdict

Not here: who counts (worker.py), and rates.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DeviceError
from xdp.live.sorting import Sorted
from xdp.verdict import Verdict

__all__ = ["PROGRAM_SLOTS", "Cause", "Counters", "Counts", "ProgramCounts", "Tally", "Word"]

_MAGIC: Final = 0x53544E434D495358  # "XSIMCNTS"
_VERSION: Final = 1
PROGRAM_SLOTS: Final = 32
"""So many programs one attachment has at most."""

_HEAD: Final = 8
_PROGRAM: Final = 8
_NAME_WORDS: Final = _PROGRAM - 2
_HEADER: Final = _HEAD + PROGRAM_SLOTS * _PROGRAM
_VERDICTS: Final = len(Verdict)
_TRIES: Final = 1000


class Word(IntEnum):
    """What a worker counts besides verdicts.

    RECEIVED, RECEIVED_BYTES: frames that came. PASSED: handed to where PASS leads. RETURNED: handed back to the interface that they
    came from. REDIRECTED: handed to a redirect's target, one for each copy. OBSERVED: seen and let be (monitor).
    DIRECT: frames that no program saw, handed on (the host's own output). BATCHES. CPU_NS: of the worker's thread. RUN_NS: of it, in
    programs. MODIFIED: frames that programs changed. COPIES: frames that a broadcast made more than one of.
    """

    RECEIVED = 0
    RECEIVED_BYTES = 1
    PASSED = 2
    RETURNED = 3
    REDIRECTED = 4
    OBSERVED = 5
    DIRECT = 6
    BATCHES = 7
    CPU_NS = 8
    RUN_NS = 9
    MODIFIED = 10
    COPIES = 11


class Cause(IntEnum):
    """Why a frame went no further.

    DROP, ABORTED: the program said so (XDP_ABORTED, or what is no verdict). TOO_LONG_TO_RUN: longer than programs take.
    NO_TARGET: a redirect to nowhere. GONE: where it should have gone is not there now. FULL: the port
    had no room. These five and what was handed on make up RECEIVED, copies aside. LOST: never received, the ring was full.
    CUT: never received whole. REFUSED, TOO_LONG: handed on, and not taken by the device. The last four are those of the port that the worker receives from,
    whoever sent through it.
    """

    DROP = 0
    ABORTED = 1
    TOO_LONG_TO_RUN = 2
    NO_TARGET = 3
    GONE = 4
    FULL = 5
    LOST = 6
    CUT = 7
    REFUSED = 8
    TOO_LONG = 9


_AT_WORDS: Final = 1
_AT_PACKETS: Final = _AT_WORDS + len(Word)
_AT_BYTES: Final = _AT_PACKETS + _VERDICTS
_AT_CAUSES: Final = _AT_BYTES + _VERDICTS
_AT_PROGRAMS: Final = _AT_CAUSES + len(Cause)
_BLOCK: Final = -(-(_AT_PROGRAMS + PROGRAM_SLOTS * 2 * _VERDICTS) // 8) * 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCounts:
    """Verdicts of one program of the chain."""

    id: int
    name: str
    priority: int
    packets: dict[str, int]
    bytes: dict[str, int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sums, of one worker or of all: verdicts are the last word on each frame, `words` are those of Word in lower case."""

    words: dict[str, int]
    packets: dict[str, int]
    bytes: dict[str, int]
    drops: dict[str, int]
    programs: tuple[ProgramCounts, ...]


@final
class Tally:
    """One worker's counts, private until `publish`."""

    def __init__(self, shared: NDArray[np.uint64]) -> None:
        self._shared = shared
        self._own = shared.copy()
        self._words = self._own[_AT_WORDS:_AT_PACKETS]
        self.packets = self._own[_AT_PACKETS:_AT_BYTES]
        self.bytes = self._own[_AT_BYTES:_AT_CAUSES]
        self._causes = self._own[_AT_CAUSES:_AT_PROGRAMS]
        programs = self._own[_AT_PROGRAMS : _AT_PROGRAMS + PROGRAM_SLOTS * 2 * _VERDICTS]
        self.programs = programs.reshape(PROGRAM_SLOTS, 2, _VERDICTS)

    def add(self, word: Word, value: int) -> None:
        """Count."""
        self._words[word] += np.uint64(value)

    def drop(self, cause: Cause, count: int) -> None:
        """Count frames that go no further."""
        self._causes[cause] += np.uint64(count)

    def set_drops(self, cause: Cause, total: int) -> None:
        """The count of a cause that somebody else counts."""
        self._causes[cause] = total

    def set(self, word: Word, total: int) -> None:
        """The value of a word that somebody else counts."""
        self._words[word] = total

    def verdicts(self, slot: int | None, said: Sorted) -> None:
        """Count verdicts and bytes of frames: of the program in a slot, or the last word on them (None)."""
        if slot is None:
            self.packets += said.packets
            self.bytes += said.bytes
        else:
            self.programs[slot, 0] += said.packets
            self.programs[slot, 1] += said.bytes

    def clear_program(self, slot: int) -> None:
        """Begin anew for another program in a slot."""
        self.programs[slot] = 0

    def publish(self) -> None:
        """Let readers see what was counted."""
        shared = self._shared
        shared[0] += np.uint64(1)
        shared[1:] = self._own[1:]
        shared[0] += np.uint64(1)


@final
class Counters:
    """The shared memory: made by who counts, opened by who reads. `path` leads other processes to it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        size = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._words: NDArray[np.uint64] = np.frombuffer(self._map, np.uint64)
        self._workers = int(self._words[2])

    @classmethod
    def create(cls, workers: int, path: Path | None = None) -> Self:
        """Zeroed counters for so many workers, in a new file or in a memfd. Raises DeviceError."""
        words = _HEADER + workers * _BLOCK
        try:
            if path is None:
                fd = os.memfd_create("xdpsim-counters", os.MFD_CLOEXEC)
            else:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            head = np.zeros(_HEAD, np.uint64)
            head[:5] = (_MAGIC, _VERSION, workers, PROGRAM_SLOTS, _BLOCK)
            os.ftruncate(fd, words * 8)
            os.pwrite(fd, head.tobytes(), 0)
        except OSError as error:
            raise DeviceError(f"{path or 'counters'}: {error.strerror}") from error
        return cls(fd)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Counters that another process made. Raises DeviceError."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error
        head = np.frombuffer(os.pread(fd, _HEAD * 8, 0).ljust(_HEAD * 8, b"\0"), np.uint64)
        words = (_HEADER + int(head[2]) * _BLOCK) * 8
        if (
            head[:2].tolist() != [_MAGIC, _VERSION]
            or head[3:5].tolist() != [PROGRAM_SLOTS, _BLOCK]
            or (os.fstat(fd).st_size != words)
        ):
            os.close(fd)
            raise DeviceError(f"{path} holds no counters of this version")
        return cls(fd)

    @property
    def path(self) -> str:
        """Where other processes open the memory, as long as this one lives."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def tally(self, worker: int) -> Tally:
        """The block of a worker, for the worker."""
        return Tally(self._block(worker))

    def _block(self, worker: int) -> NDArray[np.uint64]:
        return self._words[_HEADER + worker * _BLOCK :][:_BLOCK]

    def name_program(self, slot: int, number: int, name: str, priority: int) -> None:
        """Say which program a slot counts for; id 0: none."""
        row = self._words[_HEAD + slot * _PROGRAM :][:_PROGRAM]
        row[1] = priority
        row[2:] = np.frombuffer(name.encode()[: _NAME_WORDS * 8].ljust(_NAME_WORDS * 8, b"\0"), np.uint64)
        row[0] = number

    def worker(self, worker: int) -> Counts:
        """What one worker counted."""
        return self._counts(self._snapshot(worker))

    def total(self, workers: Sequence[int] | None = None) -> Counts:
        """The sums over all workers, or over these."""
        chosen = range(self._workers) if workers is None else workers
        total = np.zeros(_BLOCK, np.uint64)
        for each in chosen:
            total += self._snapshot(each)
        return self._counts(total)

    def _snapshot(self, worker: int) -> NDArray[np.uint64]:
        """A block as it was between two changes; of a worker that died while it wrote, as it is."""
        block = self._block(worker)
        for _ in range(_TRIES):
            before = int(block[0])
            found = block.copy()
            if not before & 1 and int(block[0]) == before:
                return found
        return block.copy()

    def _counts(self, block: NDArray[np.uint64]) -> Counts:
        programs = block[_AT_PROGRAMS : _AT_PROGRAMS + PROGRAM_SLOTS * 2 * _VERDICTS].reshape(-1, 2, _VERDICTS)
        rows = self._words[_HEAD:_HEADER].reshape(PROGRAM_SLOTS, _PROGRAM)
        return Counts(
            words={each.name.lower(): int(block[_AT_WORDS + each]) for each in Word},
            packets=_by_verdict(block[_AT_PACKETS:_AT_BYTES]),
            bytes=_by_verdict(block[_AT_BYTES:_AT_CAUSES]),
            drops={each.name.lower(): int(block[_AT_CAUSES + each]) for each in Cause},
            programs=tuple(
                ProgramCounts(
                    id=int(row[0]),
                    name=row[2:].tobytes().rstrip(b"\0").decode(errors="replace"),
                    priority=int(row[1]),
                    packets=_by_verdict(programs[slot, 0]),
                    bytes=_by_verdict(programs[slot, 1]),
                )
                for slot, row in enumerate(rows)
                if row[0]
            ),
        )

    def close(self) -> None:
        """Let go of the memory; workers must have ended. Twice is harmless."""
        if self._map.closed:
            return
        self._words = np.zeros(_HEADER, np.uint64)
        try:
            self._map.close()
        except BufferError:  # a worker's array lives on; the mapping goes with it
            return
        finally:
            os.close(self.fd)


def _by_verdict(words: NDArray[np.uint64]) -> dict[str, int]:
    return {each.name: int(words[each]) for each in Verdict}
