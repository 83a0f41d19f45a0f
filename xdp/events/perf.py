"""PERF_EVENT_ARRAY: a ring for each CPU, with records as a perf event gives them that asks for raw data and the time.

Not here: which bytes an event has (helpers.py). Semantics follow kernel/trace/bpf_trace.c and kernel/events/ring_buffer.c.

In Linux a slot is empty until user space puts a perf event there, with a ring of the size that it maps. Here every slot has
its ring from the beginning, of RING bytes, for events of the CPU of its number: as libbpf sets them up. A reader may ask for
another CPU's events (CPU_OF). Behind the header of the arena lie a page of control words, then the slots: a page of words,
and the data, twice as long as the ring, so that a record that begins before the end goes on behind it.

A producer holds the slot's lock while it copies; it publishes the record at the end, so one that dies leaves nothing.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP
from typing import Final

from runtime.maps import CORE_MAP_KINDS, CPUS_AT, HEADER_SIZE, MAX_ENTRIES_AT, check_access, lock, unlock
from runtime.native import (
    load16,
    load32,
    load64,
    load_acquire64,
    memcpy,
    memzero,
    monotonic_ns,
    native,
    store16,
    store32,
    store64,
    store_release64,
)
from runtime.spec import ClockMode, Env, MapFlag
from xdp.events.packed import RecordType, head, room_for
from xdp.events.waiting import announce, doze, wake

__all__ = [
    "CPU_OF",
    "RING",
    "perf_drain",
    "perf_init",
    "perf_next_key",
    "perf_put",
    "perf_size",
    "perf_wait",
    "slot_at",
]

RING: Final = 64 * 1024
"""Bytes of a slot's ring: 16 pages, as bpftool maps them."""

_SLOTS: Final = 4096
_LOCK: Final = 0
_READER_LOCK: Final = 64
_HEAD: Final = 128
_LOST: Final = 136  # events lost since the last record
LOST_EVER: Final = 144
_TAIL: Final = 192
CPU_OF: Final = 256
"""In a slot: the CPU whose events it takes, plus 1; 0: the CPU of the slot's number."""

_DATA: Final = 4096
_STRIDE: Final = _DATA + 2 * RING
_MOST: Final = 1 << 16
_LONGEST: Final = 0xFFFF  # a record's length has 16 bits

_CURRENT: Final = 0xFFFF_FFFF
_SAMPLE_HEAD: Final = 20
_LOST_SIZE: Final = 24

_FILE_ACCESS: Final = int(MapFlag.RDONLY | MapFlag.WRONLY)
_ALLOWED: Final = _FILE_ACCESS | int(MapFlag.NUMA_NODE | MapFlag.PRESERVE_ELEMS)
_CPU: Final = int(Env.CPU)
_CLOCK: Final = int(Env.CLOCK)
_CLOCK_MODE: Final = int(Env.CLOCK_MODE)
_PACKET: Final = int(ClockMode.PACKET)

_array: Final = next(kind for kind in CORE_MAP_KINDS if kind.name == "array")
_array_next_key: Final = _array.next_key


@native
def perf_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno; keys and values have 4 bytes."""
    if check_access(flags, _ALLOWED) != 0 or key_size != 4 or value_size != 4 or max_entries == 0:
        return -EINVAL
    if max_entries > _MOST:
        return -E2BIG
    return _SLOTS + max_entries * _STRIDE


@native
def perf_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is empty rings."""
    return 0


@native
def perf_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """The index after another, as in arrays."""
    return _array_next_key(arena, key_size, value_size, max_entries, flags, key, out)


@native
def slot_at(arena: int, index: int) -> int:
    """The address of a slot."""
    return arena + HEADER_SIZE + _SLOTS + index * _STRIDE


@native
def _slot_for(arena: int, env: int, index: int) -> int:
    """The slot that events of this worker's CPU go to under that index, or a negative errno."""
    cpu = load64(env + _CPU)
    if index == _CURRENT:
        index = cpu
    if index >= load64(arena + MAX_ENTRIES_AT):
        return -E2BIG
    slot = slot_at(arena, index)
    wanted = load64(slot + CPU_OF) - 1
    if wanted < 0:
        wanted = index
        if index >= load64(arena + CPUS_AT):
            return -ENOENT
    if wanted != cpu:
        return -EOPNOTSUPP
    return slot


@native
def _place(slot: int, position: int) -> int:
    return slot + _DATA + (position & (RING - 1))


@native
def _header(place: int, kind: int, size: int) -> int:
    """Write a struct perf_event_header."""
    store32(place, kind)
    store16(place + 4, 0)
    store16(place + 6, size)
    return 0


@native
def _tell_lost(slot: int, at: int, lost: int) -> int:
    """Write a record of lost events; returns the position behind it."""
    place = _place(slot, at)
    _header(place, RecordType.LOST, _LOST_SIZE)
    store64(place + 8, 0)
    store64(place + 16, lost)
    return at + _LOST_SIZE


