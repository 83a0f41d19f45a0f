"""Captures as one stream of batches: opened, looped, limited, and cut down to what an engine can run.

Not here: programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture import CaptureFile, open_capture
from netdev.port import FrameBatch
from xdp.natives.capture import NATIVE

__all__ = ["Source", "select"]

_BATCH: Final = 4096


@final
@dataclass(slots=True)
class Source:
    """Captures in order. `damage` tells what could not be read; `first_ns`, `last_ns` bound the time."""

    captures: list[CaptureFile]
    loop: int = 1
    limit: int | None = None
    batch_size: int = field(default=_BATCH)

    @classmethod
    def open(
        cls, paths: Sequence[str | Path], *, loop: int = 1, limit: int | None = None, wrap: bool = False
    ) -> Source:
        """Open every capture; raises CaptureError."""
        return cls([open_capture(path, kernels=NATIVE, wrap=wrap) for path in paths], loop, limit)

    @property
    def damage(self) -> list[str]:
        """A line for each capture that is damaged."""
        return [f"{each.path}: {each.damage}" for each in self.captures if each.damage is not None]

    @property
    def frames(self) -> int:
        """How many frames the stream has in all."""
        total = sum(len(each) for each in self.captures) * self.loop
        return total if self.limit is None else min(total, self.limit)

    def span(self) -> tuple[int, int]:
        """First and last timestamp in nanoseconds; (0, 0) without frames."""
        times = [t for each in self.captures if len(each) for t in (each.first_timestamp, each.last_timestamp)]
        known = [t for t in times if t is not None]
        return (min(known), max(known)) if known else (0, 0)

    def batches(self) -> Iterator[FrameBatch]:
        """All frames."""
        left = self.frames
        for _ in range(self.loop):
            for capture in self.captures:
                for batch in capture.batches(self.batch_size):
                    if left <= 0:
                        return
                    yield batch if len(batch) <= left else select(batch, np.arange(left))
                    left -= len(batch)

    def close(self) -> None:
        """Let go of the files."""
        for each in self.captures:
            each.close()


def select(batch: FrameBatch, rows: NDArray[np.intp]) -> FrameBatch:
    """The frames of a batch at these indices, in the same memory."""
    return FrameBatch(
        base=batch.base,
        offsets=batch.offsets[rows],
        caplens=batch.caplens[rows],
        lengths=batch.lengths[rows],
        timestamps=batch.timestamps[rows],
        interfaces=batch.interfaces[rows],
        owner=batch.owner,
    )
