"""A port over packet sockets: frames come and go through rings that are shared with the kernel (TPACKET_V3).

Not here: loops over frames, which whoever has a compiler hands in as `Loops`; what an interface is (interface.py).

Two sockets. The receiving one has a ring of slots (slots.py) or of blocks: the kernel closes a block when it is full or a millisecond old, so
a frame waits up to that long, and the number of blocks is how many milliseconds a reader may be late. It has no ring to
send from, and so also sends what is larger than a slot. The sending one has a ring of slots. Both speak virtio_net_hdr: it
says where a checksum is unfinished and which frames are to be cut into segments, and a header whose length
field covers the whole frame makes the kernel copy the frame at once, which virtual devices would do later at a higher price.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import select
import socket
import struct
import threading
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.backends.columns import MOST_FRAMES, Columns, describe
from netdev.backends.interface import ETHERNET_HEADER, Link, refusal
from netdev.backends.loops import Collect, Loops, Send
from netdev.backends.reference import REFERENCE
from netdev.backends.slots import SlotRing
from netdev.capture import Job, address_of
from netdev.errors import InterfaceError
from netdev.port import FrameBatch, PortState, PortStatistics

__all__ = ["PacketPort", "open_packet"]

_PACKET: Final = 263  # SOL_PACKET; the names below without PACKET_
_ADD_MEMBERSHIP: Final = 1
_DROP_MEMBERSHIP: Final = 2
_RX_RING: Final = 5
_STATISTICS: Final = 6
_VERSION: Final = 10
_TX_RING: Final = 13
_LOSS: Final = 14
_VNET_HDR: Final = 15
_FANOUT: Final = 18
_QDISC_BYPASS: Final = 20
_IGNORE_OUTGOING: Final = 23
_TPACKET_V3: Final = 2
_PROMISCUOUS: Final = 1
_EVERY_PROTOCOL: Final = 3
_SNDBUFFORCE: Final = 32
_ATTACH_FILTER: Final = 26
_DETACH_FILTER: Final = 27
_NOTHING: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF_RET 0, a classic program of one instruction
_ADDRESS: Final = "=iHH8s"  # struct packet_mreq

_RETIRE_MS: Final = 1
_FRAME_SIZE: Final = 2048  # for rx only a divisor; for tx the slot
_SLOTS: Final = 1024
_SEND_BUFFER: Final = 8 << 20
_SMALLEST_BLOCK: Final = 1 << 17  # a super-frame of 64 KiB fits
_FEWEST_BLOCKS: Final = 8


@final
class PacketPort:
    """A live port over the rings of two packet sockets; made by `open_packet`.

    One thread at a time may receive, transmit and close; any may ask for statistics and the state.
    """

    def __init__(self, link: Link, receiving: _Receiving, sending: _Sending, loops: Loops) -> None:
        self._link = link
        self._receiving = receiving
        self._sending = sending
        self._loops = loops
        self._closed = False
        self._counting = threading.Lock()
        self._received = self._lost = 0
        self.name = link.name
        self.ifindex = link.ifindex
        self.mac = link.address()
        self.mtu = 0
        self._poll = select.poll()
        self._poll.register(receiving.socket, select.POLLIN)
        self._look()

    def listen(self) -> None:
        """Begin to receive, where the port was opened with `mute`; raises InterfaceError when closed."""
        self._check()
        self._receiving.listen()

    def receive(self, budget: int) -> FrameBatch:
        """Up to `budget` frames, at most 4,096; they point into the ring and are valid until the next call.

        The blocks of those that were given out before go back to the kernel. Raises InterfaceError when closed.
        """
        self._check()
        ring = self._receiving.ring
        count = ring.take(self._loops, budget)
        self._received += count
        return ring.columns.batch(count)

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Copy the frames at these indices into the ring and send them.

        Returns how many are done with: sent, or counted as refused or too long. It is fewer than given when the device is
        behind; try the rest again later. Raises InterfaceError when closed.
        """
        self._check()
        job = self._sending.job
        too_long = job[Send.TOO_LONG]
        held = describe(job, Send, batch, selection)
        done = self._loops.send(job.address)
        del held
        if job[Send.TOO_LONG] != too_long:
            self._look()  # the MTU may have been changed
        return done

    def fileno(self) -> int:
        """The receiving socket; raises InterfaceError when closed."""
        self._check()
        return self._receiving.socket.fileno()

    def wait(self, seconds: float) -> bool:
        """Until there are frames or the interface went down or away; raises InterfaceError when closed."""
        self._check()
        if self._receiving.ring.pending():
            return True
        happened = self._poll.poll(max(seconds, 0) * 1000)
        if happened and happened[0][1] & select.POLLERR:
            self._acknowledge()
        return bool(happened)

    def statistics(self) -> PortStatistics:
        """Counts since the port was opened; `lost` are frames for which the ring had no block."""
        self._count()
        sent = self._sending.job
        return PortStatistics(
            received=self._received,
            lost=self._lost,
            transmitted=sent[Send.TRANSMITTED],
            refused=sent[Send.REFUSED],
            too_long=sent[Send.TOO_LONG],
            cut=self._receiving.ring.cut,
        )

    def state(self) -> PortState:
        """What the interface is doing; raises InterfaceError when closed."""
        self._check()
        self._acknowledge()
        self._look()
        return self._link.state()

    def close(self) -> None:
        """Stop; batches that somebody still holds keep their memory, and nothing more is received into it. Twice is harmless."""
        if self._closed:
            return
        self._count()
        with self._counting:
            self._closed = True
        self._receiving.close(self.ifindex)
        self._sending.close()

    def _acknowledge(self) -> None:
        """What happened to the interface is told once; until then poll goes on about it."""
        for each in (self._receiving.socket, self._sending.socket):
            each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _count(self) -> None:
        """Reading the socket's counters clears them."""
        with self._counting:
            if not self._closed:
                data = self._receiving.socket.getsockopt(_PACKET, _STATISTICS, 12)
                self._lost += struct.unpack_from("=II", data)[1]

    def _look(self) -> None:
        mtu = self._link.mtu()
        if mtu is not None:
            self.mtu = mtu
            self._sending.job[Send.LIMIT] = mtu + ETHERNET_HEADER

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError(f"{self.name}: the port is closed")


