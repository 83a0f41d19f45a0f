"""RINGBUF: one ring of records for all CPUs, with the layout, the room and the wake-ups of kernel/bpf/ringbuf.c.

Not here: taking records out (ring_read.py) and the rows of helpers (helpers.py).

Behind the header of the arena lie, each on a page of its own: control words, the consumer's position, the producers'
positions; then the data, and at its end the owners. A record is a 32-bit length with two flags, the page that it begins on
(counted from the control page: what finds the ring again at submit), and its bytes; it begins on a multiple of 8. The kernel
maps the data twice, one behind the other; here it is twice as long, and a record that begins before the end goes on behind it.

Owners are 32 bits for every place where a record may begin: the process that reserved it. A record whose owner has died
before submitting it is discarded by whoever is stopped by it: a producer that needs its room, or the consumer.
"""

from __future__ import annotations

from errno import EAGAIN, EINVAL
from typing import Final

from runtime.maps import HEADER_SIZE, MAX_ENTRIES_AT, lock, unlock
from runtime.native import (
    atomic_add64,
    cas32,
    load32,
    load64,
    load_acquire32,
    load_acquire64,
    memcpy,
    native,
    process_alive,
    shr,
    store32,
    store64,
    store_release64,
    ult,
    unlikely,
    xchg32,
)
from runtime.spec import Env, MapFlag
from xdp.events.waiting import wake

__all__ = ["ring_discard", "ring_init", "ring_output", "ring_query", "ring_reserve", "ring_size", "ring_submit"]

PRODUCERS_LOCK: Final = 64
READER_LOCK: Final = 128
REFUSED: Final = 192  # reservations that found no room
ABANDONED: Final = 200  # records that were discarded because their owner had died
CONSUMER: Final = 4096
PRODUCER: Final = 8192
PENDING: Final = 8200
DATA: Final = 12288

BUSY: Final = 1 << 31
DISCARDED: Final = 1 << 30
SIZE_MASK: Final = DISCARDED - 1
RECORD_HEAD: Final = 8

_NO_WAKEUP: Final = 1
_FORCE_WAKEUP: Final = 2
_AVAILABLE: Final = 0
_SIZE: Final = 1
_CONSUMER_POSITION: Final = 2
_PRODUCER_POSITION: Final = 3

_PAGE: Final = 4096
_PAGE_SHIFT: Final = 12
_LONGEST: Final = 0xFFFF_FFFF // 4
_ALLOWED: Final = int(MapFlag.NUMA_NODE)
_OWNER: Final = int(Env.OWNER)


@native
def ring_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or -EINVAL for what is no power of two of whole pages, or has keys or values."""
    if flags & ~_ALLOWED or key_size != 0 or value_size != 0:
        return -EINVAL
    if max_entries < _PAGE or max_entries & (max_entries - 1):
        return -EINVAL
    return DATA + 2 * max_entries + max_entries // 2


@native
def ring_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is an empty ring."""
    return 0


@native
def length_of(size: int) -> int:
    """Bytes that a record of so many takes in the ring."""
    return (size + RECORD_HEAD + 7) & -8


@native
def record_at(body: int, room: int, position: int) -> int:
    """The address of the record at a position."""
    return body + DATA + (position & (room - 1))


@native
def owner_at(body: int, room: int, position: int) -> int:
    """The address of the word that names who reserved the record at a position."""
    return body + DATA + 2 * room + shr(position & (room - 1), 1)


@native
def abandon(body: int, room: int, position: int) -> int:
    """1 when the record was left behind by a process that has died, and is discarded now. Under the producers' lock."""
    header = record_at(body, room, position)
    word = load_acquire32(header)
    owner = load32(owner_at(body, room, position))
    if word & BUSY == 0 or owner == 0 or process_alive(owner) != 0:
        return 0
    if cas32(header, word, (word & SIZE_MASK) | DISCARDED) != word:
        return 0
    atomic_add64(body + ABANDONED, 1)
    return 1


