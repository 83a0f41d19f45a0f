"""The arrays that a live port gives its frames out in, made once and used again for each batch.

Not here: what is in them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, final

import numpy as np

from netdev.capture import Job, address_of
from netdev.port import FrameBatch

__all__ = ["MOST_FRAMES", "Columns"]

MOST_FRAMES: Final = 4096
"""A batch of a live port has no more frames."""


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
