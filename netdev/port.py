"""Frames in batches, and the two methods that every source and sink of frames has.

Not here: where frames come from (capture/, backends/) and what is decided about them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Disposition", "FrameBatch", "Port", "pack"]


class Disposition(IntEnum):
    """What becomes of a frame."""

    PASS = 0
    DROP = 1
    TRANSMIT = 2
    REDIRECT = 3


@final
@dataclass(slots=True, kw_only=True)
class FrameBatch:
    """`len(offsets)` frames inside one buffer.

    `base` is the buffer's address in this process, `owner` whatever keeps it alive. Frame i is the `caplens[i]`
    bytes at `base + offsets[i]`; `lengths[i]` is its length on the wire (≥ caplen when it was cut). `timestamps` are
    nanoseconds since the epoch. `interfaces` index the source's interfaces.
    """

    base: int
    offsets: NDArray[np.uint64]
    caplens: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    timestamps: NDArray[np.uint64]
    interfaces: NDArray[np.uint32]
    owner: object = field(repr=False)

    def __len__(self) -> int:
        return len(self.offsets)

    def frame(self, index: int) -> bytes:
        """A copy of one frame; for tests and messages, not for loops over many."""
        return ctypes.string_at(self.base + int(self.offsets[index]), int(self.caplens[index]))


def pack(
    frames: Sequence[bytes],
    *,
    timestamps: Sequence[int] | None = None,
    lengths: Sequence[int] | None = None,
    interfaces: Sequence[int] | None = None,
) -> FrameBatch:
    """A batch of its own memory out of frames in Python; what is not given is 0, and `lengths` those of the frames."""
    count = len(frames)
    caplens = np.fromiter(map(len, frames), np.uint32, count)
    offsets = np.zeros(count, np.uint64)
    np.cumsum(caplens[:-1], out=offsets[1:], dtype=np.uint64)
    memory = np.frombuffer(bytearray(b"".join(frames) or b"\0"), np.uint8)
    return FrameBatch(
        base=memory.__array_interface__["data"][0],
        offsets=offsets,
        caplens=caplens,
        lengths=caplens.copy() if lengths is None else np.array(lengths, np.uint32),
        timestamps=np.zeros(count, np.uint64) if timestamps is None else np.array(timestamps, np.uint64),
        interfaces=np.zeros(count, np.uint32) if interfaces is None else np.array(interfaces, np.uint32),
        owner=memory,
    )


class Port(Protocol):
    """A source and sink of frames."""

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` frames; an empty batch when there are none now."""
        ...

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Send the frames at these indices; returns how many were taken."""
        ...

    def close(self) -> None:
        """Release what the port holds; twice is harmless."""
        ...
