"""Frames of other link types copied behind an Ethernet header, as a native.

Not here: which link types those are (netdev.capture.linktypes).
"""

from __future__ import annotations

from netdev.capture import Row, Wrap, Wrapping
from runtime.native import load8, load16, load32, load64, memcpy, memzero, native, store16, store32, store64

__all__ = ["wrap"]

_IPV4 = 0x0008  # EtherTypes as they lie in memory
_IPV6 = 0xDD86
_SIX = 0x0600


@native
def _ip(out: int, packet: int, size: int) -> int:
    """A packet that begins with its version: zero addresses and the EtherType of the version."""
    memzero(out, 14)
    if size > 0:
        version = load8(packet) >> 4
        if version == 4:
            store16(out + 12, _IPV4)
        if version == 6:
            store16(out + 12, _IPV6)
    memcpy(out + 14, packet, size)
    return 14 + size


@native
def _cooked(out: int, frame: int, size: int, header: int, source: int, known: int, protocol: int) -> int:
    """A frame behind a cooked header: its protocol, and its source address where six bytes are known."""
    memzero(out, 14)
    if size < header:
        return 14
    if known != 0:
        memcpy(out + 6, frame + source, 6)
    store16(out + 12, load16(frame + protocol))
    memcpy(out + 14, frame + header, size - header)
    return 14 + size - header


@native
def _one(out: int, frame: int, size: int, how: int) -> int:
    """Write a frame at `out`; returns its new size."""
    if how == Wrapping.IP:
        return _ip(out, frame, size)
    if how == Wrapping.IP_AFTER_4:
        skipped = min(size, 4)
        return _ip(out, frame + skipped, size - skipped)
    if how == Wrapping.SLL:
        known = 0
        if size >= 16:
            known = 1 if load16(frame + 4) == _SIX else 0
        return _cooked(out, frame, size, 16, 6, known, 14)
    if how == Wrapping.SLL2:
        known = 0
        if size >= 20:
            known = 1 if load8(frame + 11) == 6 else 0
        return _cooked(out, frame, size, 20, 12, known, 0)
    memcpy(out, frame, size)
    return size


@native
def wrap(job: int) -> int:
    """Kernels.wrap."""
    base = load64(job + Wrap.BASE)
    out = load64(job + Wrap.OUT)
    rows = load64(job + Wrap.ROWS)
    at = 0
    for index in range(load64(job + Wrap.COUNT)):
        offset = load64(job + Wrap.OFFSETS) + 8 * index
        caplen = load64(job + Wrap.CAPLENS) + 4 * index
        length = load64(job + Wrap.LENGTHS) + 4 * index
        number = load32(load64(job + Wrap.NUMBERS) + 4 * index)
        size = load32(caplen)
        new = _one(out + at, base + load64(offset), size, load64(rows + number * Row.SIZE + Row.WRAPPING))
        store64(offset, at)
        store32(length, max(load32(length) + new - size, 0))
        store32(caplen, new)
        at += new
    return 0
