"""Verdicts of a batch as lines of JSON: one native for all of them.

Not here: the file that they go to (xdp/outputs.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import load32, load64, memcpy, native, store8, udiv, urem

__all__ = ["DIGEST_SIZE", "LINE_ROOM", "Lines", "Text", "format_verdicts"]

LINE_ROOM: Final = 320
"""No line is longer, in bytes."""

DIGEST_SIZE: Final = 64


class Text(IntEnum):
    """The pieces between the numbers; a verdict's name follows at VERDICT + its value."""

    NUMBER = 0
    TIME = 1
    CAPLEN = 2
    LENGTH = 3
    NAME = 4
    RETVAL = 5
    OUT_LENGTH = 6
    DIGEST = 7
    END = 8
    VERDICT = 9


class Lines(IntEnum):
    """Byte offsets of the words of a job.

    COUNT frames, numbered from FIRST on. TIMESTAMPS: u64; CAPLENS, LENGTHS, RETURNS, VERDICTS, OUT_LENGTHS: u32 arrays.
    DIGESTS: DIGEST_SIZE bytes of text a frame, or 0. OUT: where lines go. TEXTS: an address and a length for each Text.
    """

    COUNT = 0
    FIRST = 8
    TIMESTAMPS = 16
    CAPLENS = 24
    LENGTHS = 32
    RETURNS = 40
    VERDICTS = 48
    OUT_LENGTHS = 56
    DIGESTS = 64
    OUT = 72
    TEXTS = 80


_FIRST: Final = 8
_TIMESTAMPS: Final = 16
_CAPLENS: Final = 24
_LENGTHS: Final = 32
_RETURNS: Final = 40
_VERDICTS: Final = 48
_OUT_LENGTHS: Final = 56
_DIGESTS: Final = 64
_OUT: Final = 72
_TEXTS: Final = 80
_ZERO: Final = 48


@native
def _put(out: int, texts: int, piece: int) -> int:
    """Append a piece of text; returns where the next goes."""
    size = load64(texts + 16 * piece + 8)
    memcpy(out, load64(texts + 16 * piece), size)
    return out + size


@native
def _decimal(out: int, value: int) -> int:
    """Append an unsigned number; returns where the next piece goes."""
    digits = 1
    rest = udiv(value, 10)
    while rest != 0:
        digits += 1
        rest = udiv(rest, 10)
    rest = value
    for i in range(digits):
        store8(out + digits - 1 - i, _ZERO + urem(rest, 10))
        rest = udiv(rest, 10)
    return out + digits


@native
def _column(job: int, word: int, row: int) -> int:
    return load32(load64(job + word) + 4 * row)


@native
def format_verdicts(job: int) -> int:
    """Write a line for each frame; returns the bytes written."""
    count = load64(job)
    first = load64(job + _FIRST)
    texts = load64(job + _TEXTS)
    start = load64(job + _OUT)
    digests = load64(job + _DIGESTS)
    out = start
    for i in range(count):
        out = _decimal(_put(out, texts, 0), first + i)
        out = _decimal(_put(out, texts, 1), load64(load64(job + _TIMESTAMPS) + 8 * i))
        out = _decimal(_put(out, texts, 2), _column(job, _CAPLENS, i))
        out = _decimal(_put(out, texts, 3), _column(job, _LENGTHS, i))
        out = _put(_put(out, texts, 4), texts, 9 + _column(job, _VERDICTS, i))
        out = _decimal(_put(out, texts, 5), _column(job, _RETURNS, i))
        out = _decimal(_put(out, texts, 6), _column(job, _OUT_LENGTHS, i))
        if digests != 0:
            out = _put(out, texts, 7)
            memcpy(out, digests + 64 * i, 64)
            out = out + 64
            store8(out, 34)
            out = out + 1
        out = _put(out, texts, 8)
    return out - start
