"""The index of all hash kinds: buckets of tags and element numbers, lock-free for readers.

Not here: elements, and what happens when the map is full (hash.py, lru.py).

A bucket is half a cache line: one control word, then six 32-bit element numbers.

      63      48 47  40 39  32 31  24 23  16 15   8 7    0
     +----------+------+------+------+------+------+------+
     | overflow | tag5 | tag4 | tag3 | tag2 | tag1 | tag0 |     a tag is 8 bits of the hash, never 0; 0: slot is free
     +----------+------+------+------+------+------+------+

`overflow` counts the keys that wanted this bucket, found it full and live in a later one: where it is 0, a search
ends (the scheme of F14). There are twice as many slots as entries, so most searches read one bucket and one element.

Writers of one key exclude each other by a stripe lock; slots of a bucket are claimed by compare-and-swap, since keys
of several stripes meet there. An element never moves to another slot, and every change that a reader can see is
one atomic operation on one word: insertion fills the slot and then adds the tag, deletion takes the tag
away and then empties the slot, replacement stores another number in the slot.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.keys import same_key
from runtime.native import (
    atomic_add64,
    cas32,
    cas64,
    ctz64,
    load32,
    load_acquire32,
    load_acquire64,
    mulhi,
    native,
    shr,
    store32,
    store_release32,
    udiv,
)

__all__ = [
    "bucket_count",
    "find",
    "find_slot",
    "insert_slot",
    "mend_slots",
    "next_slot",
    "remove_slot",
    "table_size",
]

_BUCKET: Final = 32
_SLOTS: Final = 6
_PER_BUCKET: Final = 3  # entries a bucket is meant to hold
_ONES: Final = 0x0101_0101_0101
_HIGHS: Final = 0x8080_8080_8080
_OVERFLOW: Final = 1 << 48
_MANY: Final = 0xFFFF  # an overflow count that has reached this stays there


@native
def bucket_count(max_entries: int) -> int:
    """How many buckets a table for that many entries has."""
    return udiv(max_entries, _PER_BUCKET) + 1


@native
def table_size(max_entries: int) -> int:
    """Bytes of the table, a multiple of 64."""
    return (bucket_count(max_entries) * _BUCKET + 63) & -64


@native
def _tag(mix: int) -> int:
    tag = mix & 0xFF
    if tag == 0:
        tag = 1
    return tag


@native
def _matches(control: int, mix: int) -> int:
    """The high bit of each byte whose tag may be that of the hash: all that are, rarely one more."""
    difference = control ^ (_tag(mix) * _ONES)
    return (difference - _ONES) & ~difference & _HIGHS


@native
def find(
    table: int, max_entries: int, elements: int, element_size: int, key_at: int, key: int, key_size: int, mix: int
) -> int:
    """The number of the element that holds the key, or 0. No lock is needed."""
    buckets = bucket_count(max_entries)
    at = mulhi(mix, buckets)
    steps = 0
    while steps < buckets:
        bucket = table + at * _BUCKET
        control = load_acquire64(bucket)
        found = _matches(control, mix)
        while found != 0:
            number = load_acquire32(bucket + 8 + ((ctz64(found) >> 3) << 2))
            if number != 0 and same_key(elements + number * element_size + key_at, key, key_size):
                return number
            found = found & (found - 1)
        if shr(control, 48) == 0:
            return 0
        steps += 1
        at += 1
        if at == buckets:
            at = 0
    return 0


@native
def find_slot(
    table: int, max_entries: int, elements: int, element_size: int, key_at: int, key: int, key_size: int, mix: int
) -> int:
    """The address of the slot that holds the key's element, or 0. The caller holds the stripe."""
    buckets = bucket_count(max_entries)
    at = mulhi(mix, buckets)
    steps = 0
    while steps < buckets:
        bucket = table + at * _BUCKET
        control = load_acquire64(bucket)
        found = _matches(control, mix)
        while found != 0:
            slot = bucket + 8 + ((ctz64(found) >> 3) << 2)
            number = load_acquire32(slot)
            if number != 0 and same_key(elements + number * element_size + key_at, key, key_size):
                return slot
            found = found & (found - 1)
        if shr(control, 48) == 0:
            return 0
        steps += 1
        at += 1
        if at == buckets:
            at = 0
    return 0


@native
def _overflow(bucket: int, change: int) -> int:
    while True:
        control = load_acquire64(bucket)
        if shr(control, 48) == _MANY:
            return 0
        if cas64(bucket, control, control + change) == control:
            return 0


@native
def insert_slot(table: int, max_entries: int, number: int, mix: int) -> int:
    """Publish an element whose key is not in the table. The caller holds the stripe; there is room for max_entries."""
    buckets = bucket_count(max_entries)
    at = mulhi(mix, buckets)
    while True:
        bucket = table + at * _BUCKET
        i = 0
        while i < _SLOTS:
            slot = bucket + 8 + (i << 2)
            if load32(slot) == 0 and cas32(slot, 0, number) == 0:
                atomic_add64(bucket, _tag(mix) << (i << 3))
                return 0
            i += 1
        _overflow(bucket, _OVERFLOW)
        at += 1
        if at == buckets:
            at = 0


@native
def remove_slot(table: int, max_entries: int, slot: int, mix: int) -> int:
    """Withdraw the element in that slot, whose key has that hash. The caller holds the stripe."""
    bucket = slot & -_BUCKET
    atomic_add64(bucket, -(_tag(mix) << ((slot - bucket - 8) << 1)))
    store_release32(slot, 0)
    buckets = bucket_count(max_entries)
    at = mulhi(mix, buckets)
    while table + at * _BUCKET != bucket:
        _overflow(table + at * _BUCKET, -_OVERFLOW)
        at += 1
        if at == buckets:
            at = 0
    return 0


@native
def next_slot(table: int, max_entries: int, slot: int) -> int:
    """The first slot in use after `slot` (0: from the beginning), or 0. No lock is needed."""
    last = table + bucket_count(max_entries) * _BUCKET
    bucket = table
    i = 0
    if slot != 0:
        bucket = slot & -_BUCKET
        i = ((slot - bucket - 8) >> 2) + 1
    while bucket < last:
        tags = shr(load_acquire64(bucket) & (_OVERFLOW - 1), i << 3)
        if i < _SLOTS and tags != 0:
            return bucket + 8 + ((i + (ctz64(tags) >> 3)) << 2)
        bucket += _BUCKET
        i = 0
    return 0


@native
def mend_slots(table: int, max_entries: int) -> int:
    """Empty the slots that were claimed and not published, or withdrawn and not emptied; all stripes are held."""
    last = table + bucket_count(max_entries) * _BUCKET
    bucket = table
    while bucket < last:
        control = load_acquire64(bucket)
        i = 0
        while i < _SLOTS:
            slot = bucket + 8 + (i << 2)
            if shr(control, i << 3) & 0xFF == 0 and load32(slot) != 0:
                store32(slot, 0)
            i += 1
        bucket += _BUCKET
    return 0
