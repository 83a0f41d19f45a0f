"""Taking records out of a RINGBUF: what the consumer in user space does, as natives.

Not here: the layout and the producers (ring.py), and Python's side (face.py).
"""

from __future__ import annotations

from errno import EIO
from typing import Final

from runtime.maps import HEADER_SIZE, lock, unlock
from runtime.native import load64, load_acquire32, load_acquire64, memcpy, native, store64, store_release64
from xdp.events.packed import RecordType, head, room_for
from xdp.events.ring import (
    BUSY,
    CONSUMER,
    DISCARDED,
    PRODUCER,
    PRODUCERS_LOCK,
    READER_LOCK,
    RECORD_HEAD,
    SIZE_MASK,
    abandon,
    length_of,
    record_at,
)
from xdp.events.waiting import announce, doze

__all__ = ["NO_KEY", "ring_drain", "ring_next_key", "ring_wait"]

NO_KEY: Final = -524
"""-ENOTSUPP: the ring has no keys."""


@native
def ring_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """A ring has no keys: -ENOTSUPP."""
    return NO_KEY


@native
def _settled(body: int, room: int, at: int, env: int, keep: int) -> int:
    """The first word of the record at a position, committed, or BUSY when it is not; who died is not waited for."""
    header = record_at(body, room, at)
    word = load_acquire32(header)
    if word & BUSY and keep == 0:
        lock(body + PRODUCERS_LOCK, env)
        abandon(body, room, at)
        unlock(body + PRODUCERS_LOCK)
        word = load_acquire32(header)
    return word


@native
def _copy_out(body: int, room: int, at: int, env: int, keep: int, out: int, capacity: int, cursor: int) -> int:
    """Copy records from a position on, and store the position after the last; returns as ring_drain does."""
    written = 0
    end = load_acquire64(body + PRODUCER)
    while at < end:
        word = _settled(body, room, at, env, keep)
        if word & BUSY:
            break
        size = word & SIZE_MASK
        if at + length_of(size) > end or length_of(size) > room:
            store64(cursor, at)
            return -EIO
        if word & DISCARDED == 0:
            if written + room_for(size) > capacity:
                if written == 0:
                    written = -room_for(size)
                break
            place = head(out + written, RecordType.SAMPLE, size, at, 0, 0, 0)
            memcpy(place, record_at(body, room, at) + RECORD_HEAD, size)
            written += room_for(size)
        at += length_of(size)
    store64(cursor, at)
    return written


@native
def ring_drain(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    out: int,
    capacity: int,
    index: int,
    cursor: int,
    keep: int,
) -> int:
    """Copy committed records to `out`, packed, as many as there is room for, and free them in the ring.

    Returns how many bytes that took, or, when the first record has no room, how many it needs, negative; -EIO for a ring that
    is none any more. `cursor` is a word for the position; with `keep` not 0 records are read from there and stay in the ring.
    One reader at a time: a second one takes what the first has left.
    """
    body = arena + HEADER_SIZE
    if keep != 0:
        at = max(load64(cursor), load_acquire64(body + CONSUMER))
        return _copy_out(body, max_entries, at, env, keep, out, capacity, cursor)
    lock(body + READER_LOCK, env)
    at = load64(body + CONSUMER)
    written = _copy_out(body, max_entries, at, env, keep, out, capacity, cursor)
    store_release64(body + CONSUMER, load64(cursor))
    unlock(body + READER_LOCK)
    return written


@native
def _is_ready(body: int, room: int) -> int:
    at = load_acquire64(body + CONSUMER)
    if at >= load_acquire64(body + PRODUCER):
        return 0
    if load_acquire32(record_at(body, room, at)) & BUSY:
        return 0
    return 1


@native
def ring_wait(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    first: int,
    end: int,
    nanoseconds: int,
) -> int:
    """Sleep until there is a record to read, somebody says so, a signal comes or the time is over; 1 when there is one."""
    body = arena + HEADER_SIZE
    sequence = announce(body)
    ready = _is_ready(body, max_entries)
    doze(body, sequence, 0 if ready else nanoseconds)
    return max(ready, _is_ready(body, max_entries))
