"""How fast a capture is indexed, from opening the file to an index that batches can be taken from, with the file cached.

Not here: programs.

The index holds the number of frames and their bytes, the interfaces and whether frames are of them, damage if there
is any, and a mark every 65,536 frames to walk from. The pages of a cached file are as large as the writes that
made it, and mapping many small ones takes longer than walking over the records: both kinds of file are measured.
"""

from __future__ import annotations

import os
import statistics
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netdev.capture import open_capture
from xdp.natives import NATIVE

__all__ = ["Scan", "scans"]

_FILE_SIZE = 150_000_000
_SIZES = (64, 512, 1500)
_WRITES = (1 << 20, 1 << 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One file: frames of `frame_bytes`, written `written_by` bytes at a time; seconds to its index."""

    frame_bytes: int
    written_by: int
    records: int
    file_bytes: int
    seconds_min: float
    seconds_median: float

    @property
    def records_per_second(self) -> float:
        """By the median."""
        return self.records / self.seconds_median


def scans(folder: Path, rounds: int) -> Iterator[Scan]:
    """Measure each kind of file, one after the other; no file is left in the folder."""
    path = folder / "scan.pcap"
    for frame_bytes in _SIZES:
        for written_by in _WRITES:
            records = _write(path, frame_bytes, written_by)
            times = [_index(path, records) for _ in range(rounds + 1)][1:]
            yield Scan(
                frame_bytes=frame_bytes,
                written_by=written_by,
                records=records,
                file_bytes=path.stat().st_size,
                seconds_min=min(times),
                seconds_median=statistics.median(times),
            )
            path.unlink()


def _write(path: Path, frame_bytes: int, written_by: int) -> int:
    """Write a capture and wait until it is on the disk, so that its writing does not go on while it is measured."""
    record = struct.pack("<IIII", 1, 0, frame_bytes, frame_bytes) + bytes(frame_bytes)
    records = _FILE_SIZE // len(record)
    data = memoryview(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1) + record * records)
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(data), written_by):
            file.write(data[at : at + written_by])
        os.fsync(file.fileno())
    return records


def _index(path: Path, records: int) -> float:
    """Seconds from the file's name to its index."""
    started = time.perf_counter()
    capture = open_capture(path, kernels=NATIVE)
    seconds = time.perf_counter() - started
    assert len(capture) == records
    capture.close()
    return seconds
