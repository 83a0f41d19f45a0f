"""The loop that runs an XDP program over a batch of frames: one native, with the program inlined into it.

Not here: what batches are made of in Python (hooks/xdp.py). Frames are run where they lie (direct), or each in a slot
with headroom, where the program may write and move the edges.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import call_program, load32, load64, memcpy, memeq, native, stack_alloc, store32, store64
from runtime.spec import Env

__all__ = ["BATCH_SIZE", "HARD_SIZE", "RING", "Batch", "drive", "drive_with_origins"]


class Batch(IntEnum):
    """Byte offsets of the words of a batch record; what is called an array is its address.

    BASE: added to every offset. OFFSETS: u64 array. CAPLENS: u32 array. TIMESTAMPS: u64 array, nanoseconds. COUNT: frames.
    COPY: 0 direct, 1 in a slot. IFINDEX, QUEUE: for the context. RETURNS: u32 array, written: what the program returned.
    SLOTS: memory for slots. KEEP: 0 uses RING slots in turn, STRIDE bytes apart, else each frame has its own.
    OUT_OFFSETS: u64 array, written: where the frame starts now, from SLOTS. OUT_LENGTHS: u32 array, written. MODIFIED: frames changed, added up.
    TARGETS: u64 array, written: interface that a redirect named, or what it said of a broadcast (xdp/maps.py); 0 without one.
    ORIGINS: u64 array, written by `drive_with_origins`: Env.ORIGIN as the program left it.
    """

    BASE = 0
    OFFSETS = 8
    CAPLENS = 16
    TIMESTAMPS = 24
    COUNT = 32
    COPY = 40
    IFINDEX = 48
    QUEUE = 56
    RETURNS = 64
    SLOTS = 72
    KEEP = 80
    OUT_OFFSETS = 88
    OUT_LENGTHS = 96
    MODIFIED = 104
    TARGETS = 112
    STRIDE = 120
    ORIGINS = 128


BATCH_SIZE: Final = 136
RING: Final = 8
"""So many frames run before they are compared with what they were: by then the program's stores have left the
processor's store buffer, and wide loads need not wait for narrow stores. A power of two."""

_BASE: Final = 0
_OFFSETS: Final = 8
_CAPLENS: Final = 16
_TIMESTAMPS: Final = 24
_COUNT: Final = 32
_COPY: Final = 40
_IFINDEX: Final = 48
_QUEUE: Final = 56
_RETURNS: Final = 64
_SLOTS: Final = 72
_KEEP: Final = 80
_OUT_OFFSETS: Final = 88
_OUT_LENGTHS: Final = 96
_MODIFIED: Final = 104
_TARGETS: Final = 112
_STRIDE: Final = 120
_ORIGINS: Final = 128

_CTX_DATA: Final = 0
_CTX_DATA_END: Final = 8
_CTX_DATA_META: Final = 16
_CTX_IFINDEX: Final = 24
_CTX_QUEUE: Final = 32
_CTX_EGRESS: Final = 40
_CTX_HARD_START: Final = 48
_CTX_HARD_END: Final = 56
_CTX_LOWEST: Final = 64
_CTX_SIZE: Final = 72

_HEADROOM: Final = 256
HARD_SIZE: Final = 4096 - 320
"""From the start of the headroom to the last byte that adjust_tail may reach: a page without skb_shared_info."""
_TAILROOM: Final = 128
_PIECE: Final = 32  # one vector
_LONG: Final = 256  # from here on the C library copies and compares faster

_ENV_CLOCK: Final = int(Env.CLOCK)
_ENV_TAIL_CALLS: Final = int(Env.TAIL_CALLS)
_ENV_TARGET: Final = int(Env.EXTENSION)
_ENV_ORIGIN: Final = int(Env.ORIGIN)
_MAX_TAIL_CALLS: Final = 33


@native
def _hard_size(caplen: int) -> int:
    """How large the slot of a frame is: as in the kernel while the frame fits into a page, else with some room."""
    if _HEADROOM + caplen <= HARD_SIZE:
        return HARD_SIZE
    return _HEADROOM + caplen + _TAILROOM


@native
def _enter(ctx: int, env: int, data: int, caplen: int, slot: int, timestamp: int) -> int:
    """Set what the context and the environment say of one frame."""
    store64(env + _ENV_CLOCK, timestamp)
    store64(env + _ENV_TAIL_CALLS, _MAX_TAIL_CALLS)
    store64(env + _ENV_TARGET, 0)
    store64(ctx + _CTX_DATA, data)
    store64(ctx + _CTX_DATA_END, data + caplen)
    store64(ctx + _CTX_DATA_META, data)
    store64(ctx + _CTX_LOWEST, data)
    store64(ctx + _CTX_HARD_START, slot)
    store64(ctx + _CTX_HARD_END, slot + _hard_size(caplen))
    return 0


