"""A port that is an interface: the host's stack sends what the port receives and receives what it transmits (TAP).

Not here: addresses and routes of the interface, and setting it up (netdev.topology).

Frames pass with a virtio_net_hdr, so that neither side has to finish checksums or cut segments early.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import threading
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.backends.columns import MOST_FRAMES, Columns, describe
from netdev.backends.interface import ETHERNET_HEADER, Link, refusal, waited
from netdev.backends.loops import HEADER_SIZE, Deliver, Loops, Take
from netdev.backends.reference import REFERENCE
from netdev.capture import Job, address_of
from netdev.errors import InterfaceError
from netdev.port import FrameBatch, PortState, PortStatistics

__all__ = ["TapPort", "open_tap"]

_ROUTE: Final = 0  # NETLINK_ROUTE
_DEVICE: Final = "/dev/net/tun"
_SET_INTERFACE: Final = 0x4004_54CA
_SET_OFFLOAD: Final = 0x4004_54D0
_SET_HEADER_SIZE: Final = 0x4004_54D8
_GET_INTERFACE: Final = 0x8004_54D2
_TAP: Final = 0x0002
_NO_PI: Final = 0x1000
_VNET_HDR: Final = 0x4000
_EXCLUSIVE: Final = 0x8000
_CHECKSUMS_AND_TCP: Final = 0x01 | 0x02 | 0x04 | 0x08  # partial checksums, TSO of IPv4 and IPv6, with ECN
_UDP_SEGMENTS: Final = 0x20 | 0x40
_BUFFER: Final = 1 << 21
_MOST: Final = HEADER_SIZE + ETHERNET_HEADER + 8 + (1 << 16)
_LONGEST: Final = 1 << 16


@final
class TapPort:
    """A live port that made its own interface, which goes when it is closed; made by `open_tap`.

    One thread at a time may receive, transmit and close; any may ask for statistics and the state.
    """

    def __init__(self, descriptor: int, link: Link, through: socket.socket, loops: Loops) -> None:
        self._descriptor = descriptor
        self._link = link
        self._socket = through
        self._loops = loops
        self._closed = False
        self._counting = threading.Lock()
        self._received = self._lost = 0
        self.name = link.name
        self.ifindex = link.ifindex
        self.mac = link.address()
        self.mtu = link.mtu() or 0
        self._memory = np.zeros(_BUFFER, np.uint8)
        address = address_of(self._memory)
        self._columns = Columns(address, self._memory)
        self._take = Job(Take)
        self._take[Take.DESCRIPTOR] = descriptor
        self._take[Take.BUFFER] = address
        self._take[Take.ROOM] = _BUFFER
        self._take[Take.MOST] = _MOST
        self._columns.put(self._take, Take)
        self._deliver = Job(Deliver)
        self._deliver[Deliver.DESCRIPTOR] = descriptor
        self._deliver[Deliver.LIMIT] = _LONGEST
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` frames that the stack sent, at most 4,096 or 2 MiB of them, valid until the next call.

        Raises InterfaceError when closed.
        """
        self._check()
        self._take[Take.BUDGET] = min(budget, MOST_FRAMES)
        count = self._loops.take(self._take.address)
        self._received += count
        return self._columns.batch(count)

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Give the frames at these indices to the stack, as if they had arrived; those are refused while it is down.

        Returns how many are done with. Raises InterfaceError when closed.
        """
        self._check()
        held = describe(self._deliver, Deliver, batch, selection)
        done = self._loops.deliver(self._deliver.address)
        del held
        return done

    def fileno(self) -> int:
        """The TAP's descriptor; raises InterfaceError when closed."""
        self._check()
        return self._descriptor

    def wait(self, seconds: float) -> bool:
        """Until the stack has sent something, or the interface is gone, or time is over; raises InterfaceError when closed."""
        self._check()
        return waited(self._poll, seconds)

    def statistics(self) -> PortStatistics:
        """Counts since the port was opened; `lost` are frames that the stack sent while the TAP's queue was full."""
        with self._counting:
            if not self._closed:
                self._lost = max(self._link.overrun(), self._lost)
        job = self._deliver
        return PortStatistics(
            received=self._received,
            lost=self._lost,
            transmitted=job[Deliver.TRANSMITTED],
            refused=job[Deliver.REFUSED],
            too_long=job[Deliver.TOO_LONG],
        )

    def state(self) -> PortState:
        """What the interface is doing; somebody else may have removed it. Raises InterfaceError when closed."""
        self._check()
        self.mtu = self._link.mtu() or self.mtu
        return self._link.state()

    def close(self) -> None:
        """Remove the interface. Twice is harmless."""
        if self._closed:
            return
        self.statistics()
        with self._counting:
            self._closed = True
        os.close(self._descriptor)
        self._socket.close()

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError(f"{self.name}: the port is closed")


def open_tap(name: str, *, mac: bytes, mtu: int, loops: Loops = REFERENCE) -> TapPort:
    """A new TAP interface of that name, MAC and MTU in the namespace of the calling thread, not yet set up.

    Raises InterfaceError: an interface of that name is there, not permitted, an address or MTU that cannot be.
    """
    with contextlib.ExitStack() as undo:
        try:
            descriptor = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise InterfaceError(f"{name}: cannot make a TAP: {_DEVICE} is not there (modprobe tun)") from None
        except OSError as error:
            raise refusal(error, name, "make a TAP") from error
        undo.callback(os.close, descriptor)
        through = undo.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _ROUTE))
        try:
            _make(descriptor, name)
            link = Link(name, through)
            link.set_address(mac)
            link.set_mtu(mtu)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise InterfaceError(f"{name}: cannot make a TAP: an interface of that name is there") from error
            raise refusal(error, name, "make a TAP with this address and MTU") from error
        port = TapPort(descriptor, link, through, loops)
        undo.pop_all()
    return port


def _make(descriptor: int, name: str) -> None:
    flags = _TAP | _NO_PI | _VNET_HDR | _EXCLUSIVE
    fcntl.ioctl(descriptor, _SET_INTERFACE, struct.pack("=16sH22x", os.fsencode(name)[:15], flags))
    fcntl.ioctl(descriptor, _SET_HEADER_SIZE, struct.pack("=i", HEADER_SIZE))
    try:
        fcntl.ioctl(descriptor, _SET_OFFLOAD, _CHECKSUMS_AND_TCP | _UDP_SEGMENTS)
    except OSError:  # a kernel before 6.2 does not know UDP segments
        fcntl.ioctl(descriptor, _SET_OFFLOAD, _CHECKSUMS_AND_TCP)
