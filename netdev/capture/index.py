"""The index of a capture: how many frames, of which interfaces, where it is damaged, and marks to start walking from.

Not here: the loops over records (kernels.py). An index is small: a mark every 65,536 frames, from which the frames
behind it are found by walking. A walk reads the records' headers, which a batch needs anyway.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture.format import (
    MAX_CAPLEN,
    PCAP_HEADER,
    Block,
    FormatError,
    Interface,
    PcapHeader,
    block_head,
    interface_of,
    pcap_header_of,
    section_order_of,
)
from netdev.capture.kernels import Clock, Job, Kernels, Row, Stop, Walk, address_of
from netdev.capture.linktypes import Wrapping, wrapping

__all__ = ["Columns", "Cursor", "Damage", "Index", "build"]

_STEP: Final = 1 << 16
_MAX_INTERFACES: Final = 1 << 16
_MAX_SECTIONS: Final = 1 << 16
_SECOND: Final = 10**9
_NANOSECONDS: Final = 9

_WIDTHS: Final = (
    (Walk.OFFSETS, 8),
    (Walk.CAPLENS, 4),
    (Walk.LENGTHS, 4),
    (Walk.TIMESTAMPS, 8),
    (Walk.NUMBERS, 4),
)

_REASONS: Final = {
    Stop.CUT_HEADER: "the header of a record is cut",
    Stop.CUT_BODY: "a record runs past the end of the file",
    Stop.TOO_LONG: f"a frame of more than {MAX_CAPLEN:,} bytes",
    Stop.BLOCK_LENGTH: "a block of an impossible length",
    Stop.TRAILER: "a block that ends with another length than it begins with",
    Stop.INTERFACE: "a frame of an interface that is not described",
    Stop.OVERRUN: "a frame that is longer than its block",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Where a capture stops making sense: `offset` in bytes (unpacked), after `frames` good frames."""

    offset: int
    frames: int
    reason: str

    def __str__(self) -> str:
        return f"damaged at byte {self.offset:,}, after {self.frames:,} good frames: {self.reason}"


@final
@dataclass(frozen=True, slots=True)
class _Section:
    """A stretch of one byte order; its interfaces are numbered from `first` in the whole file."""

    big: bool
    first: int


