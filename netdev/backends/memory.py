"""A port whose wire is a queue in memory: what examples and tests plug in, in place of a live one as well.

Not here: speed; its frames are Python's.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Iterable
from typing import final

import numpy as np
from numpy.typing import NDArray

from netdev.errors import InterfaceError
from netdev.port import FrameBatch, PortState, PortStatistics, pack

__all__ = ["MemoryPort"]


@final
class MemoryPort:
    """Gives the frames that were queued and keeps those that were sent, in `sent`.

    `condition` is the state that it shows: while it is not UP, nothing is received and all that is sent is refused.
    """

    def __init__(
        self,
        frames: Iterable[bytes] = (),
        *,
        name: str = "memory",
        ifindex: int = 1,
        mac: bytes = b"\x02\0\0\0\0\x01",
        mtu: int = 1500,
    ) -> None:
        self.name = name
        self.ifindex = ifindex
        self.mac = mac
        self.mtu = mtu
        self.condition = PortState.UP
        self.sent: list[bytes] = []
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._change = threading.Lock()  # frames may be queued by another thread
        self._bell = -1  # an eventfd, made when it is asked for, that is readable while frames wait
        self._received = self._refused = 0
        self._closed = False
        for frame in frames:
            self.queue(frame)

    def queue(self, frame: bytes, *, timestamp: int = 0) -> None:
        """Put a frame on the wire, as received at `timestamp` (nanoseconds since the epoch)."""
        with self._change:
            self._waiting.append((bytes(frame), timestamp))
            self._ring()

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` of the queued frames, oldest first; raises InterfaceError when the port is closed."""
        self._check()
        with self._change:
            count = min(budget, len(self._waiting)) if self.condition is PortState.UP else 0
            taken = [self._waiting.popleft() for _ in range(count)]
            self._ring()
        self._received += len(taken)
        return pack([frame for frame, _ in taken], timestamps=[timestamp for _, timestamp in taken])

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Append copies of the frames at these indices to `sent`; raises InterfaceError when the port is closed."""
        self._check()
        if self.condition is PortState.UP:
            self.sent.extend(batch.frame(int(index)) for index in selection)
        else:
            self._refused += len(selection)
        return len(selection)

    def fileno(self) -> int:
        """A descriptor that is readable while frames wait; raises InterfaceError when the port is closed."""
        self._check()
        with self._change:
            if self._bell < 0:
                self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._ring()
        return self._bell

    def wait(self, seconds: float) -> bool:
        """Until frames are queued or time is over; raises InterfaceError when the port is closed."""
        return bool(select.select([self.fileno()], [], [], seconds)[0])

    def statistics(self) -> PortStatistics:
        """Counts since the port was made."""
        return PortStatistics(received=self._received, transmitted=len(self.sent), refused=self._refused)

    def state(self) -> PortState:
        """`condition`; raises InterfaceError when the port is closed."""
        self._check()
        return self.condition

    def close(self) -> None:
        """Forget what is queued; `sent` stays. Twice is harmless."""
        self._closed = True
        self._waiting.clear()
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1

    def _ring(self) -> None:
        """Make the descriptor say whether frames wait."""
        if self._bell < 0:
            return
        if self._waiting:
            os.eventfd_write(self._bell, 1)
        else:
            try:
                os.eventfd_read(self._bell)
            except BlockingIOError:
                return

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the memory port is closed")