@final
class _Ring:
    """Memory shared with the kernel; it stays mapped as long as somebody holds `memory`."""

    def __init__(self, through: socket.socket, size: int) -> None:
        mapped = mmap.mmap(through.fileno(), size, mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self.memory = np.frombuffer(mapped, np.uint8)
        self.address = address_of(self.memory)


@final
class _BlockRing:
    """The ring of blocks of a socket (TPACKET_V3), and the job over it."""

    def __init__(self, made: socket.socket, block_size: int, blocks: int) -> None:
        made.setsockopt(_PACKET, _VERSION, _TPACKET_V3)
        made.setsockopt(_PACKET, _VNET_HDR, 1)
        frames = block_size // _FRAME_SIZE * blocks
        geometry = struct.pack("=7I", block_size, blocks, _FRAME_SIZE, frames, _RETIRE_MS, 0, 0)
        made.setsockopt(_PACKET, _RX_RING, geometry)
        ring = _Ring(made, block_size * blocks)
        self.columns = Columns(ring.address, ring.memory)
        self.job = Job(Collect)
        self.job[Collect.RING] = ring.address
        self.job[Collect.BLOCK_SIZE] = block_size
        self.job[Collect.BLOCKS] = blocks
        self.columns.put(self.job, Collect)

    def take(self, loops: Loops, budget: int) -> int:
        """Collect; returns how many frames there are."""
        self.job[Collect.BUDGET] = min(budget, MOST_FRAMES)
        return loops.collect(self.job.address)

    @property
    def cut(self) -> int:
        """Frames of which only the beginning was there."""
        return self.job[Collect.CUT]

    def pending(self) -> bool:
        """Whether frames of a block are left."""
        return self.job[Collect.LEFT] != 0


@final
class _Receiving:
    """The socket that is received from, bound to the interface, and its ring."""

    def __init__(
        self, link: Link, made: socket.socket, ring: _BlockRing | SlotRing, *, promisc: bool, mute: bool
    ) -> None:
        self.socket = made
        self.ring = ring
        self._promisc = promisc
        made.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
        made.setsockopt(_PACKET, _QDISC_BYPASS, 1)
        _enlarge(made)
        if promisc:
            made.setsockopt(_PACKET, _ADD_MEMBERSHIP, struct.pack(_ADDRESS, link.ifindex, _PROMISCUOUS, 0, b""))
        if mute:
            self._mute()
        made.bind((link.current_name(), _EVERY_PROTOCOL))

    def _mute(self) -> None:
        nothing = ctypes.create_string_buffer(_NOTHING)
        self.socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(nothing)))

    def listen(self) -> None:
        with contextlib.suppress(OSError):  # nothing was attached
            self.socket.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, struct.pack("=i", 0))

    def close(self, ifindex: int) -> None:
        """The mapping keeps the socket alive, so it is told to take no more frames."""
        with contextlib.suppress(OSError):
            self._mute()
        if self._promisc:
            with contextlib.suppress(OSError):
                mreq = struct.pack(_ADDRESS, ifindex, _PROMISCUOUS, 0, b"")
                self.socket.setsockopt(_PACKET, _DROP_MEMBERSHIP, mreq)
        self.socket.close()
        del self.ring.columns