@final
@dataclass(frozen=True, slots=True)
class _Mark:
    """Frame number `frame` is the first one at or behind byte `at`, in section number `section`."""

    frame: int
    at: int
    section: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What one pass over a capture found.

    `captured` is the sum of the frames' bytes, `seen` says of each interface whether a frame is of it.
    """

    data: NDArray[np.uint8]
    classic: PcapHeader | None
    sections: tuple[_Section, ...]
    interfaces: tuple[Interface, ...]
    rows: NDArray[np.int64]
    marks: tuple[_Mark, ...]
    frames: int
    captured: int
    seen: tuple[bool, ...]
    damage: Damage | None


@final
class Columns:
    """The five arrays of a batch, before they are one: two blocks of memory, for few allocations."""

    __slots__ = ("caplens", "lengths", "numbers", "offsets", "timestamps")

    def __init__(self, count: int) -> None:
        self.offsets, self.timestamps = np.empty((2, count), np.uint64)
        self.caplens, self.lengths, self.numbers = np.empty((3, count), np.uint32)

    def point(self, job: Job) -> None:
        """Let a walk put its frames here."""
        count = len(self.offsets)
        wide, narrow = address_of(self.offsets), address_of(self.caplens)
        job[Walk.OFFSETS], job[Walk.TIMESTAMPS] = wide, wide + 8 * count
        job[Walk.CAPLENS], job[Walk.LENGTHS], job[Walk.NUMBERS] = narrow, narrow + 4 * count, narrow + 8 * count


@final
class Cursor:
    """A place in an indexed capture, from which frames are taken one batch after the other. Not for several threads."""

    def __init__(self, index: Index, kernels: Kernels, first: int = 0) -> None:
        self._index = index
        self._walk = kernels.walk_pcap if index.classic else kernels.walk_pcapng
        self._used = np.zeros(len(index.interfaces) + 1, np.uint8)
        mark = index.marks[bisect_right(index.marks, first, key=lambda each: each.frame) - 1]
        self._job = job = Job(Walk)
        job[Walk.DATA], job[Walk.SIZE], job[Walk.AT] = address_of(index.data), len(index.data), mark.at
        job[Walk.ROWS], job[Walk.USED] = address_of(index.rows), address_of(self._used)
        job[Walk.FRACTION] = index.classic.fraction_ns if index.classic else 0
        self._enter(mark.section)
        self._lost = not self._walk_over(first - mark.frame)

    def take(self, count: int) -> Columns | None:
        """The next `count` frames; None when there are not so many, because the file has changed."""
        columns = Columns(count)
        columns.point(self._job)
        self._lost = self._lost or not self._walk_over(count)
        return None if self._lost else columns

    def _enter(self, section: int) -> None:
        sections = self._index.sections
        self._section = section
        first = sections[section].first
        last = sections[section + 1].first if section + 1 < len(sections) else len(self._index.interfaces)
        self._job[Walk.BIG] = sections[section].big
        self._job[Walk.FIRST], self._job[Walk.INTERFACES] = first, last - first

    def _walk_over(self, count: int) -> bool:
        """Meet `count` frames, across headers; into arrays where OFFSETS says so."""
        job = self._job
        while True:
            job[Walk.COUNT] = count
            stop = self._walk(job.address)
            if stop == Stop.DONE:
                return True
            if stop != Stop.HEADER or not self._skip_header():
                return False
            done = job[Walk.DONE]
            count -= done
            if job[Walk.OFFSETS]:
                for field, width in _WIDTHS:
                    job[field] += width * done

    def _skip_header(self) -> bool:
        at = self._job[Walk.AT]
        try:
            kind, length = block_head(self._index.data.data, at, big=bool(self._job[Walk.BIG]))
        except FormatError:
            return False
        if kind == Block.SECTION:
            if self._section + 1 == len(self._index.sections):
                return False
            self._enter(self._section + 1)
        self._job[Walk.AT] = at + length
        return True


def build(data: NDArray[np.uint8], kernels: Kernels, *, limit: int | None = None) -> Index:
    """Walk a whole capture, or its first `limit` frames. Raises FormatError when it does not begin as one."""
    building = _Building(data, kernels)
    building.walk(limit)
    return building.index()


@final
class _Building:
    """An index that is being made."""

    def __init__(self, data: NDArray[np.uint8], kernels: Kernels) -> None:
        self._data = data
        self._view = data.data
        self._interfaces: list[Interface] = []
        self._sections: list[_Section] = []
        self._rows = np.zeros((16, Row.SIZE // 8), np.int64)
        self._used = np.zeros(16, np.uint8)
        self._frames = self._captured = 0
        self._damage: Damage | None = None
        self._job = job = Job(Walk)
        job[Walk.DATA], job[Walk.SIZE] = address_of(data), len(data)
        self._classic = pcap_header_of(data[:PCAP_HEADER].tobytes())
        if self._classic:
            self._walk = kernels.walk_pcap
            self._sections.append(_Section(self._classic.big, 0))
            self._add_interface(self._classic.interface)
            job[Walk.AT], job[Walk.FRACTION] = PCAP_HEADER, self._classic.fraction_ns
            job[Walk.BIG] = self._classic.big
        else:
            if section_order_of(data[:12].tobytes()) is None:
                raise FormatError(f"neither pcap nor pcapng: it begins with {data[:8].tobytes().hex(' ')}")
            self._walk = kernels.walk_pcapng
            self._header()
        self._marks = [_Mark(0, job[Walk.AT], 0)]

    def walk(self, limit: int | None) -> None:
        """Meet all frames, or the first `limit` ones."""
        job = self._job
        while limit is None or self._frames < limit:
            upto = self._marks[-1].frame + _STEP
            job[Walk.COUNT] = (upto if limit is None else min(upto, limit)) - self._frames
            stop = Stop(self._walk(job.address))
            self._frames += job[Walk.DONE]
            self._captured += job[Walk.CAPTURED]
            if self._frames == upto:
                self._marks.append(_Mark(self._frames, job[Walk.AT], len(self._sections) - 1))
            if stop is Stop.HEADER:
                try:
                    self._header()
                except FormatError as error:
                    self._hurt(str(error))
                    return
            elif stop is Stop.END:
                return
            elif stop is not Stop.DONE:
                self._hurt(_REASONS[stop])
                return

    def index(self) -> Index:
        """What was found."""
        return Index(
            data=self._data,
            classic=self._classic,
            sections=tuple(self._sections),
            interfaces=tuple(self._interfaces),
            rows=self._rows,
            marks=tuple(self._marks),
            frames=self._frames,
            captured=self._captured,
            seen=tuple(bool(each) for each in self._used[: len(self._interfaces)]),
            damage=self._damage,
        )

    def _hurt(self, reason: str) -> None:
        self._damage = Damage(offset=self._job[Walk.AT], frames=self._frames, reason=reason)

    def _header(self) -> None:
        """Read the section header or interface description at AT and go on behind it; raises FormatError."""
        job = self._job
        at = job[Walk.AT]
        kind, length = block_head(self._view, at, big=bool(job[Walk.BIG]))
        if kind == Block.SECTION:
            if len(self._sections) == _MAX_SECTIONS:
                raise FormatError(f"more than {_MAX_SECTIONS:,} sections")
            section = _Section(bool(section_order_of(self._view[at : at + 12].tobytes())), len(self._interfaces))
            self._sections.append(section)
            job[Walk.BIG], job[Walk.FIRST], job[Walk.INTERFACES] = section.big, section.first, 0
        else:
            self._add_interface(interface_of(self._view[at : at + length], big=bool(job[Walk.BIG])))
        job[Walk.AT] = at + length

    def _add_interface(self, interface: Interface) -> None:
        number = len(self._interfaces)
        if number == _MAX_INTERFACES:
            raise FormatError(f"more than {_MAX_INTERFACES:,} interfaces")
        if number == len(self._rows):
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
            self._used = np.concatenate((self._used, np.zeros_like(self._used)))
        self._interfaces.append(interface)
        self._rows[number] = _row_of(interface)
        job = self._job
        job[Walk.INTERFACES] = number + 1 - self._sections[-1].first
        job[Walk.ROWS], job[Walk.USED] = address_of(self._rows), address_of(self._used)


def _row_of(interface: Interface) -> tuple[int, ...]:
    """An interface as the kernels read it, in the order of Row."""
    exponent = interface.exponent
    if interface.binary:
        clock, factor = Clock.BINARY, exponent
    elif exponent <= _NANOSECONDS:
        clock, factor = Clock.TIMES, 10 ** (_NANOSECONDS - exponent)
    else:
        clock, factor = Clock.OVER, 10 ** (exponent - _NANOSECONDS)
        factor = factor if factor < 1 << 64 else 0
    how = wrapping(interface.link_type)
    return (
        clock,
        _signed(factor),
        _signed(interface.offset * _SECOND),
        interface.snaplen,
        Wrapping.NONE if how is None else how,
    )


def _signed(word: int) -> int:
    return (word + (1 << 63)) % (1 << 64) - (1 << 63)
