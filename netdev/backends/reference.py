"""The loops of live ports in plain Python: what each means, slowly.

Not here: speed. Tests hold the compiled loops against these, and a port opened without others uses them.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import socket
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final, final

from netdev.backends.loops import (
    HEADER_SIZE,
    SCRATCH,
    SLOT_DATA,
    SLOT_TAG,
    Call,
    Collect,
    Deliver,
    Gather,
    Loops,
    Offload,
    Segmentation,
    Send,
    Status,
    Take,
)

__all__ = ["REFERENCE"]

_SECOND: Final = 10**9
_ETHERNET: Final = 14
_VLAN: Final = 4
_TAGS: Final = (0x8100, 0x88A8)
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_TCP: Final = 6
_UDP: Final = 17
_SCTP_CHECKSUM: Final = 8  # no other protocol has its checksum there
_BLOCK_STATUS: Final = 8
_FRAME_STATUS: Final = 20
_SLOT_LENGTH: Final = 16
_FLUSH_EVERY: Final = 64
_DOWN: Final = (-errno.ENETDOWN, -errno.ENXIO, -errno.ENODEV, -errno.EBADF)
_LATER: Final = (-errno.EAGAIN, -errno.EINTR)


def _memory(address: int, size: int) -> memoryview:
    return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B") if size else memoryview(b"")


def _get(code: str, address: int) -> int:
    value: int = struct.unpack(code, _memory(address, struct.calcsize(code)))[0]
    return value


def _put(code: str, address: int, value: int) -> None:
    struct.pack_into(code, _memory(address, struct.calcsize(code)), 0, value)


@functools.cache
def _libc() -> Callable[..., int]:
    function: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    return function


def _system(call: Call, *words: int) -> int:
    """What a system call returns, or its error with a minus."""
    result = _libc()(ctypes.c_long(call), *map(ctypes.c_long, words))
    return -ctypes.get_errno() if result == -1 else result


@final
class _Job:
    """A job by its offsets, and the frames that it names."""

    def __init__(self, address: int, kind: type[IntEnum]) -> None:
        self._memory = _memory(address, 8 * len(kind))
        self.kind = kind

    def __getitem__(self, field: IntEnum) -> int:
        word: int = struct.unpack_from("<q", self._memory, field)[0]
        return word

    def __setitem__(self, field: IntEnum, word: int) -> None:
        struct.pack_into("<q", self._memory, field, word)

    def emit(self, index: int, offset: int, caplen: int, timestamp: int, offload: int) -> None:
        for name, code, value in (
            ("OFFSETS", "<Q", offset),
            ("CAPLENS", "<I", caplen),
            ("LENGTHS", "<I", caplen),
            ("TIMESTAMPS", "<Q", timestamp),
            ("OFFLOADS", "<Q", offload),
        ):
            _put(code, self[self.kind[name]] + struct.calcsize(code) * index, value)

    def selected(self, at: int) -> tuple[bytes, int]:
        """The bytes of the frame at that place of the selection, and its offload."""
        kind = self.kind
        index = _get("<I", self[kind["SELECTION"]] + 4 * at)
        frame = self[kind["BASE"]] + _get("<Q", self[kind["OFFSETS"]] + 8 * index)
        offloads = self[kind["OFFLOADS"]]
        size = _get("<I", self[kind["CAPLENS"]] + 4 * index)
        return bytes(_memory(frame, size)), _get("<Q", offloads + 8 * index) if offloads else 0

    def add(self, name: str) -> None:
        self[self.kind[name]] += 1


def _collect(address: int) -> int:
    job = _Job(address, Collect)
    ring, size, blocks = job[Collect.RING], job[Collect.BLOCK_SIZE], job[Collect.BLOCKS]
    while job[Collect.HELD] < job[Collect.BEGUN] - bool(job[Collect.LEFT]):
        _put("<I", ring + job[Collect.HELD] % blocks * size + _BLOCK_STATUS, 0)
        job[Collect.HELD] += 1
    done = 0
    while done < job[Collect.BUDGET]:
        if not job[Collect.LEFT]:
            block = ring + job[Collect.BEGUN] % blocks * size
            if job[Collect.BEGUN] - job[Collect.HELD] == blocks or not _get("<I", block + _BLOCK_STATUS) & Status.USER:
                break
            job[Collect.BEGUN] += 1
            job[Collect.LEFT] = _get("<I", block + 12)
            job[Collect.AT] = block + _get("<I", block + 16)
            continue
        at = job[Collect.AT]
        job[Collect.AT] += _get("<I", at)
        job[Collect.LEFT] -= 1
        if _get("<I", at + 12) < _get("<I", at + 16):
            job[Collect.CUT] += 1
            continue
        frame, caplen, offload = _received(at)
        timestamp = _get("<I", at + 4) * _SECOND + _get("<I", at + 8)
        job.emit(done, frame - ring, caplen, timestamp, offload)
        done += 1
    return done


def _received(at: int) -> tuple[int, int, int]:
    """The address, size and offload of the frame that a struct tpacket3_hdr describes, its tag put back."""
    status = _get("<I", at + _FRAME_STATUS)
    tag = _get("<H", at + 36), _get("<I", at + 32) & 0xFFFF
    return _restored(at + _get("<H", at + 24), _get("<I", at + 12), status, tag)


def _restored(frame: int, caplen: int, status: int, known: tuple[int, int]) -> tuple[int, int, int]:
    """The address, size and offload of a frame with its tag (type, value) put back; there is room before its header."""
    header = frame - HEADER_SIZE
    if status & Status.VLAN_VALID and caplen >= _ETHERNET - 2:
        tag = struct.pack(">HH", known[0] if status & Status.TPID_VALID else _TAGS[0], known[1])
        before = bytes(_memory(header, HEADER_SIZE)), bytes(_memory(frame, _ETHERNET - 2))
        header, frame, caplen = header - _VLAN, frame - _VLAN, caplen + _VLAN
        _memory(header, HEADER_SIZE + _ETHERNET + 2)[:] = before[0] + before[1] + tag
        for field in (Offload.HEADER, Offload.CHECKSUM_START):
            _put("<H", header + field, (_get("<H", header + field) + _VLAN) % (1 << 16))
    return frame, caplen, _settle(header, frame, caplen)


def _gather(address: int) -> int:
    job = _Job(address, Gather)
    ring, size, slots = job[Gather.RING], job[Gather.SLOT_SIZE], job[Gather.SLOTS]
    while job[Gather.HELD] < job[Gather.BEGUN]:
        _put("<I", ring + job[Gather.HELD] % slots * size, 0)
        job[Gather.HELD] += 1
    done = used = 0
    while done < job[Gather.BUDGET] and job[Gather.BEGUN] - job[Gather.HELD] < slots:
        at = ring + job[Gather.BEGUN] % slots * size
        status, length, caplen = struct.unpack("<III", _memory(at, 12))
        if not status & Status.USER:
            break
        frame = at + _get("<H", at + 12)
        if status & Status.COPY:
            if used + job[Gather.MOST] > job[Gather.ROOM]:
                break
            header = job[Gather.BUFFER] + used + _VLAN
            caplen = _system(Call.READ, job[Gather.DESCRIPTOR], header, job[Gather.MOST] - _VLAN) - HEADER_SIZE
            used += (_VLAN + HEADER_SIZE + max(caplen, 0) + 15) & -16
            frame = header + HEADER_SIZE
        job[Gather.BEGUN] += 1
        if caplen < length:
            job[Gather.CUT] += 1
            continue
        tag = _get("<H", at + SLOT_TAG + 2), _get("<H", at + SLOT_TAG)
        frame, caplen, offload = _restored(frame, caplen, status, tag)
        job.emit(done, frame - job[Gather.BASE], caplen, _get("<I", at + 16) * _SECOND + _get("<I", at + 20), offload)
        done += 1
    return done


def _settle(header: int, frame: int, size: int) -> int:
    """Finish the checksum of a frame, unless it is to be segmented; returns its offload."""
    flags, kind, _, _, start, offset = struct.unpack("<BBHHHH", _memory(header, HEADER_SIZE))
    if kind & ~Segmentation.ECN:
        return header
    place = start + offset
    if not flags & 1:
        return 0
    if offset == _SCTP_CHECKSUM:
        if place + 4 <= size:
            _put("<I", frame + place, 0)
            _put("<I", frame + place, _crc32c(bytes(_memory(frame + start, size - start))))
    elif place + 2 <= size:
        total = _folded(bytes(_memory(frame + start, size - start)))
        _put("<H", frame + place, ~total & 0xFFFF or 0xFFFF)
    return 0


def _folded(data: bytes) -> int:
    """The ones' complement sum of little-endian 16-bit words (RFC 1071), not complemented."""
    total: int = sum(struct.unpack(f"<{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


def _limit(frame: bytes, limit: int) -> int:
    """How long a frame may be: its tags come on top."""
    tags = 0
    while (
        tags < 2 and struct.unpack_from(">H", frame.ljust(_ETHERNET + 2 * _VLAN, b"\0"), 12 + _VLAN * tags)[0] in _TAGS
    ):
        tags += 1
    return limit + _VLAN * tags


def _transport(frame: bytes) -> tuple[int, int, bytes, int] | None:
    """Where the transport header of an unfragmented packet begins, its protocol, the addresses, IP's version."""
    at = 12
    while at < 12 + 2 * _VLAN and at + 2 <= len(frame) and int.from_bytes(frame[at : at + 2], "big") in _TAGS:
        at += _VLAN
    kind = int.from_bytes(frame[at : at + 2], "big")
    packet = frame[at + 2 :]
    if kind == _IPV4 and len(packet) >= 20:
        if int.from_bytes(packet[6:8], "big") & 0x3FFF:
            return None
        return at + 2 + (packet[0] & 0xF) * 4, packet[9], packet[12:20], 4
    if kind == _IPV6 and len(packet) >= 40:
        return at + 42, packet[6], packet[8:40], 6
    return None


def _segments(frame: bytes, offload: int) -> tuple[bytes, bytes] | None:
    """The header of a frame to be segmented and the frame with the sum over its pseudo header; None: not known how."""
    found = _transport(frame)
    before, piece = _get("<B", offload + Offload.TYPE), _get("<H", offload + Offload.SIZE)
    if found is None or not piece:
        return None
    start, protocol, addresses, version = found
    rest = len(frame) - start
    ecn = before & Segmentation.ECN
    if protocol == _TCP and rest >= 20:
        place = 16
        ends = start + (frame[start + 12] >> 4) * 4
        kind = Segmentation.TCP4 if version == 4 else Segmentation.TCP6
        if ends < start + 20:
            return None
    elif protocol == _UDP and rest >= 8 and before == Segmentation.UDP:
        place, ends, kind = 6, start + 8, Segmentation.UDP
    else:
        return None
    if ends > len(frame) or rest > 0xFFFF:
        return None
    total = _folded(addresses + struct.pack(">HH", protocol, rest))
    changed = frame[: start + place] + struct.pack("<H", total) + frame[start + place + 2 :]
    return struct.pack("<BBHHHH", 1, kind | ecn, ends, piece, start, place), changed


def _prepared(job: _Job, at: int, limit: int) -> tuple[bytes, bytes] | None:
    """Header and frame as they go out; None when the frame was counted instead."""
    frame, offload = job.selected(at)
    if len(frame) < _ETHERNET:
        job.add("REFUSED")
        return None
    made = _segments(frame, offload) if offload else None
    if made is None and len(frame) > _limit(frame, limit):
        job.add("REFUSED" if offload else "TOO_LONG")
        return None
    return made or (struct.pack("<BBHHHH", 0, 0, len(frame) & 0xFFFF, 0, 0, 0), frame)


def _slot(job: _Job, number: int) -> int:
    return job[Send.RING] + number % job[Send.SLOTS] * job[Send.SLOT_SIZE]


def _advance(job: _Job) -> None:
    """Step over the slots that the kernel has taken; those without a length were counted before."""
    while job[Send.HEAD] != job[Send.TAIL]:
        slot = _slot(job, job[Send.HEAD])
        if _get("<I", slot + _FRAME_STATUS) == Status.SEND_REQUEST:
            return
        if _get("<I", slot + _SLOT_LENGTH):
            job[Send.TRANSMITTED] += 1
        job[Send.HEAD] += 1


def _refuse(job: _Job, number: int) -> bool:
    """Take the length from a slot, so that the kernel steps over it; False when that was done before."""
    slot = _slot(job, number)
    if not _get("<I", slot + _SLOT_LENGTH):
        return False
    _put("<I", slot + _SLOT_LENGTH, 0)
    job[Send.REFUSED] += 1
    return True


def _flush(job: _Job) -> int:
    """Let the kernel take what is in the ring; 0 unless the device is down, then its error."""
    while job[Send.HEAD] != job[Send.TAIL]:
        before = job[Send.HEAD]
        result = _system(Call.SENDTO, job[Send.DESCRIPTOR], 0, 0, socket.MSG_DONTWAIT, 0, 0)
        _advance(job)
        if job[Send.HEAD] == job[Send.TAIL]:
            break
        if result in _DOWN:
            for number in range(job[Send.HEAD], job[Send.TAIL]):
                _refuse(job, number)
            return result
        if result in _LATER or (result >= 0 and job[Send.HEAD] == before):
            break
        if result < 0 and not _refuse(job, job[Send.HEAD]):
            break
    return 0


def _gathered(call_on: int, header: bytes, frame: bytes) -> int:
    data = (ctypes.create_string_buffer(header, len(header)), ctypes.create_string_buffer(frame, len(frame)))
    vector = struct.pack("<QQQQ", ctypes.addressof(data[0]), len(header), ctypes.addressof(data[1]), len(frame))
    parts = ctypes.create_string_buffer(vector, len(vector))
    return _system(Call.WRITEV, call_on, ctypes.addressof(parts), 2)


def _send(address: int) -> int:
    job = _Job(address, Send)
    count = job[Send.COUNT]
    at = 0
    down = _flush(job) < 0
    while at < count and not down:
        made = _prepared(job, at, job[Send.LIMIT])
        if made is not None and not _passed_on(job, *made):
            down = _flush(job) < 0
            if down or not _passed_on(job, *made):
                break
        at += 1
        if (job[Send.TAIL] - job[Send.HEAD]) % _FLUSH_EVERY == 0:
            down = _flush(job) < 0
    down = down or _flush(job) < 0
    if down:
        job[Send.REFUSED] += count - at
        return count
    return at


def _passed_on(job: _Job, header: bytes, frame: bytes) -> bool:
    """Put a frame into the ring, or send it when it is larger than a slot; False when that has to wait."""
    if SLOT_DATA + len(header) + len(frame) > job[Send.SLOT_SIZE]:
        if job[Send.HEAD] != job[Send.TAIL]:
            return False
        result = _gathered(job[Send.LARGE], header, frame)
        if result in _LATER:
            return False
        job.add("TRANSMITTED" if result >= 0 else "REFUSED")
        return True
    slot = _slot(job, job[Send.TAIL])
    if job[Send.TAIL] - job[Send.HEAD] == job[Send.SLOTS] or _get("<I", slot + _FRAME_STATUS) != Status.AVAILABLE:
        return False
    _memory(slot + SLOT_DATA, len(header) + len(frame))[:] = header + frame
    _put("<I", slot, 0)
    _put("<I", slot + _SLOT_LENGTH, len(header) + len(frame))
    _put("<I", slot + _FRAME_STATUS, Status.SEND_REQUEST)
    job[Send.TAIL] += 1
    return True


def _take(address: int) -> int:
    job = _Job(address, Take)
    now = time.time_ns()
    at = done = 0
    while done < job[Take.BUDGET] and at + job[Take.MOST] <= job[Take.ROOM]:
        header = job[Take.BUFFER] + at
        size = _system(Call.READ, job[Take.DESCRIPTOR], header, job[Take.MOST])
        if size < HEADER_SIZE:
            break
        offload = _settle(header, header + HEADER_SIZE, size - HEADER_SIZE)
        job.emit(done, at + HEADER_SIZE, size - HEADER_SIZE, now, offload)
        at += (size + 15) & -16
        done += 1
    return done


def _deliver(address: int) -> int:
    job = _Job(address, Deliver)
    count = job[Deliver.COUNT]
    for at in range(count):
        made = _prepared(job, at, job[Deliver.LIMIT])
        if made is None:
            continue
        header, frame = made
        if len(frame) <= SCRATCH:
            data = ctypes.create_string_buffer(header + frame, len(header) + len(frame))
            result = _system(Call.WRITE, job[Deliver.DESCRIPTOR], ctypes.addressof(data), len(data))
        else:
            result = _gathered(job[Deliver.DESCRIPTOR], header, frame)
        if result in _LATER:
            return at
        job.add("TRANSMITTED" if result >= 0 else "REFUSED")
    return count


REFERENCE: Final = Loops(collect=_collect, gather=_gather, send=_send, take=_take, deliver=_deliver)
"""Loops that need no compiler: some tens of microseconds a frame."""