@final
class _Sending:
    """The socket that is sent through, its ring and the job over it."""

    def __init__(self, link: Link, made: socket.socket, large: socket.socket) -> None:
        self.socket = made
        made.setsockopt(_PACKET, _QDISC_BYPASS, 1)
        made.setsockopt(_PACKET, _VERSION, _TPACKET_V3)
        made.setsockopt(_PACKET, _VNET_HDR, 1)
        made.setsockopt(_PACKET, _LOSS, 1)
        size = _SLOTS * _FRAME_SIZE
        made.setsockopt(_PACKET, _TX_RING, struct.pack("=7I", size >> 4, 16, _FRAME_SIZE, _SLOTS, 0, 0, 0))
        self._ring: _Ring | None = _Ring(made, size)
        self.job = Job(Send)
        self.job[Send.DESCRIPTOR] = made.fileno()
        self.job[Send.LARGE] = large.fileno()
        self.job[Send.RING] = self._ring.address
        self.job[Send.SLOTS] = _SLOTS
        self.job[Send.SLOT_SIZE] = _FRAME_SIZE
        _enlarge(made)
        made.bind((link.current_name(), 0))

    def close(self) -> None:
        self.socket.close()
        self._ring = None


def _enlarge(made: socket.socket) -> None:
    """More room for what the device has not yet sent, where that is permitted."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _SEND_BUFFER)
    except OSError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


def open_packet(
    name: str,
    *,
    loops: Loops = REFERENCE,
    fanout: int | None = None,
    promisc: bool = False,
    mute: bool = False,
    prompt: bool = False,
    block_size: int = 1 << 17,
    blocks: int = 512,
) -> PacketPort:
    """A port over the interface of that name, in the namespace of the calling thread.

    Ports of one process that are opened with the same `fanout`, a number below 65,536, share the interface's frames: those of
    one flow go to one port. `promisc` takes frames to other stations as well, as long as the port is open. `mute` receives nothing
    until `listen` is called. `prompt` gives each frame out as soon as it has come, and fewer of them a second; without it, a
    millisecond later. Without it, the ring has `blocks`
    of `block_size` bytes, a power of two of at least 128 KiB. An interface that is down can be opened. Raises
    InterfaceError: no such interface, not Ethernet, not permitted, no memory.
    """
    if block_size < _SMALLEST_BLOCK or block_size & (block_size - 1) or blocks < _FEWEST_BLOCKS:
        raise InterfaceError(f"{name}: a ring has at least {_FEWEST_BLOCKS} blocks, of a power of two from 128 KiB on")
    if fanout is not None and not 0 <= fanout < 1 << 16:
        raise InterfaceError(f"{name}: the fanout group {fanout} is not a number below 65,536")
    with contextlib.ExitStack() as undo:
        try:
            made = [undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)) for _ in range(2)]
            link = Link(name, made[0])
            link.address()  # first: other errors would hide that it is no Ethernet
            ring = SlotRing(made[0], link.mtu() or 0) if prompt else _BlockRing(made[0], block_size, blocks)
            receiving = _Receiving(link, made[0], ring, promisc=promisc, mute=mute)
            if fanout is not None:
                made[0].setsockopt(_PACKET, _FANOUT, fanout)
            port = PacketPort(link, receiving, _Sending(link, made[1], made[0]), loops)
        except OSError as error:
            raise refusal(error, name, "open packet sockets on it") from error
        undo.pop_all()
    return port
