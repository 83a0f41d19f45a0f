"""Frames out of and into the rings of packet sockets, as natives.

Not here: what the words of a job mean (netdev.backends.loops), and the same in plain Python (netdev.backends.reference).
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from netdev.backends import HEADER_SIZE, SLOT_DATA, Call, Collect, Offload, Send, Status
from runtime.native import (
    load8,
    load16,
    load32,
    load64,
    load_acquire32,
    memcpy,
    native,
    prefetch,
    stack_alloc,
    store16,
    store32,
    store64,
    store_release32,
    syscall,
    unlikely,
    urem,
)
from xdp.natives.offload import headed, settle, tag

__all__ = ["collect", "gathered", "is_later", "send"]

_SECOND: Final = 10**9
_BLOCK_STATUS: Final = 8
_FRAME_STATUS: Final = 20
_SLOT_LENGTH: Final = 16
_FLUSH_EVERY: Final = 64
_AHEAD: Final = 6
_DONTWAIT: Final = int(socket.MSG_DONTWAIT)
_ENETDOWN: Final = errno.ENETDOWN
_ENXIO: Final = errno.ENXIO
_ENODEV: Final = errno.ENODEV
_EBADF: Final = errno.EBADF
_EAGAIN: Final = errno.EAGAIN
_EINTR: Final = errno.EINTR


@native
def _give_back(job: int) -> int:
    """The blocks that were read to their ends belong to the kernel again."""
    held = load64(job + Collect.HELD)
    until = load64(job + Collect.BEGUN)
    if load64(job + Collect.LEFT) != 0:
        until -= 1
    while held < until:
        block = load64(job + Collect.RING) + urem(held, load64(job + Collect.BLOCKS)) * load64(job + Collect.BLOCK_SIZE)
        store_release32(block + _BLOCK_STATUS, 0)
        held += 1
    store64(job + Collect.HELD, held)
    return 0


@native
def _begin(job: int) -> int:
    """Begin the next block; 0 when the kernel still has it."""
    begun = load64(job + Collect.BEGUN)
    blocks = load64(job + Collect.BLOCKS)
    block = load64(job + Collect.RING) + urem(begun, blocks) * load64(job + Collect.BLOCK_SIZE)
    if begun - load64(job + Collect.HELD) == blocks:
        return 0
    if load_acquire32(block + _BLOCK_STATUS) & Status.USER == 0:
        return 0
    store64(job + Collect.BEGUN, begun + 1)
    store64(job + Collect.LEFT, load32(block + 12))
    store64(job + Collect.AT, block + load32(block + 16))
    return 1


@native
def _emit(job: int, done: int, at: int, frame: int, caplen: int, offload: int) -> int:
    store64(load64(job + Collect.OFFSETS) + 8 * done, frame - load64(job + Collect.RING))
    store32(load64(job + Collect.CAPLENS) + 4 * done, caplen)
    store32(load64(job + Collect.LENGTHS) + 4 * done, caplen)
    store64(load64(job + Collect.TIMESTAMPS) + 8 * done, load32(at + 4) * _SECOND + load32(at + 8))
    store64(load64(job + Collect.OFFLOADS) + 8 * done, offload)
    return 0


@native
def collect(job: int) -> int:
    """Loops.collect."""
    _give_back(job)
    budget = load64(job + Collect.BUDGET)
    done = 0
    while done < budget:
        left = load64(job + Collect.LEFT)
        if left == 0:
            if _begin(job) == 0:
                break
            continue
        at = load64(job + Collect.AT)
        stride = load32(at)
        prefetch(at + _AHEAD * stride)  # most likely a frame: another processor has just written it
        prefetch(at + _AHEAD * stride + 64)
        prefetch(at + _AHEAD * stride + 128)
        store64(job + Collect.AT, at + stride)
        store64(job + Collect.LEFT, left - 1)
        caplen = load32(at + 12)
        if unlikely(caplen < load32(at + 16)) != 0:
            store64(job + Collect.CUT, load64(job + Collect.CUT) + 1)
            continue
        status = load32(at + _FRAME_STATUS)
        frame = at + load16(at + 24)
        if unlikely(status & Status.VLAN_VALID) != 0 and caplen >= 12:
            tag(frame, load16(at + 36), load16(at + 32), status)
            frame -= 4
            caplen += 4
        _emit(job, done, at, frame, caplen, settle(frame - HEADER_SIZE, frame, caplen))
        done += 1
    return done


@native
def _add(job: int, word: int, count: int) -> int:
    store64(job + word, load64(job + word) + count)
    return 0


@native
def _slot(job: int, number: int) -> int:
    return load64(job + Send.RING) + urem(number, load64(job + Send.SLOTS)) * load64(job + Send.SLOT_SIZE)


@native
def _advance(job: int) -> int:
    """Step over the slots that the kernel has taken; those without a length were counted before."""
    head = load64(job + Send.HEAD)
    tail = load64(job + Send.TAIL)
    sent = 0
    while head != tail:
        slot = _slot(job, head)
        if load_acquire32(slot + _FRAME_STATUS) == Status.SEND_REQUEST:
            break
        if load32(slot + _SLOT_LENGTH) != 0:
            sent += 1
        head += 1
    store64(job + Send.HEAD, head)
    _add(job, Send.TRANSMITTED, sent)
    return 0


@native
def _refuse(job: int, number: int) -> int:
    """Take the length from a slot, so that the kernel steps over it; 0 when that was done before."""
    slot = _slot(job, number)
    if load32(slot + _SLOT_LENGTH) == 0:
        return 0
    store32(slot + _SLOT_LENGTH, 0)
    return _add(job, Send.REFUSED, 1) + 1


@native
def _is_down(result: int) -> int:
    if result == -_ENETDOWN or result == -_ENXIO:  # noqa: PLR1714 - natives have no tuples
        return 1
    return 1 if result == -_ENODEV or result == -_EBADF else 0  # noqa: PLR1714


@native
def is_later(result: int) -> int:
    """Whether a system call may be tried again."""
    return 1 if result == -_EAGAIN or result == -_EINTR else 0  # noqa: PLR1714


@native
def _flush(job: int) -> int:
    """Let the kernel take what is in the ring; 0 unless the device is down, then its error."""
    while load64(job + Send.HEAD) != load64(job + Send.TAIL):
        before = load64(job + Send.HEAD)
        result = syscall(Call.SENDTO, load64(job + Send.DESCRIPTOR), 0, 0, _DONTWAIT, 0, 0)
        _advance(job)
        head = load64(job + Send.HEAD)
        if head == load64(job + Send.TAIL):
            break
        if _is_down(result) != 0:
            while head != load64(job + Send.TAIL):
                _refuse(job, head)
                head += 1
            return result
        if is_later(result) != 0:
            break
        if result >= 0 and head == before:
            break
        if result < 0 and _refuse(job, head) == 0:
            break
    return 0


@native
def gathered(descriptor: int, header: int, frame: int, size: int) -> int:
    """Write a header and a frame at once, where each lies, with the checksum that `headed` left in the frame's place."""
    parts = stack_alloc(64)
    store64(parts, header)
    store64(parts + 8, HEADER_SIZE)
    store64(parts + 16, frame)
    store64(parts + 24, size)
    if load8(header + Offload.FLAGS) == 0:
        return syscall(Call.WRITEV, descriptor, parts, 2, 0, 0, 0)
    place = load16(header + Offload.CHECKSUM_START) + load16(header + Offload.CHECKSUM_OFFSET)
    store64(parts + 24, place)
    store64(parts + 32, header + 16)
    store64(parts + 40, 2)
    store64(parts + 48, frame + place + 2)
    store64(parts + 56, size - place - 2)
    return syscall(Call.WRITEV, descriptor, parts, 4, 0, 0, 0)


