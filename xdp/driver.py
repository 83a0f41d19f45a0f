"""The loop that runs an XDP program over a batch of frames: one native, with the program inlined into it.

Not here: what batches are made of in Python (hooks/xdp.py). Frames are run where they lie (direct), or each in a slot
with headroom, where the program may write and move the edges.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import call_program, load32, load64, memcpy, memeq, native, stack_alloc, store32, store64
from runtime.spec import Env

__all__ = ["BATCH_SIZE", "HARD_SIZE", "Batch", "drive"]


class Batch(IntEnum):
    """Byte offsets of the words of a batch record; what is called an array is its address.

    BASE: added to every offset. OFFSETS: u64 array. CAPLENS: u32 array. TIMESTAMPS: u64 array, nanoseconds. COUNT: frames.
    COPY: 0 direct, 1 in a slot. IFINDEX, QUEUE: for the context. RETURNS: u32 array, written: what the program returned.
    SLOTS: memory for slots. KEEP: 0 reuses the first slot for every frame, else each frame has its own.
    OUT_OFFSETS: u64 array, written: where the frame starts now, from SLOTS. OUT_LENGTHS: u32 array, written. MODIFIED: frames changed, added up.
    TARGETS: u32 array, written: interface that a redirect named. USED: bytes of SLOTS in use, written.
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
    USED = 120


BATCH_SIZE: Final = 128

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
_USED: Final = 120

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

_ENV_CLOCK: Final = int(Env.CLOCK)
_ENV_TAIL_CALLS: Final = int(Env.TAIL_CALLS)
_ENV_TARGET: Final = int(Env.EXTENSION)
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
    store64(ctx + _CTX_DATA, data)
    store64(ctx + _CTX_DATA_END, data + caplen)
    store64(ctx + _CTX_DATA_META, data)
    store64(ctx + _CTX_LOWEST, data)
    store64(ctx + _CTX_HARD_START, slot)
    store64(ctx + _CTX_HARD_END, slot + _hard_size(caplen))
    return 0


@native
def _leave(ctx: int, env: int, batch: int, i: int, source: int, caplen: int) -> int:
    """Note where the frame lies now and what a redirect named; returns whether the frame differs from its source."""
    start = load64(ctx + _CTX_DATA)
    size = load64(ctx + _CTX_DATA_END) - start
    store64(load64(batch + _OUT_OFFSETS) + 8 * i, start - load64(batch + _SLOTS))
    store32(load64(batch + _OUT_LENGTHS) + 4 * i, size)
    store32(load64(batch + _TARGETS) + 4 * i, load64(env + _ENV_TARGET))
    if size != caplen:
        return 1
    return 1 - memeq(start, source, size)


@native
def drive(batch: int, env: int) -> int:
    """Run the program on every frame of the batch; returns how many there were."""
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
    slot = load64(batch + _SLOTS)
    returns = load64(batch + _RETURNS)
    modified = 0
    for i in range(count):
        source = base + load64(offsets + 8 * i)
        caplen = load32(caplens + 4 * i)
        data = source
        if copy != 0:
            data = slot + _HEADROOM
            memcpy(data, source, caplen)
        _enter(ctx, env, data, caplen, slot, load64(timestamps + 8 * i))
        store32(returns + 4 * i, call_program(ctx, env))
        if copy != 0:
            modified += _leave(ctx, env, batch, i, source, caplen)
            if keep != 0:
                slot += (_hard_size(caplen) + 63) & -64
    store64(batch + _MODIFIED, load64(batch + _MODIFIED) + modified)
    store64(batch + _USED, slot - load64(batch + _SLOTS))
    return count
