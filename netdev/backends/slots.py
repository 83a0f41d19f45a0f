"""The half of a packet port that receives through a ring of slots (TPACKET_V2): a frame is there as soon as it has come.

Not here: the ring of blocks (packet.py), which receives more frames a second and gives them out a millisecond later.

A frame that is larger than a slot is copied once more: the kernel marks its slot and the whole of it is read from the socket, in order.
"""

from __future__ import annotations

import mmap
import socket
import struct
import time
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.backends.columns import MOST_FRAMES, Columns
from netdev.backends.loops import Gather, Loops, Status
from netdev.capture import Job, address_of

__all__ = ["SlotRing"]

_PACKET: Final = 263  # SOL_PACKET; the names below without PACKET_
_RX_RING: Final = 5
_COPY_THRESH: Final = 7
_VERSION: Final = 10
_VNET_HDR: Final = 15
_TPACKET_V2: Final = 1
_RCVBUFFORCE: Final = 33
_RECEIVE_BUFFER: Final = 16 << 20

_BLOCK: Final = 1 << 17
_SIZE: Final = 64 << 20
_SMALLEST: Final = 1 << 11
_LARGEST: Final = 1 << 14
_BEFORE: Final = 128  # bytes of a slot before its frame, and room for tags
_MOST: Final = (1 << 16) + 256
_LARGE: Final = 1 << 22  # bytes for frames that are read, of one batch
_BUSY: Final = 8  # frames of a batch, from which on more are waited for
_NAP: Final = 0.0001


@final
class SlotRing:
    """The ring of a socket, for frames of an interface of that MTU, and the job over it."""

    def __init__(self, made: socket.socket, mtu: int) -> None:
        made.setsockopt(_PACKET, _VERSION, _TPACKET_V2)
        made.setsockopt(_PACKET, _VNET_HDR, 1)
        made.setsockopt(_PACKET, _COPY_THRESH, 1)
        made.setblocking(False)
        try:
            made.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _RECEIVE_BUFFER)
        except OSError:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        size = min(max(1 << (mtu + _BEFORE - 1).bit_length(), _SMALLEST), _LARGEST)
        made.setsockopt(_PACKET, _RX_RING, struct.pack("=4I", _BLOCK, _SIZE // _BLOCK, size, _SIZE // size))
        mapped = mmap.mmap(made.fileno(), _SIZE, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._ring = np.frombuffer(mapped, np.uint8)
        self._large: NDArray[np.uint8] = np.zeros(_LARGE, np.uint8)
        self._first = self._ring.view(np.uint32)[:: size // 4]
        base = min(address_of(self._ring), address_of(self._large))
        self.columns = Columns(base, (self._ring, self._large))
        self.job = Job(Gather)
        for word, value in (
            (Gather.DESCRIPTOR, made.fileno()),
            (Gather.RING, address_of(self._ring)),
            (Gather.SLOTS, _SIZE // size),
            (Gather.SLOT_SIZE, size),
            (Gather.BUFFER, address_of(self._large)),
            (Gather.ROOM, _LARGE),
            (Gather.MOST, _MOST),
            (Gather.BASE, base),
        ):
            self.job[word] = value
        self.columns.put(self.job, Gather)
        self._busy = False

    def take(self, loops: Loops, budget: int) -> int:
        """Gather; returns how many frames there are."""
        self.job[Gather.BUDGET] = min(budget, MOST_FRAMES)
        count = loops.gather(self.job.address)
        if count:
            self._busy = count >= _BUSY
        return count

    @property
    def cut(self) -> int:
        """Frames of which only the beginning was there."""
        return self.job[Gather.CUT]

    def pending(self) -> bool:
        """Whether a frame waits. Where many came just now a moment is let pass: the kernel wakes once for all that come in it."""
        if self._busy:
            self._busy = False
            time.sleep(_NAP)
        return bool(self._first[self.job[Gather.BEGUN] % self.job[Gather.SLOTS]] & Status.USER)
