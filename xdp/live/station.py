"""An interface's place in an attachment: its port while there is one, and the way to a new one when the interface returns.

Not here: the threads that receive (worker.py), and backends (netdev).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.errors import InterfaceError
from netdev.port import FrameBatch, LivePort, PortState, PortStatistics

__all__ = ["Station", "Targets"]

_RETRY: Final = 0.2  # seconds
_PATIENCE: Final = 0.005
_PAUSE: Final = 0.0002
Reopen = Callable[["Station"], LivePort]


@final
class Station:
    """A port that comes and goes with its interface.

    One worker receives from `port`; any thread may `transmit`. `name` and `ifindex` are those that the interface had last;
    `on_mtu` is told when its MTU changes.
    """

    def __init__(self, port: LivePort, reopen: Reopen | None = None) -> None:
        self.name = port.name
        self.ifindex = port.ifindex
        self.mtu = port.mtu
        self.state = PortState.UP
        self.port: LivePort | None = port
        self._reopen = reopen
        self._lock = threading.Lock()
        self._before = PortStatistics()
        self.on_mtu: Callable[[int], None] | None = None
        self._next_try = 0.0

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int | None:
        """Send frames; returns how many the port took, None when there is no port now.

        A device that is behind is given a moment; frames that wait meanwhile wait in the ring of whoever sends.
        """
        sent = 0
        patience = 0.0
        while True:
            with self._lock:
                if self.port is None:
                    return sent or None
                taken = self.port.transmit(batch, selection[sent:] if sent else selection)
            sent += taken
            if sent == len(selection) or patience > _PATIENCE:
                return sent
            patience = 0.0 if taken else patience + _PAUSE
            time.sleep(_PAUSE)

    def look(self) -> PortState:
        """What the interface is doing now. When it has gone, its port is closed; while it is gone, it is looked for."""
        with self._lock:
            if self.port is None:
                self._return()
            else:
                self.state = self.port.state()
                if self.mtu != self.port.mtu:
                    self.mtu = self.port.mtu
                    if self.on_mtu is not None:
                        self.on_mtu(self.mtu)
                if self.state is PortState.GONE:
                    self._before = self._sum()
                    self.port.close()
                    self.port = None
            return self.state

    def _return(self) -> None:
        now = time.monotonic()
        if self._reopen is None or now < self._next_try:
            return
        self._next_try = now + _RETRY
        with suppress(InterfaceError):  # not there yet, or not whole: the next try tells
            port = self._reopen(self)
            self.port, self.name, self.ifindex = port, port.name, port.ifindex
            self.state, self.mtu = port.state(), port.mtu

    def statistics(self) -> PortStatistics:
        """Counts since the attachment began, over all ports that the station had."""
        with self._lock:
            return self._sum()

    def _sum(self) -> PortStatistics:
        if self.port is None:
            return self._before
        now = self.port.statistics()
        names = PortStatistics.__dataclass_fields__
        return PortStatistics(**{name: getattr(now, name) + getattr(self._before, name) for name in names})

    def close(self) -> None:
        """Close the port; its counts stay. Twice is harmless."""
        with self._lock:
            if self.port is not None:
                self._before = self._sum()
                self.port.close()
                self.port = None
            self._reopen = None


@final
class Targets:
    """Where redirects may go: stations of the attachment, and others that are opened when they are first named."""

    def __init__(self, known: dict[int, Station], open_target: Callable[[int], Station | None] | None = None) -> None:
        self._known = known
        self._open = open_target
        self._opened: dict[int, Station] = {}
        self._missing: dict[int, float] = {}
        self._lock = threading.Lock()

    def find(self, ifindex: int) -> Station | None:
        """The station of an interface, by its index; None when there is none that frames can be sent to."""
        found = self._opened.get(ifindex)
        if found is not None and found.port is not None:
            return found
        for station in self._known.values():  # an interface that returned has another index
            if station.ifindex == ifindex:
                return station
        return None if self._open is None or not ifindex else self._fetch(ifindex)

    def _fetch(self, ifindex: int) -> Station | None:
        now = time.monotonic()
        with self._lock:
            found = self._opened.get(ifindex)
            if found is not None and found.look() is not PortState.GONE:
                return found
            if now < self._missing.get(ifindex, 0.0):
                return None
            assert self._open is not None
            opened = self._open(ifindex)
            if opened is None:
                self._missing[ifindex] = now + _RETRY
                return None
            self._opened[ifindex] = opened
            return opened

    def close(self) -> None:
        """Close what was opened for redirects."""
        for each in self._opened.values():
            each.close()
        self._opened.clear()
