"""A port whose wire is a queue in memory: what examples and tests plug in.

Not here: speed; its frames are Python's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import final

import numpy as np
from numpy.typing import NDArray

from netdev.errors import InterfaceError
from netdev.port import FrameBatch, pack

__all__ = ["MemoryPort"]


@final
class MemoryPort:
    """Gives the frames that were queued and keeps those that were sent, in `sent`."""

    def __init__(self, frames: Iterable[bytes] = ()) -> None:
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._closed = False
        self.sent: list[bytes] = []
        for frame in frames:
            self.queue(frame)

    def queue(self, frame: bytes, *, timestamp: int = 0) -> None:
        """Put a frame on the wire, as received at `timestamp` (nanoseconds since the epoch)."""
        self._waiting.append((bytes(frame), timestamp))

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` of the queued frames, oldest first; raises InterfaceError when the port is closed."""
        self._check()
        taken = [self._waiting.popleft() for _ in range(min(budget, len(self._waiting)))]
        return pack([frame for frame, _ in taken], timestamps=[timestamp for _, timestamp in taken])

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Append copies of the frames at these indices to `sent`; raises InterfaceError when the port is closed."""
        self._check()
        self.sent.extend(batch.frame(int(index)) for index in selection)
        return len(selection)

    def close(self) -> None:
        """Forget what is queued; `sent` stays. Twice is harmless."""
        self._closed = True
        self._waiting.clear()

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the memory port is closed")
