"""What virtual links leave for later, done in natives: VLAN tags, checksums, and headers for segmentation.

Not here: rings and descriptors (rings.py, taps.py); what is meant stands in plain Python in netdev.backends.reference.
"""

from __future__ import annotations

from typing import Final

from netdev.backends import HEADER_SIZE, Offload, Segmentation, Status
from runtime.native import (
    bswap16,
    load8,
    load16,
    load32,
    load64,
    memmove,
    memzero,
    native,
    shr,
    store8,
    store16,
    store32,
    unlikely,
)

__all__ = ["headed", "settle", "tag"]

_TAG_8100: Final = 0x0081  # EtherTypes as they lie in memory
_TAG_88A8: Final = 0xA888
_IPV4: Final = 0x0008
_IPV6: Final = 0xDD86
_FRAGMENT: Final = 0xFF3F
_TCP: Final = 6
_UDP: Final = 17
_SCTP_CHECKSUM: Final = 8
_CRC32C: Final = 0x82F6_3B78
_MASK32: Final = 0xFFFF_FFFF
_MASK16: Final = 0xFFFF


@native
def tag(frame: int, kind: int, value: int, status: int) -> int:
    """Put the tag that the device took out of a frame back; the frame then begins 4 before. `value` and `kind`: as the kernel gives them."""
    header = frame - HEADER_SIZE
    memmove(header - 4, header, HEADER_SIZE + 12)
    store16(frame + 8, bswap16(kind) if status & Status.TPID_VALID != 0 else _TAG_8100)
    store16(frame + 10, bswap16(value))
    store16(header - 4 + Offload.HEADER, load16(header - 4 + Offload.HEADER) + 4)
    store16(header - 4 + Offload.CHECKSUM_START, load16(header - 4 + Offload.CHECKSUM_START) + 4)
    return 0


@native
def _fold(total: int) -> int:
    while shr(total, 16) != 0:
        total = (total & _MASK16) + shr(total, 16)
    return total


@native
def _sum(p: int, size: int) -> int:
    """The ones' complement sum of 16-bit words, not yet folded; fits for less than 2 GiB."""
    total = 0
    at = 0
    while at + 8 <= size:
        word = load64(p + at)
        total += (word & _MASK32) + shr(word, 32)
        at += 8
    if size & 4 != 0:
        total += load32(p + at)
        at += 4
    if size & 2 != 0:
        total += load16(p + at)
        at += 2
    if size & 1 != 0:
        total += load8(p + at)
    return total


@native
def _crc32c(p: int, size: int) -> int:
    crc = _MASK32
    for at in range(size):
        crc = crc ^ load8(p + at)
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 != 0 else 0)
    return crc ^ _MASK32


@native
def _finish(frame: int, size: int, start: int, offset: int) -> int:
    place = start + offset
    if offset == _SCTP_CHECKSUM:
        if place + 4 <= size:
            store32(frame + place, 0)
            store32(frame + place, _crc32c(frame + start, size - start))
    elif place + 2 <= size:
        total = ~_fold(_sum(frame + start, size - start)) & _MASK16
        store16(frame + place, _MASK16 if total == 0 else total)
    return 0


@native
def settle(header: int, frame: int, size: int) -> int:
    """Finish the checksum of a frame, unless it is to be segmented; returns its offload."""
    if load8(header + Offload.TYPE) & ~Segmentation.ECN != 0:
        return header
    if load8(header + Offload.FLAGS) & 1 != 0:
        _finish(frame, size, load16(header + Offload.CHECKSUM_START), load16(header + Offload.CHECKSUM_OFFSET))
    return 0


@native
def _is_tag(frame: int, at: int, size: int) -> int:
    if at + 2 > size:
        return 0
    kind = load16(frame + at)
    return 1 if kind == _TAG_8100 or kind == _TAG_88A8 else 0  # noqa: PLR1714, SIM109 - natives have no tuples


@native
def _network(frame: int, size: int) -> int:
    """Where the packet begins behind its tags."""
    at = 12
    if _is_tag(frame, at, size) != 0:
        at += 4
        if _is_tag(frame, at, size) != 0:
            at += 4
    return at + 2


@native
def _pseudo(addresses: int, words: int, protocol: int, rest: int) -> int:
    total = bswap16(protocol) + bswap16(rest)
    for at in range(words):
        total += load32(addresses + 4 * at)
    return _fold(total)


@native
def _put(out: int, kind: int, ends: int, piece: int, start: int, place: int) -> int:
    store8(out + Offload.FLAGS, 1)
    store8(out + Offload.TYPE, kind)
    store16(out + Offload.HEADER, ends)
    store16(out + Offload.SIZE, piece)
    store16(out + Offload.CHECKSUM_START, start)
    store16(out + Offload.CHECKSUM_OFFSET, place)
    return 1


@native
def _transport(frame: int, network: int, size: int) -> int:
    """Where the transport header of an unfragmented packet begins, and its protocol << 32; 0 when not known."""
    kind = load16(frame + network - 2)
    packet = frame + network
    if kind == _IPV4 and network + 20 <= size:
        if load16(packet + 6) & _FRAGMENT != 0:
            return 0
        return network + (load8(packet) & 15) * 4 | load8(packet + 9) << 32
    if kind == _IPV6 and network + 40 <= size:
        return network + 40 | load8(packet + 6) << 32
    return 0


@native
def _segments(out: int, frame: int, size: int, offload: int) -> int:
    """Write the header of a frame to be segmented, and the sum over its pseudo header at `out` + 16; 0: not known how."""
    network = _network(frame, size)
    if network > size:
        return 0
    found = _transport(frame, network, size)
    before = load8(offload + Offload.TYPE)
    piece = load16(offload + Offload.SIZE)
    if found == 0:
        return 0
    if piece == 0:
        return 0
    protocol = found >> 32
    start = found & _MASK32
    rest = size - start
    if rest > _MASK16:
        return 0
    old = 1 if load16(frame + network - 2) == _IPV4 else 0
    kind = Segmentation.UDP
    place = 6
    ends = start + 8
    if protocol == _TCP and rest >= 20:
        kind = Segmentation.TCP4 if old != 0 else Segmentation.TCP6
        place = 16
        ends = start + (load8(frame + start + 12) >> 4) * 4
        if ends < start + 20:
            return 0
    elif protocol != _UDP or rest < 8 or before != Segmentation.UDP:
        return 0
    if ends > size:
        return 0
    addresses = frame + network + (12 if old != 0 else 8)
    store16(out + 16, _pseudo(addresses, 2 if old != 0 else 8, protocol, rest))
    return _put(out, kind | before & Segmentation.ECN, ends, piece, start, place)


@native
def headed(out: int, frame: int, size: int, offload: int, limit: int) -> int:
    """Write the header that a frame goes out with at `out`, 24 bytes of room; the checksum to put in place at `out` + 16.

    Returns 1 when it can go out, 0 when it is too long, -1 when it is to be refused.
    """
    memzero(out, HEADER_SIZE)
    if size < 14:
        return -1
    if unlikely(offload != 0) != 0 and _segments(out, frame, size, offload) != 0:
        return 1
    if size > limit and size > limit + _network(frame, size) - 14:
        return 0 if offload == 0 else -1
    store16(out + Offload.HEADER, size)
    return 1
