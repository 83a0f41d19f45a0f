"""`open_capture`: a capture file as batches of frames that lie in the mapped file itself.

Not here: how records are found (index.py) and written (writers.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture.contents import UNPACK_LIMIT, contents_of
from netdev.capture.format import FormatError, Interface
from netdev.capture.index import Columns, Cursor, Damage, Index, build
from netdev.capture.kernels import Job, Kernels, Wrap, address_of
from netdev.capture.linktypes import ETHERNET, link_type_name, wrapping
from netdev.capture.reference import REFERENCE
from netdev.errors import CaptureError
from netdev.port import FrameBatch

__all__ = ["CaptureFile", "CaptureReader", "open_capture"]

_BATCH: Final = 4096
_ETHERNET_HEADER: Final = 14


def open_capture(
    path: str | os.PathLike[str],
    *,
    kernels: Kernels = REFERENCE,
    wrap: bool = False,
    limit: int | None = None,
    unpack_limit: int = UNPACK_LIMIT,
) -> CaptureFile:
    """Map and index a pcap or pcapng file, plain, gzip or zstd.

    Frames before any damage are there; `damage` says where it is and what. `wrap` gives frames of the link types RAW,
    NULL, LOOP, LINUX_SLL and LINUX_SLL2 an Ethernet header in place of their own; without it only Ethernet
    is taken. `limit` ends the capture after that many frames. `unpack_limit` is in bytes.

    Raises CaptureError: no such file, not a capture, a frame of another link type, more than `unpack_limit` unpacked.
    """
    where = Path(path)
    contents = contents_of(where, limit=unpack_limit)
    try:
        index = build(contents.data, kernels, limit=limit)
    except FormatError as error:
        raise CaptureError(f"{where}: {contents.broken or error}") from error
    if contents.broken and (limit is None or index.frames < limit):
        found = index.damage or Damage(offset=len(contents.data), frames=index.frames, reason="")
        index = replace(index, damage=replace(found, reason=contents.broken))
    for interface, seen in zip(index.interfaces, index.seen, strict=True):
        if seen:
            _check_link_type(where, interface, wrap=wrap)
    return CaptureFile(where, index, kernels)


def _check_link_type(path: Path, interface: Interface, *, wrap: bool) -> None:
    number = interface.link_type
    if number == ETHERNET or (wrap and wrapping(number)):
        return
    of = f" of interface {interface.name}" if interface.name else ""
    what = f"{path}: link type {number} ({link_type_name(number)}){of} is not Ethernet"
    if wrapping(number):
        raise CaptureError(f"{what}; the option 'wrap' gives its frames an Ethernet header")
    raise CaptureError(f"{what}, and there is no way to wrap it")


@final
class CaptureReader:
    """Takes one batch after the other, from some frame on. Not for several threads; a capture may have several."""

    def __init__(self, path: Path, index: Index, kernels: Kernels, first: int) -> None:
        self._path = path
        self._index = index
        self._kernels = kernels
        self._left = max(index.frames - first, 0)
        self._cursor = Cursor(index, kernels, index.frames - self._left)
        self._wraps = any(
            seen and each.link_type != ETHERNET for each, seen in zip(index.interfaces, index.seen, strict=True)
        )

    def take(self, count: int) -> FrameBatch:
        """The next `count` frames, fewer at the end, then none; raises CaptureError when the file has changed."""
        count = max(min(count, self._left), 0)
        columns = self._cursor.take(count)
        if columns is None:
            raise CaptureError(f"{self._path}: the file has changed since it was opened")
        self._left -= count
        memory = self._wrapped(columns) if self._wraps else self._index.data
        return FrameBatch(
            base=address_of(memory),
            offsets=columns.offsets,
            caplens=columns.caplens,
            lengths=columns.lengths,
            timestamps=columns.timestamps,
            interfaces=columns.numbers,
            owner=memory,
        )

    def _wrapped(self, columns: Columns) -> NDArray[np.uint8]:
        """The frames of a batch, copied and wrapped; the columns are changed to match."""
        count = len(columns.offsets)
        room = int(columns.caplens.sum(dtype=np.uint64)) + _ETHERNET_HEADER * count
        memory = np.empty(max(room, 1), np.uint8)
        job = Job(Wrap)
        job[Wrap.BASE], job[Wrap.OUT], job[Wrap.COUNT] = address_of(self._index.data), address_of(memory), count
        job[Wrap.OFFSETS], job[Wrap.CAPLENS] = address_of(columns.offsets), address_of(columns.caplens)
        job[Wrap.LENGTHS], job[Wrap.NUMBERS] = address_of(columns.lengths), address_of(columns.numbers)
        job[Wrap.ROWS] = address_of(self._index.rows)
        self._kernels.wrap(job.address)
        return memory


@final
class CaptureFile:
    """An indexed capture. Its batches may outlive it; they are for reading only.

    `interfaces` are numbered as in batches. `bytes` is the sum of the frames' bytes in the file. `damage` says where the
    file stops making sense, or is None.
    """

    def __init__(self, path: Path, index: Index, kernels: Kernels) -> None:
        self.path = path
        self.interfaces: tuple[Interface, ...] = index.interfaces
        self.damage: Damage | None = index.damage
        self.bytes: int = index.captured
        self._index: Index | None = index
        self._kernels = kernels
        self._count = index.frames

    def __len__(self) -> int:
        """How many frames."""
        return self._count

    def __repr__(self) -> str:
        return f"<capture {self.path}: {self._count} frames>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; its memory goes when no batch is left. Twice is harmless."""
        self._index = None

    @property
    def first_timestamp(self) -> int | None:
        """Nanoseconds since the epoch, of the first frame; None without frames."""
        return self._timestamp(0)

    @property
    def last_timestamp(self) -> int | None:
        """Nanoseconds since the epoch, of the last frame in the file; None without frames."""
        return self._timestamp(self._count - 1)

    @property
    def ethernet_interfaces(self) -> tuple[Interface, ...]:
        """The interfaces as the frames of batches are: wrapped ones have Ethernet's link type."""
        return tuple(
            replace(each, link_type=ETHERNET) if wrapping(each.link_type) else each for each in self.interfaces
        )

    def reader(self, first: int = 0) -> CaptureReader:
        """A reader that begins at frame number `first`; raises CaptureError when the capture is closed."""
        if self._index is None:
            raise CaptureError(f"{self.path}: the capture is closed")
        return CaptureReader(self.path, self._index, self._kernels, first)

    def batch(self, first: int, count: int) -> FrameBatch:
        """Up to `count` frames from number `first` on; raises CaptureError, as the reader does."""
        return self.reader(first).take(count)

    def batches(self, size: int = _BATCH) -> Iterator[FrameBatch]:
        """All frames, `size` in each batch but the last; raises CaptureError, as the reader does."""
        reader = self.reader()
        while len(batch := reader.take(size)):
            yield batch

    def _timestamp(self, number: int) -> int | None:
        return int(self.batch(number, 1).timestamps[0]) if self._count else None
