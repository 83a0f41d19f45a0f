"""Frames that end, counted by what their verdicts came from: a small hash table that a batch is added to.

Not here: what an origin means (runtime.engine), and reading the table (xdp.live.reasons).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import load32, load64, native, shr, store64

__all__ = ["ENTRY", "PLACES", "Tallying", "tally_reasons"]


class Tallying(IntEnum):
    """Byte offsets of the words of a job.

    COUNT frames. RETURNS: u32, what the program returned; ORIGINS: u64; CAPLENS: u32. WANTED: a bit for each verdict that is
    counted; what is no verdict is 0 (aborted). TABLE: PLACES entries of ENTRY bytes: key, packets, bytes; a key is the origin with the
    verdict in bits 28 to 30, and 0 where the place is free. The last entry takes what finds no place.
    """

    COUNT = 0
    RETURNS = 8
    ORIGINS = 16
    CAPLENS = 24
    WANTED = 32
    TABLE = 40


ENTRY: Final = 24
PLACES: Final = 1024
_RETURNS: Final = 8
_ORIGINS: Final = 16
_CAPLENS: Final = 24
_WANTED: Final = 32
_TABLE: Final = 40
_LAST: Final = 4
_VERDICT: Final = 28
_SPREAD: Final = 0x9E3779B97F4A7C15 - (1 << 64)
_BITS: Final = 10
_TRIES: Final = 32
_OVERFLOW: Final = PLACES - 1


@native
def _place(table: int, key: int) -> int:
    """The address of the entry of a key, made if it is new."""
    at = shr(key * _SPREAD, 64 - _BITS)
    for _ in range(_TRIES):
        entry = table + ENTRY * at
        known = load64(entry)
        if known == key:
            return entry
        if known == 0 and at != _OVERFLOW:
            store64(entry, key)
            return entry
        at = at + 1 & PLACES - 1
    return table + ENTRY * _OVERFLOW


@native
def tally_reasons(job: int) -> int:
    """Add a batch; returns how many frames were counted."""
    count = load64(job)
    returns = load64(job + _RETURNS)
    origins = load64(job + _ORIGINS)
    caplens = load64(job + _CAPLENS)
    wanted = load64(job + _WANTED)
    table = load64(job + _TABLE)
    counted = 0
    last = 0
    entry = table + ENTRY * _OVERFLOW
    for i in range(count):
        verdict = load32(returns + 4 * i)
        if verdict > _LAST:
            verdict = 0
        if shr(wanted, verdict) & 1 != 0:
            key = load64(origins + 8 * i) | verdict << _VERDICT
            if key != last:
                entry = _place(table, key)
                last = key
            store64(entry + 8, load64(entry + 8) + 1)
            store64(entry + 16, load64(entry + 16) + load32(caplens + 4 * i))
            counted += 1
    return counted