@native
def _copy(to: int, source: int, size: int) -> int:
    """Copy a frame in pieces that do not overlap, so that what the program loads comes from one store."""
    if size > _LONG:
        return memcpy(to, source, size)
    at = 0
    while at + _PIECE <= size:
        memcpy(to + at, source + at, _PIECE)
        at += _PIECE
    if size & 16 != 0:
        memcpy(to + at, source + at, 16)
        at += 16
    if size & 8 != 0:
        memcpy(to + at, source + at, 8)
        at += 8
    if size & 4 != 0:
        memcpy(to + at, source + at, 4)
        at += 4
    if size & 2 != 0:
        memcpy(to + at, source + at, 2)
        at += 2
    if size & 1 != 0:
        memcpy(to + at, source + at, 1)
    return 0


@native
def _equal(a: int, b: int, size: int) -> int:
    """memeq, in pieces, of which the last two may overlap."""
    if size < _PIECE or size > _LONG:
        return memeq(a, b, size)
    at = _PIECE
    while at < size:
        if memeq(a + at - _PIECE, b + at - _PIECE, _PIECE) == 0:
            return 0
        at += _PIECE
    return memeq(a + size - _PIECE, b + size - _PIECE, _PIECE)


@native
def _leave(ctx: int, batch: int, i: int) -> int:
    """Note where the frame lies now."""
    start = load64(ctx + _CTX_DATA)
    store64(load64(batch + _OUT_OFFSETS) + 8 * i, start - load64(batch + _SLOTS))
    store32(load64(batch + _OUT_LENGTHS) + 4 * i, load64(ctx + _CTX_DATA_END) - start)
    return 0


@native
def _changed(batch: int, first: int, end: int) -> int:
    """How many frames from number `first` to before `end` are not what they were."""
    base = load64(batch + _BASE)
    slots = load64(batch + _SLOTS)
    offsets = load64(batch + _OFFSETS)
    caplens = load64(batch + _CAPLENS)
    out_offsets = load64(batch + _OUT_OFFSETS)
    out_lengths = load64(batch + _OUT_LENGTHS)
    changed = 0
    for i in range(first, end):
        size = load32(out_lengths + 4 * i)
        if size != load32(caplens + 4 * i):
            changed += 1
        else:
            changed += 1 - _equal(slots + load64(out_offsets + 8 * i), base + load64(offsets + 8 * i), size)
    return changed


@native
def _drive(batch: int, env: int, explain: int) -> int:
    """Run the program on every frame of the batch; returns how many there were. `explain`: note what it says of its result."""
    ctx = stack_alloc(_CTX_SIZE)
    store64(ctx + _CTX_IFINDEX, load64(batch + _IFINDEX))
    store64(ctx + _CTX_QUEUE, load64(batch + _QUEUE))
    store64(ctx + _CTX_EGRESS, 0)
    count = load64(batch + _COUNT)
    offsets = load64(batch + _OFFSETS)
    caplens = load64(batch + _CAPLENS)
    timestamps = load64(batch + _TIMESTAMPS)
    base = load64(batch + _BASE)
    copy = load64(batch + _COPY)
    keep = load64(batch + _KEEP)
    slots = load64(batch + _SLOTS)
    stride = load64(batch + _STRIDE)
    slot = slots
    returns = load64(batch + _RETURNS)
    targets = load64(batch + _TARGETS)
    origins = load64(batch + _ORIGINS)
    modified = 0
    for i in range(count):
        source = base + load64(offsets + 8 * i)
        caplen = load32(caplens + 4 * i)
        data = source
        if copy != 0:
            data = slot + _HEADROOM
            _copy(data, source, caplen)
        _enter(ctx, env, data, caplen, slot, load64(timestamps + 8 * i))
        store32(returns + 4 * i, call_program(ctx, env))
        store64(targets + 8 * i, load64(env + _ENV_TARGET))
        if explain != 0:
            store64(origins + 8 * i, load64(env + _ENV_ORIGIN))
        if copy != 0:
            _leave(ctx, batch, i)
            turn = i + 1 & (RING - 1)
            slot = slot + ((_hard_size(caplen) + 63) & -64) if keep != 0 else slots + turn * stride
            if turn == 0:
                modified += _changed(batch, i + 1 - RING, i + 1)
    if copy != 0:
        modified += _changed(batch, count & -RING, count)
    store64(batch + _MODIFIED, load64(batch + _MODIFIED) + modified)
    return count


@native
def drive(batch: int, env: int) -> int:
    """Run the program on every frame of the batch; returns how many there were."""
    return _drive(batch, env, 0)


@native
def drive_with_origins(batch: int, env: int) -> int:
    """The same for a program that keeps origins: they are noted, too."""
    return _drive(batch, env, 1)
