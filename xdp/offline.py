"""Replay: captures through a program; verdicts counted, frames and timings reported.

Not here: comparing engines (compare.py), files of verdicts and frames (outputs.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.port import FrameBatch
from xdp.hooks import BatchResult, Hook, XdpProgram, hook_on, require_frames
from xdp.outputs import FrameFiles, VerdictFile
from xdp.source import Source, select
from xdp.verdict import Verdict

if TYPE_CHECKING:
    from runtime.loader import Program
    from xdp.hooks.kernel import KernelHook

__all__ = ["Report", "Timeline", "replay"]

_BINS: Final = 120
_KEPT: Final = 256  # frames whose slots stay in the cache while their outputs are written
Progress = Callable[[int, int], None]
Paths = str | Path | Sequence[str | Path]


@final
class Timeline:
    """Frames by verdict over the capture's time: `counts[verdict, bin]`, bins of `width_ns` from `start_ns` on, over `span_ns`."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self.start_ns = start_ns
        self.span_ns = end_ns - start_ns
        self.width_ns = max(1, -(-(end_ns - start_ns + 1) // _BINS))
        self.counts: NDArray[np.int64] = np.zeros((len(Verdict), _BINS), np.int64)

    def add(self, timestamps: NDArray[np.uint64], verdicts: NDArray[np.uint32]) -> None:
        """Count a batch."""
        bins = (timestamps.astype(np.int64) - self.start_ns) // self.width_ns
        place = verdicts.astype(np.int64) * _BINS + np.clip(bins, 0, _BINS - 1)
        self.counts += np.bincount(place, minlength=self.counts.size).reshape(self.counts.shape)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a replay did. `run_ns` is the time inside native batches, `elapsed_ns` the whole replay after loading.

    `skipped` counts frames that the engine cannot run (the kernel's limits); `damage` says which captures
    were read only in part.
    """

    object: str
    program: str
    captures: tuple[str, ...]
    engine: str
    packets: int
    bytes: int
    verdicts: dict[str, int]
    modified: int
    elapsed_ns: int
    run_ns: int
    skipped: int = 0
    damage: tuple[str, ...] = ()
    timeline: Timeline | None = field(default=None, repr=False)

    @property
    def ns_per_packet(self) -> float:
        """Nanoseconds of native time for one frame."""
        return round(self.run_ns / self.packets, 2) if self.packets else 0.0

    @property
    def packets_per_second(self) -> int:
        """Frames in a second of native time."""
        return round(self.packets * 1e9 / self.run_ns) if self.run_ns else 0

    def as_dict(self) -> dict[str, Any]:
        """The report as the command line prints it in JSON."""
        found: dict[str, Any] = {
            "object": self.object,
            "program": self.program,
            "captures": list(self.captures),
            "engine": self.engine,
            "packets": self.packets,
            "bytes": self.bytes,
            "verdicts": self.verdicts,
            "modified": self.modified,
            "elapsed_ns": self.elapsed_ns,
            "run_ns": self.run_ns,
            "ns_per_packet": self.ns_per_packet,
            "packets_per_second": self.packets_per_second,
        }
        if self.skipped:
            found["skipped"] = self.skipped
        if self.damage:
            found["damage"] = list(self.damage)
        return found


def replay(
    program: XdpProgram | Program,
    captures: Paths,
    *,
    engine: str | None = None,
    loop: int = 1,
    limit: int | None = None,
    clock: str = "packet",
    seed: int = 0,
    ifindex: int = 1,
    queue: int = 0,
    verdicts: str | Path | None = None,
    hashes: bool = False,
    out: str | Path | None = None,
    wrap: bool = False,
    timeline: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Run every frame of the captures through the program.

    `engine` is "jit", "interpreter" or "kernel" (default: the object's). `clock` "packet" gives programs the capture's time,
    "wall" the machine's. `verdicts` names a file for one JSON line a frame (with `hashes`, the SHA-256 of what the
    program left), `out` a folder for frames by verdict as pcapng. `progress` is called with frames done and
    frames in all. Raises UnsupportedError for programs that no frames run, CaptureError, VerificationError, and OSError for outputs that cannot be written.
    """
    paths = [captures] if isinstance(captures, str | Path) else list(captures)
    bare = _bare(program)
    require_frames(bare)
    wanted = engine or bare.owner.engine
    with ExitStack() as stack:
        source = stack.enter_context(closing(Source.open(paths, loop=loop, limit=limit, wrap=wrap)))
        sinks = _sinks(stack, program.name, verdicts, out, hashes=hashes)
        if sinks:
            source.batch_size = _KEPT
        hook = hook_on(bare, wanted, ifindex=ifindex, queue=queue, seed=seed, wall=clock == "wall", keep=bool(sinks))
        stack.callback(hook.close)
        tally = _Tally(Timeline(*source.span()) if timeline else None)
        started = time.perf_counter_ns()
        _run(source, hook, wanted, tally, sinks, progress)
        elapsed = time.perf_counter_ns() - started
        for sink in sinks:
            sink.finish()
        return tally.report(bare, paths, wanted, elapsed, source.damage)


def _bare(program: Any) -> Program:
    """The program itself; of faces of other types, too, which are refused by name then."""
    found: Program = getattr(program, "program", program)
    return found


def _sinks(
    stack: ExitStack, program: str, verdicts: str | Path | None, out: str | Path | None, *, hashes: bool
) -> list[VerdictFile | FrameFiles]:
    """What wants every frame."""
    sinks: list[VerdictFile | FrameFiles] = []
    if verdicts is not None:
        sinks.append(stack.enter_context(VerdictFile(Path(verdicts), hashes=hashes)))
    if out is not None:
        sinks.append(stack.enter_context(FrameFiles(Path(out), program)))
    return sinks


def _run(
    source: Source,
    hook: Hook | KernelHook,
    engine: str,
    tally: _Tally,
    sinks: Sequence[VerdictFile | FrameFiles],
    progress: Progress | None,
) -> None:
    for batch in source.batches():
        frames = _runnable(batch, tally) if engine == "kernel" else batch
        result = hook.run(frames, checked=engine == "interpreter")
        tally.add(frames, result)
        for sink in sinks:
            sink.add(frames, result)
        if progress is not None:
            progress(tally.packets + tally.skipped, source.frames)


def _runnable(batch: FrameBatch, tally: _Tally) -> FrameBatch:
    """What the kernel's test run takes; the rest is counted."""
    from xdp.hooks.kernel import KERNEL_LONGEST, KERNEL_SHORTEST

    rows = np.nonzero((batch.caplens >= KERNEL_SHORTEST) & (batch.caplens <= KERNEL_LONGEST))[0]
    tally.skipped += len(batch) - len(rows)
    return batch if len(rows) == len(batch) else select(batch, rows)


@final
class _Tally:
    """Counts, over batches."""

    def __init__(self, timeline: Timeline | None) -> None:
        self.timeline = timeline
        self.packets = self.bytes = self.modified = self.run_ns = self.skipped = 0
        self.counts: NDArray[np.int64] = np.zeros(len(Verdict), np.int64)

    def add(self, batch: FrameBatch, result: BatchResult) -> None:
        """Count a batch."""
        found = result.verdicts
        self.packets += len(batch)
        self.bytes += int(batch.caplens.sum(dtype=np.uint64))
        self.modified += result.modified
        self.run_ns += result.run_ns
        self.counts += np.bincount(found, minlength=len(Verdict))
        if self.timeline is not None:
            self.timeline.add(batch.timestamps, found)

    def report(
        self, program: Program, paths: Sequence[str | Path], engine: str, elapsed: int, damage: list[str]
    ) -> Report:
        """The counts as a report."""
        return Report(
            object=program.owner.spec.name,
            program=program.name,
            captures=tuple(os.fspath(path) for path in paths),
            engine=engine,
            packets=self.packets,
            bytes=self.bytes,
            verdicts={each.name: int(self.counts[each]) for each in Verdict},
            modified=self.modified,
            elapsed_ns=elapsed,
            run_ns=self.run_ns,
            skipped=self.skipped,
            damage=tuple(damage),
            timeline=self.timeline,
        )
