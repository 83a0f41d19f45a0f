"""`PcapWriter` and `PcapngWriter`: frames of batches into capture files, a whole batch in a few calls.

Not here: the loop over frames (kernels.py) and the promise that a file is whole (atomic.py).

Both write beside the final name and rename in `close`; leaving a with block by an exception removes what was written.
Both raise OSError where the system refuses (no such folder, a full disk) and CaptureError where the arguments
do not fit together.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture.atomic import AtomicFile
from netdev.capture.format import MAX_CAPLEN, Interface, interface_block, pcap_header, section_block
from netdev.capture.kernels import NO_COMMENT, Format, Job, Kernel, Kernels, address_of
from netdev.capture.linktypes import ETHERNET
from netdev.capture.reference import REFERENCE
from netdev.errors import CaptureError
from netdev.port import FrameBatch

__all__ = ["PcapWriter", "PcapngWriter"]

_ROOM: Final = 1 << 19
_LARGEST_TEXT: Final = 0xFFFF
_RECORD: Final = 16
_BLOCK: Final = 32 + 3 + (4 + _LARGEST_TEXT + 1) + 12 + 16 + 4  # all around a frame, at most


class _Writer:
    """A file, and a buffer into which frames are formatted again and again."""

    def __init__(self, path: str | os.PathLike[str], kernel: Kernel, around: int) -> None:
        self._file = AtomicFile(path)
        self._kernel = kernel
        self._around = around
        self._job = Job(Format)
        self._buffer = np.empty(_ROOM, np.uint8)

    def close(self) -> None:
        """Finish the file and give it its name. Twice is harmless."""
        self._file.commit()

    def abort(self) -> None:
        """Remove the file instead."""
        self._file.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def _put(self, batch: FrameBatch, selection: NDArray[np.uint32] | None) -> None:
        """Write the selected frames, all when there is no selection."""
        chosen = np.arange(len(batch)) if selection is None else selection
        if not len(chosen):
            return
        if not 0 <= int(chosen.min()) <= int(chosen.max()) < len(batch):
            raise CaptureError(f"frames {chosen.min()} to {chosen.max()} of a batch of {len(batch)}")
        chosen = np.ascontiguousarray(chosen, np.uint32)
        columns = (
            (Format.SELECTION, chosen),
            (Format.OFFSETS, np.ascontiguousarray(batch.offsets, np.uint64)),
            (Format.CAPLENS, np.ascontiguousarray(batch.caplens, np.uint32)),
            (Format.LENGTHS, np.ascontiguousarray(batch.lengths, np.uint32)),
            (Format.TIMESTAMPS, np.ascontiguousarray(batch.timestamps, np.uint64)),
            (Format.NUMBERS, np.ascontiguousarray(batch.interfaces, np.uint32)),
        )
        room = int(batch.caplens.max()) + self._around
        if room > len(self._buffer):
            self._buffer = np.empty(room, np.uint8)
        job = self._job
        for field, column in columns:
            job[field] = address_of(column)
        job[Format.BASE], job[Format.COUNT], job[Format.AT] = batch.base, len(chosen), 0
        job[Format.OUT], job[Format.ROOM] = address_of(self._buffer), len(self._buffer)
        while job[Format.AT] < len(chosen):
            self._kernel(job.address)
            self._file.write(self._buffer.data[: job[Format.USED]])


@final
class PcapWriter(_Writer):
    """A classic capture file, little-endian, with timestamps in nanoseconds or microseconds."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        nanoseconds: bool = True,
        link_type: int = ETHERNET,
        snaplen: int = MAX_CAPLEN,
        kernels: Kernels = REFERENCE,
    ) -> None:
        super().__init__(path, kernels.format_pcap, _RECORD)
        self._job[Format.FRACTION] = 1 if nanoseconds else 1000
        self._file.write(pcap_header(link_type, snaplen, nanoseconds=nanoseconds))

    def write(self, batch: FrameBatch, selection: NDArray[np.uint32] | None = None) -> None:
        """Add frames of a batch, at these indices and in this order; all of them when no indices are given.

        Seconds past 2106 wrap, as the format has 32 bits for them.
        """
        self._put(batch, selection)


