"""A port over libpcap, through pypcap: works where libpcap works, and is what the fast ports are compared with.

Not here: speed (Python runs once a frame), and the offloads of virtual links, of which libpcap tells nothing: where
checksums are left to be finished, they stay unfinished, so have the sender finish them (`ethtool -K … tx off`).
"""

from __future__ import annotations

import contextlib
import select
import socket
from types import ModuleType
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.backends.interface import ETHERNET_HEADER, Link, waited
from netdev.errors import InterfaceError
from netdev.port import FrameBatch, PortState, PortStatistics, pack

__all__ = ["PcapPort", "open_pcap"]

_SNAPLEN: Final = 1 << 18
_BUFFER: Final = 1 << 24
_ETHERNET: Final = 1  # DLT_EN10MB


@final
class PcapPort:
    """A live port over a libpcap handle; made by `open_pcap`. One thread at a time."""

    def __init__(self, handle: Any, link: Link, through: socket.socket) -> None:
        self._handle = handle
        self._link = link
        self._socket = through
        self._closed = False
        self._received = self._transmitted = self._refused = self._too_long = self._cut = self._lost = 0
        self.name = link.name
        self.ifindex = link.ifindex
        self.mac = link.address()
        self.mtu = link.mtu() or 0
        self._poll = select.poll()
        self._poll.register(handle.fileno(), select.POLLIN)

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` frames; they are copies. Raises InterfaceError when closed."""
        self._check()
        times: list[int] = []
        frames: list[bytes] = []

        def keep(time: int, frame: bytes) -> None:
            times.append(int(time))
            frames.append(bytes(frame))

        with contextlib.suppress(OSError):  # the interface went down or away: `state` says it
            self._handle.dispatch(max(budget, 1), keep)
        self._received += len(frames)
        return pack(frames, timestamps=times)

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Send the frames at these indices; returns how many are done with: all. Raises InterfaceError when closed."""
        self._check()
        for index in selection:
            frame = batch.frame(int(index))
            if len(frame) > self.mtu + ETHERNET_HEADER + 8:
                self._too_long += 1
                continue
            try:
                self._handle.sendpacket(frame)
            except OSError:
                self._refused += 1
            else:
                self._transmitted += 1
        return len(selection)

    def fileno(self) -> int:
        """Libpcap's descriptor; raises InterfaceError when closed."""
        self._check()
        number: int = self._handle.fileno()
        return number

    def wait(self, seconds: float) -> bool:
        """Until there are frames, or the interface went down or away, or time is over; raises InterfaceError when closed."""
        self._check()
        return waited(self._poll, seconds)

    def statistics(self) -> PortStatistics:
        """Counts since the port was opened; `lost` is what libpcap and the interface say."""
        if not self._closed:
            _, lost, lost_before = self._handle.stats()
            self._lost = lost + lost_before
        return PortStatistics(
            received=self._received,
            lost=self._lost,
            transmitted=self._transmitted,
            refused=self._refused,
            too_long=self._too_long,
            cut=self._cut,
        )

    def state(self) -> PortState:
        """What the interface is doing; raises InterfaceError when closed."""
        self._check()
        self.mtu = self._link.mtu() or self.mtu
        return self._link.state()

    def close(self) -> None:
        """Stop. Twice is harmless."""
        if self._closed:
            return
        self.statistics()
        self._closed = True
        self._handle.close()
        self._socket.close()

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError(f"{self.name}: the port is closed")


def _pypcap() -> ModuleType:
    try:
        import pcap
    except ImportError:
        raise InterfaceError("libpcap is used through pypcap, which is not installed (pip install pypcap)") from None
    found: ModuleType = pcap
    return found


def open_pcap(name: str, *, promisc: bool = False) -> PcapPort:
    """A port over the interface of that name, in the namespace of the calling thread.

    Frames come at once (immediate mode) with times in nanoseconds, where libpcap has both. Raises InterfaceError: pypcap is
    not installed, no such interface, not Ethernet, not permitted.
    """
    pcap = _pypcap()
    through = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        link = Link(name, through)
        link.address()
        handle = _opened(pcap, name, promisc=promisc)
    except BaseException:
        through.close()
        raise
    return PcapPort(handle, link, through)


def _opened(pcap: Any, name: str, *, promisc: bool) -> Any:
    options = {"snaplen": _SNAPLEN, "promisc": promisc, "timeout_ms": 1, "immediate": True, "buffer_size": _BUFFER}
    try:
        handle = pcap.pcap(name, timestamp_in_ns=True, **options)
    except OSError as error:
        if "ermi" in str(error):
            raise InterfaceError(
                f"{name}: not permitted to capture: this needs CAP_NET_RAW (run as root, or grant it)"
            ) from error
        raise InterfaceError(f"{name}: libpcap cannot open it: {' '.join(str(error).split())}") from error
    handle.setnonblock()
    handle.setdirection(pcap.PCAP_D_IN)
    if handle.datalink() != _ETHERNET:
        raise InterfaceError(f"{name}: its frames are not Ethernet (link type {handle.datalink()})")
    return handle
