"""The kernels in plain Python: what each loop means, slowly.

Not here: speed. Tests hold the compiled kernels against these, and a capture opened without others uses them.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from netdev.capture.format import BLOCK_HEADER, MAX_CAPLEN, PACKET_HEADER, RECORD_HEADER, Block
from netdev.capture.kernels import NO_COMMENT, VERDICT_TYPE, Clock, Format, Kernels, Row, Stop, Walk, Wrap
from netdev.capture.linktypes import Wrapping

__all__ = ["REFERENCE"]

_WORD: Final = 1 << 64
_SECOND: Final = 10**9
_SMALLEST_BLOCK: Final = 12
_SIMPLE_HEADER: Final = 12
_ETHERNET_HEADER: Final = 14
_PACKETS: Final = (Block.ENHANCED_PACKET, Block.PACKET, Block.SIMPLE_PACKET)


def _memory(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B") if size else memoryview(b"")


@final
class _Words:
    """A job, or any other record of words, by byte offset."""

    def __init__(self, address: int, size: int) -> None:
        self._memory = _memory(address, size)

    def __getitem__(self, field: int) -> int:
        word: int = struct.unpack_from("<q", self._memory, field)[0]
        return word

    def __setitem__(self, field: int, word: int) -> None:
        struct.pack_into("<q", self._memory, field, word)


def _job(address: int, kind: type[IntEnum]) -> _Words:
    return _Words(address, 8 * len(kind))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """A frame as a record describes it: where its bytes begin in the file, and the rest of a batch's columns."""

    offset: int
    caplen: int
    length: int
    timestamp: int
    number: int


def _emit(job: _Words, frame: _Frame) -> None:
    """Count a frame, and put it into the arrays where there are some."""
    done = job[Walk.DONE]
    if job[Walk.OFFSETS]:
        for field, code, value in (
            (Walk.OFFSETS, "<Q", frame.offset),
            (Walk.CAPLENS, "<I", frame.caplen),
            (Walk.LENGTHS, "<I", frame.length),
            (Walk.TIMESTAMPS, "<Q", frame.timestamp % _WORD),
            (Walk.NUMBERS, "<I", frame.number),
        ):
            width = struct.calcsize(code)
            struct.pack_into(code, _memory(job[field] + width * done, width), 0, value)
    _memory(job[Walk.USED] + frame.number, 1)[0] = 1
    job[Walk.DONE] = done + 1
    job[Walk.CAPTURED] += frame.caplen


def _walk_pcap(address: int) -> int:
    job = _job(address, Walk)
    data = _memory(job[Walk.DATA], job[Walk.SIZE])
    order = ">" if job[Walk.BIG] else "<"
    job[Walk.DONE] = job[Walk.CAPTURED] = 0
    while job[Walk.DONE] < job[Walk.COUNT]:
        at = job[Walk.AT]
        left = len(data) - at
        if left < RECORD_HEADER:
            return Stop.CUT_HEADER if left else Stop.END
        seconds, fraction, caplen, length = struct.unpack_from(order + "IIII", data, at)
        if caplen > MAX_CAPLEN:
            return Stop.TOO_LONG
        if left < RECORD_HEADER + caplen:
            return Stop.CUT_BODY
        timestamp = seconds * _SECOND + fraction * job[Walk.FRACTION]
        _emit(job, _Frame(offset=at + RECORD_HEADER, caplen=caplen, length=length, timestamp=timestamp, number=0))
        job[Walk.AT] = at + RECORD_HEADER + caplen
    return Stop.DONE


def _walk_pcapng(address: int) -> int:
    job = _job(address, Walk)
    data = _memory(job[Walk.DATA], job[Walk.SIZE])
    order = ">" if job[Walk.BIG] else "<"
    job[Walk.DONE] = job[Walk.CAPTURED] = 0
    while job[Walk.DONE] < job[Walk.COUNT]:
        at = job[Walk.AT]
        left = len(data) - at
        if left < _SMALLEST_BLOCK:
            return Stop.CUT_HEADER if left else Stop.END
        kind, length = struct.unpack_from(order + "II", data, at)
        if kind in (Block.SECTION, Block.INTERFACE):
            return Stop.HEADER
        if length < _SMALLEST_BLOCK or length % 4:
            return Stop.BLOCK_LENGTH
        if left < length:
            return Stop.CUT_BODY
        if struct.unpack_from(order + "I", data, at + length - 4)[0] != length:
            return Stop.TRAILER
        if kind in _PACKETS:
            frame = _packet(job, data[at : at + length], at, kind, order)
            if isinstance(frame, Stop):
                return frame
            _emit(job, frame)
        job[Walk.AT] = at + length
    return Stop.DONE


