"""The loops over frames that live ports need, as a record of functions; nothing else there runs once a frame.

Not here: the loops. `reference.py` has them in plain Python, as the oracle of tests and the default; whoever has a
compiler hands in faster ones. Both sides share a *job*: a record of 64-bit words, some of them addresses in this
process. The layouts of rings are those of <linux/if_packet.h> (TPACKET_V3; Gather: TPACKET_V2), that of an offload is struct
virtio_net_hdr of <linux/virtio_net.h>, little-endian.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

__all__ = [
    "HEADER_SIZE",
    "SCRATCH",
    "SLOT_DATA",
    "SLOT_TAG",
    "Call",
    "Collect",
    "Deliver",
    "Gather",
    "Loops",
    "Offload",
    "Segmentation",
    "Send",
    "Status",
    "Take",
]

HEADER_SIZE: Final = 10
"""Bytes of a struct virtio_net_hdr."""
SLOT_DATA: Final = 48
"""Where the header and the frame begin in a slot of a ring that is sent from: behind struct tpacket3_hdr."""
SCRATCH: Final = 2048
"""Frames up to this size are copied behind their header and written at once; longer ones are gathered by the kernel."""


SLOT_TAG: Final = 24
"""Where a slot that was received into has the tag that was taken out of its frame: 16 bits, then 16 bits of its type."""


_CALLS: Final = {"aarch64": (63, 64, 66, 206)}.get(platform.machine(), (0, 1, 20, 44))


class Call(IntEnum):
    """Numbers of system calls on this machine."""

    READ = _CALLS[0]
    WRITE = _CALLS[1]
    WRITEV = _CALLS[2]
    SENDTO = _CALLS[3]


class Status(IntEnum):
    """Bits of a status word, of a block and of a frame received (`status`), and values for a slot to be sent."""

    USER = 1 << 0
    COPY = 1 << 1
    VLAN_VALID = 1 << 4
    TPID_VALID = 1 << 6
    AVAILABLE = 0
    SEND_REQUEST = 1


class Offload(IntEnum):
    """Offsets of the fields of a struct virtio_net_hdr; FLAGS and TYPE are bytes, the others 16-bit words.

    FLAGS bit 0: the checksum at CHECKSUM_START + CHECKSUM_OFFSET covers only the pseudo header so far. TYPE: 0, or how
    the frame is to be cut into pieces of SIZE bytes behind HEADER bytes (a Segmentation).
    """

    FLAGS = 0
    TYPE = 1
    HEADER = 2
    SIZE = 4
    CHECKSUM_START = 6
    CHECKSUM_OFFSET = 8


class Segmentation(IntEnum):
    """How a frame is to be cut. ECN is a bit beside the others."""

    NONE = 0
    TCP4 = 1
    TCP6 = 4
    UDP = 5
    ECN = 0x80


class Collect(IntEnum):
    """Offsets of the words of a collection: frames of a ring that is received into go into arrays.

    RING: its address; BLOCK_SIZE bytes times BLOCKS. BUDGET: how many frames at most. OFFSETS (64 bits), CAPLENS,
    LENGTHS (32), TIMESTAMPS, OFFLOADS (64): the arrays, from index 0 on; offsets count from RING.
    In and out, all 0 at first: HELD: blocks that were given back to the kernel, BEGUN: that were begun to be read, since
    the ring began. LEFT frames of the newest are still to be read, the next of them AT this address. CUT: frames so far
    that were left out because only their beginning is there.
    """

    RING = 0
    BLOCK_SIZE = 8
    BLOCKS = 16
    BUDGET = 24
    OFFSETS = 32
    CAPLENS = 40
    LENGTHS = 48
    TIMESTAMPS = 56
    OFFLOADS = 64
    HELD = 72
    BEGUN = 80
    LEFT = 88
    AT = 96
    CUT = 104


class Gather(IntEnum):
    """Offsets of the words of a gathering: frames of a ring of slots (TPACKET_V2) go into arrays, each as soon as it is there.

    DESCRIPTOR: the socket, which never waits; frames larger than a slot are read from it. RING: SLOTS of SLOT_SIZE bytes. ROOM bytes at
    BUFFER for what is read, MOST for one of them. BUDGET and the arrays are those of Collect; offsets count from BASE, an address
    below all frames. In and out, all 0 at first: HELD: slots that were given back to the kernel, BEGUN: that were read,
    since the ring began. CUT: as in Collect.
    """

    DESCRIPTOR = 0
    RING = 8
    SLOTS = 16
    SLOT_SIZE = 24
    BUFFER = 32
    ROOM = 40
    MOST = 48
    BASE = 56
    BUDGET = 64
    OFFSETS = 72
    CAPLENS = 80
    LENGTHS = 88
    TIMESTAMPS = 96
    OFFLOADS = 104
    HELD = 112
    BEGUN = 120
    CUT = 128


class Send(IntEnum):
    """Offsets of the words of a sending: selected frames of a batch go through a ring to the device.

    DESCRIPTOR: the socket of the ring at RING, SLOTS of SLOT_SIZE bytes. LARGE: a socket without one, for frames that fill
    more than a slot. LIMIT: a frame may have so many bytes, and 4 more for each of at most two VLAN tags, unless it
    is to be segmented. BASE to OFFLOADS: the batch (OFFLOADS may be 0). SELECTION: 32-bit indices, COUNT of them.
    In and out, all 0 at first: HEAD: slots that the kernel has taken, TAIL: that were filled, since the ring began.
    TRANSMITTED, REFUSED, TOO_LONG: frames so far.
    """

    DESCRIPTOR = 0
    LARGE = 8
    RING = 16
    SLOTS = 24
    SLOT_SIZE = 32
    LIMIT = 40
    BASE = 48
    OFFSETS = 56
    CAPLENS = 64
    OFFLOADS = 72
    SELECTION = 80
    COUNT = 88
    HEAD = 96
    TAIL = 104
    TRANSMITTED = 112
    REFUSED = 120
    TOO_LONG = 128


class Take(IntEnum):
    """Offsets of the words of a taking: frames are read from a descriptor, one behind the other, into memory.

    DESCRIPTOR gives a header and a frame a read, and never waits. ROOM bytes at BUFFER; a read is made where MOST of them
    are left. BUDGET and the arrays are those of Collect; offsets count from BUFFER.
    """

    DESCRIPTOR = 0
    BUFFER = 8
    ROOM = 16
    MOST = 24
    BUDGET = 32
    OFFSETS = 40
    CAPLENS = 48
    LENGTHS = 56
    TIMESTAMPS = 64
    OFFLOADS = 72


class Deliver(IntEnum):
    """Offsets of the words of a delivery: selected frames of a batch are written to a descriptor, one a write.

    The words are those of Send by the same names, SELECTION and COUNT included.
    """

    DESCRIPTOR = 0
    BASE = 8
    OFFSETS = 16
    CAPLENS = 24
    OFFLOADS = 32
    SELECTION = 40
    COUNT = 48
    LIMIT = 56
    TRANSMITTED = 64
    REFUSED = 72
    TOO_LONG = 80


Loop = Callable[[int], int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Loops:
    """The loops. Each takes the address of a job and returns a number of frames.

    collect(Collect), gather(Gather), take(Take) → those now in the arrays. What is common to them: a VLAN tag that the device took out is
    in the frame again. A checksum that its sender left to be finished is finished, except where the frame is to be
    segmented: then its offload is the address of its header, which otherwise is 0.

    send(Send), deliver(Deliver) → frames of the selection that are done with: sent, refused or too long. What is common
    to both: the offload of a frame to be segmented is made anew, from the frame's own headers and the piece size that it
    had, and so is the sum over its pseudo header; for a frame that is no longer TCP or UDP and too long, it
    is refused. Where the device does not take a frame, those behind it go on.
    """

    collect: Loop
    gather: Loop
    send: Loop
    take: Loop
    deliver: Loop
