"""Elements to hand out: numbers from 1, each used again as late as possible.

Not here: what an element holds. A pool is a few words (in the header) and a ring of 32-bit numbers.

Readers hold no locks, so one may still look at an element that was deleted. Linux's preallocated maps hand such an
element out again at once; here a number goes to the end of a queue and comes back only when DELAY others were freed
after it. Pools are DELAY larger than what may be in use, so this holds for a full map too. Until the
queue is that long, numbers that were never used are preferred.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import POOL_COUNT, POOL_FRESH
from runtime.maps.locks import lock, lock_stripe, unlock
from runtime.native import load8, load32, load64, native, store32, store64, urem

__all__ = ["DELAY", "pool_count", "pool_give", "pool_rebuild", "pool_reset", "pool_take"]

DELAY: Final = 256

_LOCK: Final = 0
_FRESH: Final = POOL_FRESH
_HEAD: Final = 72  # the queue: numbers are taken at HEAD and given back at TAIL, both only grow
_TAIL: Final = 80
_COUNT: Final = POOL_COUNT


@native
def pool_take(arena: int, pool: int, ring: int, capacity: int, limit: int, counts: int, env: int) -> int:
    """A number from 1 to `capacity`, or 0 when `limit` (0: none) are in use already.

    `counts` is 1 for an element that adds to those in use, 0 for one that will replace another.
    """
    lock_stripe(arena, pool + _LOCK, env)
    count = load64(pool + _COUNT)
    number = 0
    if limit == 0 or count < limit:
        fresh = load64(pool + _FRESH)
        head = load64(pool + _HEAD)
        queued = load64(pool + _TAIL) - head
        if fresh < capacity and queued <= DELAY:
            number = fresh + 1
            store64(pool + _FRESH, number)
        elif queued > 0:
            number = load32(ring + (urem(head, capacity) << 2))
            store64(pool + _HEAD, head + 1)
        if number != 0:
            store64(pool + _COUNT, count + counts)
    unlock(pool + _LOCK)
    return number


@native
def pool_give(arena: int, pool: int, ring: int, capacity: int, number: int, counts: int, env: int) -> int:
    """Put a number back at the end of the queue; `counts` as for pool_take."""
    lock_stripe(arena, pool + _LOCK, env)
    tail = load64(pool + _TAIL)
    store32(ring + (urem(tail, capacity) << 2), number)
    store64(pool + _TAIL, tail + 1)
    store64(pool + _COUNT, load64(pool + _COUNT) - counts)
    unlock(pool + _LOCK)
    return 0


@native
def pool_count(pool: int) -> int:
    """How many are in use."""
    return load64(pool + _COUNT)


@native
def pool_reset(pool: int, env: int) -> int:
    """Begin to rebuild a pool: take its lock and empty its queue; returns how many numbers were ever handed out."""
    lock(pool + _LOCK, env)
    store64(pool + _HEAD, 0)
    store64(pool + _TAIL, 0)
    store64(pool + _COUNT, 0)
    return load64(pool + _FRESH)


@native
def pool_rebuild(pool: int, ring: int, marks: int, handed_out: int) -> int:
    """Queue all numbers up to `handed_out` that have no mark (a byte each), count the others, release the lock."""
    queued = 0
    number = 1
    while number <= handed_out:
        if load8(marks + number) == 0:
            store32(ring + (queued << 2), number)
            queued += 1
        number += 1
    store64(pool + _TAIL, queued)
    store64(pool + _COUNT, handed_out - queued)
    unlock(pool + _LOCK)
    return 0