@native
def _advance(body: int, room: int, produced: int) -> int:
    """Where the oldest record begins that is not committed, or the end of all."""
    at = load64(body + PENDING)
    while at < produced:
        word = load_acquire32(record_at(body, room, at))
        if word & BUSY:
            break
        at += length_of(word & SIZE_MASK)
    store64(body + PENDING, at)
    return at


@native
def _refuse(body: int) -> int:
    atomic_add64(body + REFUSED, 1)
    return 0


@native
def _begin(body: int, room: int, size: int, env: int) -> int:
    """Reserve under the producers' lock: where the record's bytes go, or 0 when there is no room."""
    length = length_of(size)
    consumed = load_acquire64(body + CONSUMER)
    produced = load64(body + PRODUCER)
    pending = _advance(body, room, produced)
    while unlikely(produced + length - pending >= room):
        if abandon(body, room, pending) == 0:
            return 0
        pending = _advance(body, room, produced)
    if produced + length - consumed >= room:
        return 0
    header = record_at(body, room, produced)
    owner = 0
    if env != 0:
        owner = shr(load64(env + _OWNER), 32)
    store32(owner_at(body, room, produced), owner)
    store32(header, size | BUSY)
    store32(header + 4, shr(header - body, _PAGE_SHIFT))
    store_release64(body + PRODUCER, produced + length)
    return header + RECORD_HEAD


@native
def _reserve(env: int, arena: int, size: int) -> int:
    body = arena + HEADER_SIZE
    room = load64(arena + MAX_ENTRIES_AT)
    if ult(_LONGEST, size) or length_of(size) >= room:
        return _refuse(body)
    lock(body + PRODUCERS_LOCK, env)
    record = _begin(body, room, size, env)
    unlock(body + PRODUCERS_LOCK)
    if record == 0:
        return _refuse(body)
    return record


@native
def _commit(record: int, flags: int, discarded: int) -> int:
    """Make a record readable, and wake the consumer if it waits for this one, or as the flags say."""
    header = record - RECORD_HEAD
    body = (header & -_PAGE) - (load32(header + 4) << _PAGE_SHIFT)
    room = load64(body - HEADER_SIZE + MAX_ENTRIES_AT)
    xchg32(header, (load32(header) ^ BUSY) | discarded)
    consumed = load_acquire64(body + CONSUMER)
    if flags & _FORCE_WAKEUP or (record_at(body, room, consumed) == header and flags & _NO_WAKEUP == 0):
        wake(body)
    return 0


@native
def ring_reserve(env: int, arena: int, size: int, flags: int) -> int:
    """The address of a record of so many bytes, which are not cleared; 0 without room, and for any flag."""
    if flags != 0:
        return 0
    return _reserve(env, arena, size)


@native
def ring_submit(env: int, record: int, flags: int) -> int:
    """The record may be read now."""
    return _commit(record, flags, 0)


@native
def ring_discard(env: int, record: int, flags: int) -> int:
    """The record is never read; its room is free when the consumer has passed it."""
    return _commit(record, flags, DISCARDED)


@native
def ring_output(env: int, arena: int, data: int, size: int, flags: int) -> int:
    """Copy bytes into a record: 0, -EINVAL for unknown flags, -EAGAIN without room."""
    if flags & ~(_NO_WAKEUP | _FORCE_WAKEUP):
        return -EINVAL
    record = _reserve(env, arena, size)
    if record == 0:
        return -EAGAIN
    memcpy(record, data, size)
    return _commit(record, flags, 0)


@native
def ring_query(env: int, arena: int, flags: int) -> int:
    """How much is unread (0), the ring's size (1), the consumer's (2) or the producers' position (3); 0 for other flags."""
    body = arena + HEADER_SIZE
    if flags == _AVAILABLE:
        consumed = load_acquire64(body + CONSUMER)
        return load_acquire64(body + PRODUCER) - consumed
    if flags == _SIZE:
        return load64(arena + MAX_ENTRIES_AT)
    if flags == _CONSUMER_POSITION:
        return load_acquire64(body + CONSUMER)
    if flags == _PRODUCER_POSITION:
        return load_acquire64(body + PRODUCER)
    return 0