@final
class PcapngWriter(_Writer):
    """A pcapng file of one section, with interfaces, and options on every frame as wanted.

    Timestamps are written in nanoseconds, whatever the unit of an interface was where it was read.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, application: str = "xdpsim", kernels: Kernels = REFERENCE
    ) -> None:
        super().__init__(path, kernels.format_pcapng, _BLOCK)
        self._interfaces = 0
        self._texts: list[NDArray[np.uint8]] = []
        self._numbers: dict[bytes, int] = {}
        self._table = np.zeros((0, 2), np.int64)
        self._file.write(section_block(application))

    def interface(self, interface: Interface) -> int:
        """Describe one more interface; returns its number. Its resolution and offset are not taken over."""
        plain = Interface(
            name=interface.name,
            description=interface.description,
            link_type=interface.link_type,
            snaplen=interface.snaplen,
        )
        self._file.write(interface_block(plain))
        self._interfaces += 1
        return self._interfaces - 1

    def comment(self, text: str) -> int:
        """The number of a comment, the same for the same text; raises CaptureError past 65,535 bytes."""
        encoded = text.encode()
        if len(encoded) > _LARGEST_TEXT:
            raise CaptureError(f"a comment of {len(encoded):,} bytes; a capture takes {_LARGEST_TEXT:,}")
        if encoded not in self._numbers:
            self._numbers[encoded] = len(self._texts)
            self._texts.append(np.frombuffer(bytearray(encoded or b"\0"), np.uint8))
        return self._numbers[encoded]

    def write(
        self,
        batch: FrameBatch,
        selection: NDArray[np.uint32] | None = None,
        *,
        first_interface: int = 0,
        packet_ids: NDArray[np.uint64] | None = None,
        verdicts: NDArray[Any] | None = None,
        comments: NDArray[np.uint32] | None = None,
    ) -> None:
        """Add frames of a batch, at these indices and in this order; all of them when no indices are given.

        `first_interface` is added to the batch's interface numbers. `packet_ids` (64 bits), `verdicts` (what an XDP
        program returned, 64 bits) and `comments` (numbers from `comment`, or NO_COMMENT) have one element for
        each frame of the batch, selected or not. Raises CaptureError.
        """
        if len(batch) and first_interface + int(batch.interfaces.max()) >= self._interfaces:
            raise CaptureError(f"interface {first_interface + int(batch.interfaces.max())} was not described")
        ids = self._column("packet ids", packet_ids, np.uint64, batch)
        values = self._column("verdicts", verdicts, np.int64, batch)
        numbers = self._column("comments", comments, np.uint32, batch)
        if numbers is not None and len(numbers) and not np.all((numbers < len(self._texts)) | (numbers == NO_COMMENT)):
            raise CaptureError("a comment of an unknown number")
        job = self._job
        for field, column in ((Format.IDS, ids), (Format.VERDICTS, values), (Format.COMMENTS, numbers)):
            job[field] = 0 if column is None else address_of(column)
        if len(self._table) < len(self._texts):
            sizes = map(len, self._numbers)
            self._table = np.array([(address_of(text), size) for text, size in zip(self._texts, sizes, strict=True)])
        job[Format.TEXTS], job[Format.FIRST] = address_of(self._table), first_interface
        self._put(batch, selection)

    @staticmethod
    def _column(
        what: str, column: NDArray[Any] | None, kind: type[np.generic], batch: FrameBatch
    ) -> NDArray[Any] | None:
        if column is None:
            return None
        if len(column) != len(batch):
            raise CaptureError(f"{len(column)} {what} for {len(batch)} frames")
        return np.ascontiguousarray(column, kind)