@native
def _pass_large(job: int, header: int, frame: int, size: int) -> int:
    """Send a frame that is larger than a slot, behind all that is in the ring; 0 when that has to wait."""
    if load64(job + Send.HEAD) != load64(job + Send.TAIL):
        return 0
    result = gathered(load64(job + Send.LARGE), header, frame, size)
    if is_later(result) != 0:
        return 0
    return _add(job, Send.TRANSMITTED if result >= 0 else Send.REFUSED, 1) + 1


@native
def _pass_on(job: int, header: int, frame: int, size: int) -> int:
    """Put a frame into the ring, or send it when it is larger than a slot; 0 when that has to wait."""
    if SLOT_DATA + HEADER_SIZE + size > load64(job + Send.SLOT_SIZE):
        return _pass_large(job, header, frame, size)
    tail = load64(job + Send.TAIL)
    slot = _slot(job, tail)
    if tail - load64(job + Send.HEAD) == load64(job + Send.SLOTS):
        return 0
    if load_acquire32(slot + _FRAME_STATUS) != Status.AVAILABLE:
        return 0
    data = slot + SLOT_DATA + HEADER_SIZE
    memcpy(data - HEADER_SIZE, header, HEADER_SIZE)
    memcpy(data, frame, size)
    if load8(header + Offload.FLAGS) != 0:
        place = load16(header + Offload.CHECKSUM_START) + load16(header + Offload.CHECKSUM_OFFSET)
        store16(data + place, load16(header + 16))
    store32(slot, 0)
    store32(slot + _SLOT_LENGTH, HEADER_SIZE + size)
    store_release32(slot + _FRAME_STATUS, Status.SEND_REQUEST)
    store64(job + Send.TAIL, tail + 1)
    return 1


@native
def _one(job: int, header: int, at: int) -> int:
    """Send or count the frame at that place of the selection; 0 when it has to wait."""
    index = load32(load64(job + Send.SELECTION) + 4 * at)
    frame = load64(job + Send.BASE) + load64(load64(job + Send.OFFSETS) + 8 * index)
    size = load32(load64(job + Send.CAPLENS) + 4 * index)
    offloads = load64(job + Send.OFFLOADS)
    offload = 0
    if offloads != 0:
        offload = load64(offloads + 8 * index)
    fate = headed(header, frame, size, offload, load64(job + Send.LIMIT))
    if unlikely(fate != 1) != 0:
        return _add(job, Send.TOO_LONG if fate == 0 else Send.REFUSED, 1) + 1
    return _pass_on(job, header, frame, size)


@native
def send(job: int) -> int:
    """Loops.send."""
    header = stack_alloc(24)
    count = load64(job + Send.COUNT)
    at = 0
    down = _flush(job)
    while at < count and down == 0:
        if _one(job, header, at) == 0:
            down = _flush(job)
            if down != 0:
                break
            if _one(job, header, at) == 0:
                break
        at += 1
        if load64(job + Send.TAIL) - load64(job + Send.HEAD) >= _FLUSH_EVERY and at & _FLUSH_EVERY - 1 == 0:
            down = _flush(job)
    if down == 0:
        down = _flush(job)
    if down != 0:
        _add(job, Send.REFUSED, count - at)
        return count
    return at
