"""Walking over the records of a mapped capture, as natives: one load a record, and the next one is guessed.

Not here: what the words of a job mean (netdev.capture.kernels), which is also where the same walk stands in plain Python.

Where a record begins depends on the length of the one before, a chain of loads that each wait for the last. Captures
are full of runs of one length, so inside a run the next place is computed from a length in a register, and
the load only checks it: the processor runs ahead. Where lengths vary and records are long, the lines ahead
are prefetched. Every bound is checked against the file's size before memory is read.
"""

from __future__ import annotations

from typing import Final

from netdev.capture import MAX_CAPLEN, Block, Clock, Row, Stop, Walk
from runtime.native import (
    bswap16,
    bswap32,
    likely,
    load16,
    load32,
    load64,
    mulhi,
    native,
    prefetch,
    shr,
    store8,
    store32,
    store64,
    udiv,
)

__all__ = ["walk_pcap", "walk_pcapng"]

_LINE: Final = 64
_AHEAD: Final = 4096
_LONG: Final = 192  # the hardware follows shorter steps by itself
_SECOND: Final = 10**9


@native
def _word(p: int, big: int) -> int:
    value = load32(p)
    return bswap32(value) if big != 0 else value


@native
def _fetch(data: int, at: int, fetched: int) -> int:
    """Prefetch from where that was left off to a window ahead of `at`; returns where it ends now."""
    line = max(at, fetched)
    while line < at + _AHEAD:
        prefetch(data + line)
        line += _LINE
    return line


@native
def _same_records(first: int, last: int, raw: int, stride: int) -> int:
    """How many records from `first` to `last`, in steps of `stride`, have that length; the first one has."""
    p = first + stride
    found = 1
    while p <= last and load32(p + 8) == raw:
        p += stride
        found += 1
    return found


@native
def _put_records(job: int, done: int, first: int, last: int, raw: int, stride: int) -> int:
    """The same, with the frames put into the arrays from index `done` on."""
    big = load64(job + Walk.BIG)
    fraction = load64(job + Walk.FRACTION)
    offsets = load64(job + Walk.OFFSETS) + 8 * done
    caplens = load64(job + Walk.CAPLENS) + 4 * done
    lengths = load64(job + Walk.LENGTHS) + 4 * done
    timestamps = load64(job + Walk.TIMESTAMPS) + 8 * done
    numbers = load64(job + Walk.NUMBERS) + 4 * done
    offset = first - load64(job + Walk.DATA) + 16
    p = first
    found = 0
    while p <= last and load32(p + 8) == raw:
        store64(timestamps + 8 * found, _word(p, big) * _SECOND + _word(p + 4, big) * fraction)
        store64(offsets + 8 * found, offset)
        store32(caplens + 4 * found, stride - 16)
        store32(lengths + 4 * found, _word(p + 12, big))
        store32(numbers + 4 * found, 0)
        offset += stride
        p += stride
        found += 1
    return found


@native
def _emit(job: int, done: int, offset: int, caplen: int, length: int, timestamp: int, number: int) -> int:
    store64(load64(job + Walk.OFFSETS) + 8 * done, offset)
    store32(load64(job + Walk.CAPLENS) + 4 * done, caplen)
    store32(load64(job + Walk.LENGTHS) + 4 * done, length)
    store64(load64(job + Walk.TIMESTAMPS) + 8 * done, timestamp)
    store32(load64(job + Walk.NUMBERS) + 4 * done, number)
    return 0


@native
def _leave(job: int, at: int, done: int, captured: int, stop: int) -> int:
    store64(job + Walk.AT, at)
    store64(job + Walk.DONE, done)
    store64(job + Walk.CAPTURED, captured)
    return stop


@native
def walk_pcap(job: int) -> int:
    """Kernels.walk_pcap."""
    data = load64(job + Walk.DATA)
    size = load64(job + Walk.SIZE)
    at = load64(job + Walk.AT)
    count = load64(job + Walk.COUNT)
    big = load64(job + Walk.BIG)
    emits = load64(job + Walk.OFFSETS)
    done = 0
    captured = 0
    fetched = 0
    while done < count:
        left = size - at
        if left < 16:
            return _leave(job, at, done, captured, Stop.END if left == 0 else Stop.CUT_HEADER)
        raw = load32(data + at + 8)
        caplen = bswap32(raw) if big != 0 else raw
        if caplen > MAX_CAPLEN:
            return _leave(job, at, done, captured, Stop.TOO_LONG)
        stride = 16 + caplen
        if left < stride:
            return _leave(job, at, done, captured, Stop.CUT_BODY)
        if stride > _LONG:
            fetched = _fetch(data, at, fetched)
        store8(load64(job + Walk.USED), 1)
        last = data + min(size - stride, at + (count - done - 1) * stride)
        if emits != 0:
            run = _put_records(job, done, data + at, last, raw, stride)
        else:
            run = _same_records(data + at, last, raw, stride)
        at += run * stride
        done += run
        captured += run * caplen
    return _leave(job, at, done, captured, Stop.DONE)


@native
def _row(job: int, number: int) -> int:
    return load64(job + Walk.ROWS) + number * Row.SIZE


@native
def _nanoseconds(row: int, units: int) -> int:
    clock = load64(row + Row.CLOCK)
    factor = load64(row + Row.FACTOR)
    added = load64(row + Row.ADDED)
    if likely(clock == Clock.TIMES):
        return units * factor + added
    if clock == Clock.OVER:
        return udiv(units, factor) + added
    high = mulhi(units, _SECOND)
    if factor == 0:
        return units * _SECOND + added
    if factor >= 64:
        return shr(high, factor - 64) + added
    return (shr(units * _SECOND, factor) | high << (64 - factor)) + added