def _packet(job: _Words, block: memoryview, at: int, kind: int, order: str) -> _Frame | Stop:
    if kind == Block.SIMPLE_PACKET:
        return _simple(job, block, at, order)
    room = len(block) - PACKET_HEADER - 4
    if room < 0:
        return Stop.BLOCK_LENGTH
    number, high, low, caplen, length = struct.unpack_from(order + "IIIII", block, BLOCK_HEADER)
    if kind == Block.PACKET:
        (number,) = struct.unpack_from(order + "H", block, BLOCK_HEADER)
    if number >= job[Walk.INTERFACES]:
        return Stop.INTERFACE
    if caplen > MAX_CAPLEN:
        return Stop.TOO_LONG
    if caplen > room:
        return Stop.OVERRUN
    number += job[Walk.FIRST]
    timestamp = _nanoseconds(_row(job[Walk.ROWS], number), high << 32 | low)
    return _Frame(offset=at + PACKET_HEADER, caplen=caplen, length=length, timestamp=timestamp, number=number)


def _simple(job: _Words, block: memoryview, at: int, order: str) -> _Frame | Stop:
    room = len(block) - _SIMPLE_HEADER - 4
    if room < 0:
        return Stop.BLOCK_LENGTH
    if not job[Walk.INTERFACES]:
        return Stop.INTERFACE
    (length,) = struct.unpack_from(order + "I", block, BLOCK_HEADER)
    number = job[Walk.FIRST]
    snaplen = _row(job[Walk.ROWS], number)[Row.SNAPLEN]
    caplen = min(length, snaplen or length)
    if caplen > MAX_CAPLEN:
        return Stop.TOO_LONG
    if caplen > room:
        return Stop.OVERRUN
    return _Frame(offset=at + _SIMPLE_HEADER, caplen=caplen, length=length, timestamp=0, number=number)


def _row(rows: int, number: int) -> _Words:
    return _Words(rows + number * Row.SIZE, Row.SIZE)


def _nanoseconds(row: _Words, units: int) -> int:
    factor = row[Row.FACTOR] % _WORD
    match Clock(row[Row.CLOCK]):
        case Clock.TIMES:
            nanoseconds = units * factor
        case Clock.OVER:
            nanoseconds = units // factor if factor else 0
        case Clock.BINARY:
            nanoseconds = units * _SECOND >> factor
    return nanoseconds + row[Row.ADDED]


def _wrap(address: int) -> int:
    job = _job(address, Wrap)
    count = job[Wrap.COUNT]
    offsets = _memory(job[Wrap.OFFSETS], 8 * count).cast("Q")
    caplens = _memory(job[Wrap.CAPLENS], 4 * count).cast("I")
    lengths = _memory(job[Wrap.LENGTHS], 4 * count).cast("I")
    numbers = _memory(job[Wrap.NUMBERS], 4 * count).cast("I")
    at = 0
    for index in range(count):
        frame = bytes(_memory(job[Wrap.BASE] + offsets[index], caplens[index]))
        new = _wrapped(frame, Wrapping(_row(job[Wrap.ROWS], numbers[index])[Row.WRAPPING]))
        _memory(job[Wrap.OUT] + at, len(new))[:] = new
        offsets[index] = at
        lengths[index] = max(lengths[index] + len(new) - len(frame), 0) % (1 << 32)
        caplens[index] = len(new)
        at += len(new)
    return 0