@native
def _now(env: int) -> int:
    if load64(env + _CLOCK_MODE) == _PACKET:
        return load64(env + _CLOCK)
    return monotonic_ns()


@native
def _write(slot: int, env: int, data: int, size: int, more: int, extra: int) -> int:
    """Under the slot's lock: a sample of two parts, padded as the kernel pads; 0 or -ENOSPC."""
    raw = ((size + extra + 11) & -8) - 4
    length = _SAMPLE_HEAD + raw
    lost = load64(slot + _LOST)
    at = load64(slot + _HEAD)
    total = length
    if lost != 0:
        total += _LOST_SIZE
    if RING - 1 - (at - load_acquire64(slot + _TAIL)) < total:
        store64(slot + _LOST, lost + 1)
        store64(slot + LOST_EVER, load64(slot + LOST_EVER) + 1)
        return -ENOSPC
    if lost != 0:
        at = _tell_lost(slot, at, lost)
    place = _place(slot, at)
    _header(place, RecordType.SAMPLE, length)
    store64(place + 8, _now(env))
    store32(place + 16, raw)
    memcpy(place + _SAMPLE_HEAD, data, size)
    memcpy(place + _SAMPLE_HEAD + size, more, extra)
    memzero(place + _SAMPLE_HEAD + size + extra, raw - size - extra)
    store_release64(slot + _HEAD, at + length)
    store64(slot + _LOST, 0)
    return 0


@native
def perf_put(env: int, arena: int, index: int, data: int, size: int, more: int, extra: int) -> int:
    """Append an event of `size` bytes at `data` and `extra` at `more` to the ring of an index (2**32 - 1: of this CPU).

    0, -E2BIG for an index out of range and for more than 64 KiB, -ENOENT for a slot of no CPU, -EOPNOTSUPP for another CPU's,
    -ENOSPC for a full ring: then the event counts as lost.
    """
    slot = _slot_for(arena, env, index)
    if slot < 0:  # addresses of user space are not negative
        return slot
    if size + extra > _LONGEST - _SAMPLE_HEAD - 8:
        return -E2BIG
    lock(slot + _LOCK, env)
    result = _write(slot, env, data, size, more, extra)
    unlock(slot + _LOCK)
    if result == 0:
        wake(arena + HEADER_SIZE)
    return result


@native
def _copy_out(slot: int, at: int, index: int, out: int, capacity: int, cursor: int) -> int:
    """Copy records from a position on, and store the position after the last; returns as perf_drain does."""
    cpu = load64(slot + CPU_OF) - 1
    if cpu < 0:
        cpu = index
    written = 0
    end = load_acquire64(slot + _HEAD)
    full = 0
    while at < end and full == 0:
        place = _place(slot, at)
        length = load16(place + 6)
        if length < 8 or at + length > end:  # no record: somebody wrote over it; begin anew
            at = end
        elif written + room_for(length) > capacity:
            full = 1
        elif load32(place) == RecordType.LOST:
            head(out + written, RecordType.LOST, 0, at, load64(place + 16), cpu, index)
            written += room_for(0)
            at += length
        else:
            size = min(load32(place + 16), length - _SAMPLE_HEAD)
            data = head(out + written, RecordType.SAMPLE, size, at, load64(place + 8), cpu, index)
            memcpy(data, place + _SAMPLE_HEAD, size)
            written += room_for(size)
            at += length
    store64(cursor, at)
    return written


@native
def perf_drain(
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
    """Copy records of a slot to `out`, packed, as many as there is room for (128 KiB suffice for any), and free them.

    Returns how many bytes that took. `cursor` is a word for the position; with `keep` not 0 records are read from there and
    stay in the ring. One reader at a time: a second one takes what the first has left.
    """
    slot = slot_at(arena, index)
    if keep != 0:
        at = max(load64(cursor), load_acquire64(slot + _TAIL))
        return _copy_out(slot, at, index, out, capacity, cursor)
    lock(slot + _READER_LOCK, env)
    written = _copy_out(slot, load64(slot + _TAIL), index, out, capacity, cursor)
    store_release64(slot + _TAIL, load64(cursor))
    unlock(slot + _READER_LOCK)
    return written


@native
def _is_ready(arena: int, first: int, end: int) -> int:
    for index in range(first, end):
        slot = slot_at(arena, index)
        if load_acquire64(slot + _TAIL) != load_acquire64(slot + _HEAD):
            return 1
    return 0


@native
def perf_wait(
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
    """Sleep until a slot from `first` to before `end` has a record, any has one, a signal comes or the time is over.

    1 when one of those slots has a record.
    """
    body = arena + HEADER_SIZE
    sequence = announce(body)
    ready = _is_ready(arena, first, end)
    doze(body, sequence, 0 if ready else nanoseconds)
    return max(ready, _is_ready(arena, first, end))
