"""Arrays and jobs: those that a live port gives its frames out in, and those of a batch that it is to send.

Not here: what is in them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture import Job, address_of
from netdev.port import FrameBatch

__all__ = ["MOST_FRAMES", "Columns", "describe"]

MOST_FRAMES: Final = 4096
"""A batch of a live port has no more frames."""


def describe(job: Job, kind: type[IntEnum], batch: FrameBatch, selection: NDArray[np.uint32]) -> object:
    """Tell a job which frames to send, by the words BASE to OFFLOADS, SELECTION and COUNT of its kind.

    Returns what has to be held while the job is used: arrays of other types or with gaps are copied.
    """
    offsets = np.ascontiguousarray(batch.offsets, np.uint64)
    caplens = np.ascontiguousarray(batch.caplens, np.uint32)
    offloads = None if batch.offloads is None else np.ascontiguousarray(batch.offloads, np.uint64)
    chosen = np.ascontiguousarray(selection, np.uint32)
    job[kind["BASE"]] = batch.base
    job[kind["OFFSETS"]] = address_of(offsets)
    job[kind["CAPLENS"]] = address_of(caplens)
    job[kind["OFFLOADS"]] = 0 if offloads is None else address_of(offloads)
    job[kind["SELECTION"]] = address_of(chosen)
    job[kind["COUNT"]] = len(chosen)
    return offsets, caplens, offloads, chosen


@final
class Columns:
    """Room for MOST_FRAMES frames of `owner`, whose memory begins at `base`."""

    def __init__(self, base: int, owner: object) -> None:
        self._base = base
        self._owner = owner
        self._offsets = np.zeros(MOST_FRAMES, np.uint64)
        self._caplens = np.zeros(MOST_FRAMES, np.uint32)
        self._lengths = np.zeros(MOST_FRAMES, np.uint32)
        self._timestamps = np.zeros(MOST_FRAMES, np.uint64)
        self._offloads = np.zeros(MOST_FRAMES, np.uint64)
        self._interfaces = np.zeros(MOST_FRAMES, np.uint32)

    def put(self, job: Job, kind: type[IntEnum]) -> None:
        """Tell a job where the arrays are, by the words OFFSETS to OFFLOADS of its kind."""
        job[kind["OFFSETS"]] = address_of(self._offsets)
        job[kind["CAPLENS"]] = address_of(self._caplens)
        job[kind["LENGTHS"]] = address_of(self._lengths)
        job[kind["TIMESTAMPS"]] = address_of(self._timestamps)
        job[kind["OFFLOADS"]] = address_of(self._offloads)

    def batch(self, count: int) -> FrameBatch:
        """The first `count` frames of the arrays."""
        return FrameBatch(
            base=self._base,
            offsets=self._offsets[:count],
            caplens=self._caplens[:count],
            lengths=self._lengths[:count],
            timestamps=self._timestamps[:count],
            interfaces=self._interfaces[:count],
            owner=self._owner,
            offloads=self._offloads[:count],
        )
