"""Frames in batches, and the two methods that every source and sink of frames has.

Not here: where frames come from (capture/, backends/) and what is decided about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Disposition", "FrameBatch", "Port"]


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