def _wrapped(frame: bytes, how: Wrapping) -> bytes:
    """The frame behind an Ethernet header."""
    nothing = bytes(_ETHERNET_HEADER)
    match how:
        case Wrapping.NONE:
            return frame
        case Wrapping.IP | Wrapping.IP_AFTER_4:
            packet = frame[4:] if how is Wrapping.IP_AFTER_4 else frame
            kinds = {4: b"\x08\x00", 6: b"\x86\xdd"}
            return bytes(12) + (kinds.get(packet[0] >> 4, bytes(2)) if packet else bytes(2)) + packet
        case Wrapping.SLL:
            if len(frame) < 16:
                return nothing
            source = frame[6:12] if frame[4:6] == b"\x00\x06" else bytes(6)
            return bytes(6) + source + frame[14:]
        case Wrapping.SLL2:
            if len(frame) < 20:
                return nothing
            source = frame[12:18] if frame[11] == 6 else bytes(6)
            return bytes(6) + source + frame[:2] + frame[20:]


def _batch(job: _Words, index: int) -> tuple[bytes, int, int, int]:
    """Frame `index` of the batch of a formatting: its bytes, length, timestamp, interface."""

    def element(field: Format, code: str) -> int:
        width = struct.calcsize(code)
        value: int = struct.unpack(code, _memory(job[field] + width * index, width))[0]
        return value

    frame = bytes(_memory(job[Format.BASE] + element(Format.OFFSETS, "<Q"), element(Format.CAPLENS, "<I")))
    length = max(element(Format.LENGTHS, "<I"), len(frame))
    return frame, length, element(Format.TIMESTAMPS, "<Q"), element(Format.NUMBERS, "<I")


def _format(address: int, *, enhanced: bool) -> int:
    job = _job(address, Format)
    done = 0
    job[Format.USED] = 0
    while job[Format.AT] < job[Format.COUNT]:
        index = struct.unpack("<I", _memory(job[Format.SELECTION] + 4 * job[Format.AT], 4))[0]
        record = _enhanced(job, index) if enhanced else _classic(job, index)
        used = job[Format.USED]
        if used + len(record) > job[Format.ROOM]:
            break
        _memory(job[Format.OUT] + used, len(record))[:] = record
        job[Format.USED] = used + len(record)
        job[Format.AT] += 1
        done += 1
    return done


def _classic(job: _Words, index: int) -> bytes:
    frame, length, timestamp, _ = _batch(job, index)
    seconds, rest = divmod(timestamp, _SECOND)
    return struct.pack("<IIII", seconds % (1 << 32), rest // job[Format.FRACTION], len(frame), length) + frame


def _enhanced(job: _Words, index: int) -> bytes:
    frame, length, timestamp, number = _batch(job, index)
    head = struct.pack(
        "<IIIII", number + job[Format.FIRST], timestamp >> 32, timestamp & 0xFFFF_FFFF, len(frame), length
    )
    options = b""
    comment = NO_COMMENT
    if job[Format.COMMENTS]:
        (comment,) = struct.unpack("<I", _memory(job[Format.COMMENTS] + 4 * index, 4))
    if comment != NO_COMMENT:
        text, size = struct.unpack("<qq", _memory(job[Format.TEXTS] + 16 * comment, 16))
        options += struct.pack("<HH", 1, size) + bytes(_memory(text, size)) + bytes(-size % 4)
    if job[Format.IDS]:
        options += struct.pack("<HH", 5, 8) + bytes(_memory(job[Format.IDS] + 8 * index, 8))
    if job[Format.VERDICTS]:
        value = bytes(_memory(job[Format.VERDICTS] + 8 * index, 8))
        options += struct.pack("<HHB", 7, 9, VERDICT_TYPE) + value + bytes(3)
    if options:
        options += bytes(4)
    body = head + frame + bytes(-len(frame) % 4) + options
    total = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", Block.ENHANCED_PACKET) + total + body + total


def _format_pcap(address: int) -> int:
    return _format(address, enhanced=False)


def _format_pcapng(address: int) -> int:
    return _format(address, enhanced=True)


REFERENCE: Final = Kernels(
    walk_pcap=_walk_pcap,
    walk_pcapng=_walk_pcapng,
    wrap=_wrap,
    format_pcap=_format_pcap,
    format_pcapng=_format_pcapng,
)
"""Kernels that need no compiler: some microseconds a frame."""
