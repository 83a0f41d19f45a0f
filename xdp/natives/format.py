"""Frames of a batch written as pcap and pcapng records, as natives.

Not here: file and section headers, which are written once (netdev.capture.format).
"""

from __future__ import annotations

from netdev.capture import NO_COMMENT, VERDICT_TYPE, Block, Format
from runtime.native import load32, load64, memcpy, native, store8, store32, store64, udiv, urem

__all__ = ["format_pcap", "format_pcapng"]

_SECOND = 10**9
_COMMENT = 1 | 0 << 16
_PACKET_ID = 5 | 8 << 16
_VERDICT = 7 | 9 << 16


@native
def _index(job: int, at: int) -> int:
    return load32(load64(job + Format.SELECTION) + 4 * at)


@native
def _column32(job: int, column: int, index: int) -> int:
    return load32(load64(job + column) + 4 * index)


@native
def _column64(job: int, column: int, index: int) -> int:
    return load64(load64(job + column) + 8 * index)


@native
def _leave(job: int, at: int, used: int) -> int:
    done = at - load64(job + Format.AT)
    store64(job + Format.AT, at)
    store64(job + Format.USED, used)
    return done


@native
def format_pcap(job: int) -> int:
    """Kernels.format_pcap."""
    room = load64(job + Format.ROOM)
    used = 0
    at = load64(job + Format.AT)
    while at < load64(job + Format.COUNT):
        index = _index(job, at)
        caplen = _column32(job, Format.CAPLENS, index)
        if used + 16 + caplen > room:
            return _leave(job, at, used)
        out = load64(job + Format.OUT) + used
        timestamp = _column64(job, Format.TIMESTAMPS, index)
        store32(out, udiv(timestamp, _SECOND))
        store32(out + 4, udiv(urem(timestamp, _SECOND), load64(job + Format.FRACTION)))
        store32(out + 8, caplen)
        store32(out + 12, max(_column32(job, Format.LENGTHS, index), caplen))
        memcpy(out + 16, load64(job + Format.BASE) + _column64(job, Format.OFFSETS, index), caplen)
        used += 16 + caplen
        at += 1
    return _leave(job, at, used)


@native
def _text(job: int, index: int) -> int:
    """Where the comment of a frame is described, or 0."""
    if load64(job + Format.COMMENTS) == 0:
        return 0
    comment = _column32(job, Format.COMMENTS, index)
    return 0 if comment == NO_COMMENT else load64(job + Format.TEXTS) + 16 * comment


@native
def _options_size(job: int, text: int) -> int:
    size = 0
    if text != 0:
        size += 4 + (load64(text + 8) + 3 & -4)
    if load64(job + Format.IDS) != 0:
        size += 12
    if load64(job + Format.VERDICTS) != 0:
        size += 16
    return size + 4 if size != 0 else 0


@native
def _put_options(job: int, index: int, text: int, out: int) -> int:
    """Write the options of a frame; returns where they end."""
    p = out
    if text != 0:
        size = load64(text + 8)
        store32(p + (size + 3 & -4), 0)  # the padding, under what is written next
        store32(p, _COMMENT | size << 16)
        memcpy(p + 4, load64(text), size)
        p += 4 + (size + 3 & -4)
    if load64(job + Format.IDS) != 0:
        store32(p, _PACKET_ID)
        store64(p + 4, _column64(job, Format.IDS, index))
        p += 12
    if load64(job + Format.VERDICTS) != 0:
        store32(p, _VERDICT)
        store32(p + 12, 0)
        store8(p + 4, VERDICT_TYPE)
        store64(p + 5, _column64(job, Format.VERDICTS, index))
        p += 16
    if p != out:
        store32(p, 0)
        p += 4
    return p


@native
def format_pcapng(job: int) -> int:
    """Kernels.format_pcapng."""
    room = load64(job + Format.ROOM)
    used = 0
    at = load64(job + Format.AT)
    while at < load64(job + Format.COUNT):
        index = _index(job, at)
        caplen = _column32(job, Format.CAPLENS, index)
        padded = caplen + 3 & -4
        text = _text(job, index)
        total = 32 + padded + _options_size(job, text)
        if used + total > room:
            return _leave(job, at, used)
        out = load64(job + Format.OUT) + used
        timestamp = _column64(job, Format.TIMESTAMPS, index)
        store32(out, Block.ENHANCED_PACKET)
        store32(out + 4, total)
        store32(out + 8, load64(job + Format.FIRST) + _column32(job, Format.NUMBERS, index))
        store32(out + 12, udiv(timestamp, 1 << 32))
        store32(out + 16, timestamp)
        store32(out + 20, caplen)
        store32(out + 24 + padded, 0)  # the padding, under what is written next
        store32(out + 24, max(_column32(job, Format.LENGTHS, index), caplen))
        memcpy(out + 28, load64(job + Format.BASE) + _column64(job, Format.OFFSETS, index), caplen)
        _put_options(job, index, text, out + 28 + padded)
        store32(out + total - 4, total)
        used += total
        at += 1
    return _leave(job, at, used)