@native
def _number(p: int, kind: int, big: int) -> int:
    """The interface within the section that an enhanced or obsolete packet block says its frame is of."""
    if kind == Block.PACKET:
        low = load16(p + 8)
        return bswap16(low) if big != 0 else low
    return _word(p + 8, big)


@native
def _fault(caplen: int, number: int, interfaces: int, room: int) -> int:
    """Why a frame cannot be, or 0."""
    if number >= interfaces:
        return Stop.INTERFACE
    if caplen > MAX_CAPLEN:
        return Stop.TOO_LONG
    return Stop.OVERRUN if caplen > room else 0


@native
def _is_packet(kind: int) -> int:
    return 1 if kind == Block.ENHANCED_PACKET or kind == Block.PACKET else 0  # noqa: PLR1714 - natives have no tuples


@native
def _block(job: int, at: int, left: int, big: int) -> int:
    """The length of the block at `at`, or a Stop, negative, when the walk ends before it."""
    p = load64(job + Walk.DATA) + at
    if left < 12:
        return -Stop.END if left == 0 else -Stop.CUT_HEADER
    kind = _word(p, big)
    if kind == Block.SECTION:
        return -Stop.HEADER
    if kind == Block.INTERFACE:
        return -Stop.HEADER
    length = _word(p + 4, big)
    if length < 12 or length & 3 != 0:
        return -Stop.BLOCK_LENGTH
    if left < length:
        return -Stop.CUT_BODY
    if load32(p + length - 4) != load32(p + 4):
        return -Stop.TRAILER
    return length


@native
def _packets(job: int, at: int, kind: int, length: int, emits: int) -> int:
    """Meet a run of packet blocks of one length, the first of them at `at`; returns 0, or why it ends early."""
    big = load64(job + Walk.BIG)
    interfaces = load64(job + Walk.INTERFACES)
    number = load64(job + Walk.FIRST)
    used = load64(job + Walk.USED) + number
    captured = load64(job + Walk.CAPTURED)
    done = load64(job + Walk.DONE)
    data = load64(job + Walk.DATA)
    p = data + at
    last = data + min(load64(job + Walk.SIZE) - length, at + (load64(job + Walk.COUNT) - done - 1) * length)
    head = load64(p)
    tail = load32(p + 4)
    fault = 0
    while p <= last and load64(p) == head and load32(p + length - 4) == tail:
        caplen = _word(p + 20, big)
        inside = _number(p, kind, big)
        fault = _fault(caplen, inside, interfaces, length - 32)
        if fault != 0:
            break
        if emits != 0:
            units = _word(p + 12, big) << 32 | _word(p + 16, big)
            timestamp = _nanoseconds(_row(job, number + inside), units)
            _emit(job, done, p + 28 - data, caplen, _word(p + 24, big), timestamp, number + inside)
        store8(used + inside, 1)
        captured += caplen
        done += 1
        p += length
    store64(job + Walk.AT, p - data)
    store64(job + Walk.DONE, done)
    store64(job + Walk.CAPTURED, captured)
    return fault


@native
def _simple(job: int, at: int, length: int, emits: int) -> int:
    """Meet a simple packet block; returns 0, or why not."""
    if length < 16:
        return Stop.BLOCK_LENGTH
    p = load64(job + Walk.DATA) + at
    wire = _word(p + 8, load64(job + Walk.BIG))
    number = load64(job + Walk.FIRST)
    caplen = wire
    if load64(job + Walk.INTERFACES) != 0:
        snaplen = load64(_row(job, number) + Row.SNAPLEN)
        caplen = min(wire, snaplen) if snaplen != 0 else wire
    fault = _fault(caplen, 0, load64(job + Walk.INTERFACES), length - 16)
    if fault != 0:
        return fault
    done = load64(job + Walk.DONE)
    if emits != 0:
        _emit(job, done, at + 12, caplen, wire, 0, number)
    store8(load64(job + Walk.USED) + number, 1)
    store64(job + Walk.AT, at + length)
    store64(job + Walk.DONE, done + 1)
    store64(job + Walk.CAPTURED, load64(job + Walk.CAPTURED) + caplen)
    return 0


@native
def walk_pcapng(job: int) -> int:
    """Kernels.walk_pcapng."""
    data = load64(job + Walk.DATA)
    big = load64(job + Walk.BIG)
    emits = load64(job + Walk.OFFSETS)
    fetched = 0
    store64(job + Walk.DONE, 0)
    store64(job + Walk.CAPTURED, 0)
    while load64(job + Walk.DONE) < load64(job + Walk.COUNT):
        at = load64(job + Walk.AT)
        length = _block(job, at, load64(job + Walk.SIZE) - at, big)
        if length <= 0:
            return -length
        kind = _word(data + at, big)
        if length > _LONG:
            fetched = _fetch(data, at, fetched)
        fault = 0
        if _is_packet(kind) != 0:
            fault = Stop.BLOCK_LENGTH if length < 32 else _packets(job, at, kind, length, emits)
        elif kind == Block.SIMPLE_PACKET:
            fault = _simple(job, at, length, emits)
        else:
            store64(job + Walk.AT, at + length)
        if fault != 0:
            return fault
    return Stop.DONE
