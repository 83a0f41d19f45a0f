"""Frames of a batch sorted by verdict: rows, packets and bytes of each verdict, one native for all of them.

Not here: where verdicts come from, and what is done with the rows.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import load32, load64, native, store32, store64

__all__ = ["Sort", "sort_by_verdict"]


class Sort(IntEnum):
    """Byte offsets of the words of a job.

    COUNT frames. RETURNS: u32, what programs returned; CAPLENS: u32. VERDICTS: u32, written: the same, with what is
    no verdict as 0 (aborted). ROWS: u32, written: rows of verdict v from v * STRIDE on. PACKETS, BYTES: a u64 for each of
    the five verdicts, written.
    """

    COUNT = 0
    RETURNS = 8
    CAPLENS = 16
    VERDICTS = 24
    ROWS = 32
    STRIDE = 40
    PACKETS = 48
    BYTES = 56


_RETURNS: Final = 8
_CAPLENS: Final = 16
_VERDICTS: Final = 24
_ROWS: Final = 32
_STRIDE: Final = 40
_PACKETS: Final = 48
_BYTES: Final = 56
_LAST: Final = 4


@native
def sort_by_verdict(job: int) -> int:
    """Sort a batch; returns how many frames there were."""
    count = load64(job)
    returns = load64(job + _RETURNS)
    caplens = load64(job + _CAPLENS)
    verdicts = load64(job + _VERDICTS)
    rows = load64(job + _ROWS)
    stride = load64(job + _STRIDE)
    packets = load64(job + _PACKETS)
    size = load64(job + _BYTES)
    for v in range(_LAST + 1):
        store64(packets + 8 * v, 0)
        store64(size + 8 * v, 0)
    for i in range(count):
        verdict = load32(returns + 4 * i)
        if verdict > _LAST:
            verdict = 0
        store32(verdicts + 4 * i, verdict)
        place = load64(packets + 8 * verdict)
        store32(rows + 4 * (verdict * stride + place), i)
        store64(packets + 8 * verdict, place + 1)
        store64(size + 8 * verdict, load64(size + 8 * verdict) + load32(caplens + 4 * i))
    return count
