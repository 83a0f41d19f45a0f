"""Frames in batches, and the two methods that every source and sink of frames has.

Not here: where frames come from (capture/, backends/) and what is decided about them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Disposition", "FrameBatch", "LivePort", "Port", "PortState", "PortStatistics", "pack"]


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
    nanoseconds since the epoch. `interfaces` index the source's interfaces. `offloads[i]` is the address of the
    frame's 10-byte struct virtio_net_hdr (little-endian), which says that it is to be cut into segments before a real
    wire; 0, or no array at all, where the bytes are the frame.
    """

    base: int
    offsets: NDArray[np.uint64]
    caplens: NDArray[np.uint32]
    lengths: NDArray[np.uint32]
    timestamps: NDArray[np.uint64]
    interfaces: NDArray[np.uint32]
    owner: object = field(repr=False)
    offloads: NDArray[np.uint64] | None = None

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


class PortState(StrEnum):
    """What an interface is doing: UP: it runs. DOWN: set down, or without carrier. GONE: removed from the system."""

    UP = "up"
    DOWN = "down"
    GONE = "gone"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatistics:
    """Frames since the port was opened.

    received: given out by `receive`. lost: there was no room for them before they were taken. cut: only their beginning
    was there, they were not given out. transmitted: handed to the device. refused: the device did not take them
    (it is down, its queue is full), or it could not: shorter than an Ethernet header, or to be segmented in a way
    that nobody knows. too_long: longer than the interface allows.
    """

    received: int = 0
    lost: int = 0
    transmitted: int = 0
    refused: int = 0
    too_long: int = 0
    cut: int = 0


class LivePort(Port, Protocol):
    """A port over an interface of the running system.

    What happens to the interface raises nothing in `receive` and `transmit`: no frames come, those sent are refused,
    and `state` says why. A closed port, and whatever the system does not permit, raise InterfaceError. The frames of a
    batch are valid until the next `receive` of the same port.
    """

    @property
    def name(self) -> str:
        """The interface's name when the port was opened."""
        ...

    @property
    def ifindex(self) -> int:
        """The interface's number."""
        ...

    @property
    def mac(self) -> bytes:
        """The interface's hardware address, 6 bytes."""
        ...

    @property
    def mtu(self) -> int:
        """How many bytes may follow the Ethernet header, as of the last look at the interface."""
        ...

    def fileno(self) -> int:
        """What to poll for frames to receive."""
        ...

    def wait(self, seconds: float) -> bool:
        """Until there are frames to receive, or something happened to the interface, or time is over: then False."""
        ...

    def statistics(self) -> PortStatistics:
        """Counts since the port was opened."""
        ...

    def state(self) -> PortState:
        """What the interface is doing now."""
        ...
