"""Two engines over the same frames with the same maps: the first difference, or none.

Not here: running frames (hooks). What one of the two cannot run is left out for both, and counted.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from netdev.port import FrameBatch
from runtime.loader import LoadedObject, Program
from xdp.events import events_of
from xdp.hooks import BatchResult, Hook, hook_on
from xdp.hooks.kernel import KERNEL_LONGEST, KERNEL_SHORTEST, KernelHook
from xdp.source import Source, select
from xdp.verdict import verdict_of

__all__ = ["Comparison", "Difference", "compare"]

_BATCH: Final = 1024
_LRU: Final = frozenset({"lru_hash", "lru_percpu_hash"})
_SHOWN: Final = 32


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where two engines part: `what` differs in frame `frame` (None: in the maps afterwards), and both answers."""

    what: str
    frame: int | None
    first: str
    second: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared. `left_out` counts frames by reason; `unsettled` are maps whose contents are no fair question."""

    program: str
    engines: tuple[str, str]
    captures: tuple[str, ...]
    frames: int
    left_out: dict[str, int]
    maps: tuple[str, ...]
    unsettled: dict[str, str]
    difference: Difference | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def compare(
    load: Callable[[], LoadedObject],
    program: str | None,
    captures: Sequence[str | Path],
    *,
    engines: tuple[str, str],
    loop: int = 1,
    limit: int | None = None,
    seed: int = 0,
    ifindex: int = 1,
    queue: int = 0,
    wrap: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Run the captures on both engines, each with an object of its own from `load`; stop at the first difference.

    Return values, output bytes, then all maps are compared. The clock is the packets', random numbers are seeded.
    """
    with ExitStack() as stack:
        source = stack.enter_context(closing(Source.open(captures, loop=loop, limit=limit, wrap=wrap)))
        source.batch_size = _BATCH
        sides = []
        for engine in engines:
            sides.append(_Side(load(), program, engine, ifindex=ifindex, queue=queue, seed=seed))
            stack.callback(sides[-1].close)
        frames, left_out, difference = _frames(source, sides, progress)
        compared, unsettled = _fair(sides)
        return Comparison(
            program=sides[0].program.name,
            engines=engines,
            captures=tuple(os.fspath(path) for path in captures),
            frames=frames,
            left_out=left_out,
            maps=compared,
            unsettled=unsettled,
            difference=difference or _maps_differ(sides, compared),
        )


def _frames(
    source: Source, sides: Sequence[_Side], progress: Callable[[int, int], None] | None
) -> tuple[int, dict[str, int], Difference | None]:
    """Frames compared, frames left out by reason, and the first difference."""
    left_out: dict[str, int] = {}
    frames = 0
    engines = [side.engine for side in sides]
    for batch in source.batches():
        chosen, numbers = _common(batch, frames + sum(left_out.values()), engines, left_out)
        first, second = (side.run(chosen) for side in sides)
        frames += len(chosen)
        if progress is not None:
            progress(frames + sum(left_out.values()), source.frames)
        difference = _frames_differ(first, second, numbers)
        if difference is not None:
            return frames, left_out, difference
    return frames, left_out, None


@final
class _Side:
    """One engine with its object."""

    def __init__(
        self, loaded: LoadedObject, program: str | None, engine: str, *, ifindex: int, queue: int, seed: int
    ) -> None:
        self.loaded = loaded
        self.engine = engine
        self.program: Program = loaded.program(program)
        self.hook: Hook | KernelHook = hook_on(self.program, engine, ifindex=ifindex, queue=queue, seed=seed, keep=True)

    def run(self, batch: FrameBatch) -> BatchResult:
        """Run a batch."""
        return self.hook.run(batch, checked=self.engine == "interpreter")

    def contents(self, name: str) -> dict[bytes, bytes]:
        """A map, as bytes; of events the keys are slot and position."""
        ours = self.loaded.maps[name]
        if ours.kind.value_is == "event":
            found = self.hook.ring(name).records() if isinstance(self.hook, KernelHook) else events_of(ours).peek()
            return {struct.pack(">IQ", each.index, each.position): each.data for each in found}
        if isinstance(self.hook, KernelHook):
            return self.hook.map_items(name)
        return dict(ours.items())

    def close(self) -> None:
        """Free everything."""
        self.hook.close()
        self.loaded.close()


def _common(
    batch: FrameBatch, start: int, engines: Sequence[str], left_out: dict[str, int]
) -> tuple[FrameBatch, Sequence[int]]:
    """The frames that both engines take, and their numbers in the stream."""
    if "kernel" not in engines:
        return batch, range(start, start + len(batch))
    short, long = batch.caplens < KERNEL_SHORTEST, batch.caplens > KERNEL_LONGEST
    for reason, count in (
        (f"shorter than {KERNEL_SHORTEST} bytes", int(short.sum())),
        (f"longer than {KERNEL_LONGEST} bytes", int(long.sum())),
    ):
        if count:
            left_out[reason] = left_out.get(reason, 0) + count
    rows = np.nonzero(~(short | long))[0]
    return select(batch, rows), [start + int(row) for row in rows]


def _frames_differ(first: BatchResult, second: BatchResult, numbers: Sequence[int]) -> Difference | None:
    assert first.frames is not None
    assert second.frames is not None
    for i in range(len(numbers)):
        a, b = int(first.returned[i]), int(second.returned[i])
        if a != b:
            answers = [f"{verdict_of(x).name} (returned {x})" for x in (a, b)]
            return Difference(what="verdict", frame=numbers[i], first=answers[0], second=answers[1])
        left, right = first.frames.frame(i), second.frames.frame(i)
        if left != right:
            return _bytes_differ(left, right, numbers[i])
    return None


def _bytes_differ(left: bytes, right: bytes, number: int) -> Difference:
    if len(left) != len(right):
        return Difference(what="length", frame=number, first=f"{len(left)} bytes", second=f"{len(right)} bytes")
    at = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    shown = [part[at : at + _SHOWN].hex(" ") for part in (left, right)]
    return Difference(what=f"bytes from {at} on", frame=number, first=shown[0], second=shown[1])


def _fair(sides: Sequence[_Side]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Maps to compare, and maps whose contents may rightly differ."""
    owner = sides[0].program.owner
    unsettled: dict[str, str] = {}
    compared = []
    for spec in owner.spec.maps:
        kind = owner.registry.map_kind(spec.kind)
        if kind.value_is not in ("data", "event"):
            unsettled[spec.name] = f"holds {kind.value_is}s, which each engine names in its own way"
        elif kind.name in _LRU and max(len(side.contents(spec.name)) for side in sides) >= spec.max_entries:
            unsettled[spec.name] = "is full: which elements were evicted is each engine's own choice"
        else:
            compared.append(spec.name)
    return tuple(compared), unsettled


def _maps_differ(sides: Sequence[_Side], names: Sequence[str]) -> Difference | None:
    for name in names:
        first, second = (side.contents(name) for side in sides)
        if first == second:
            continue
        key = next(k for k in sorted({*first, *second}) if first.get(k) != second.get(k))
        shown = [side[key].hex(" ") if key in side else "no such key" for side in (first, second)]
        return Difference(what=f"map {name!r} at key {key.hex(' ')}", frame=None, first=shown[0], second=shown[1])
    return None
