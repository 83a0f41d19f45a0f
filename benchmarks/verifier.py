"""How fast programs are verified: synthetic programs of several sizes, and an object of 50,000 instructions.

Not here: the programs (synthetic.py). Times are seconds of CPU, each row in a process of its own, so that nothing is remembered from
the row before; reading the object is not counted. A *step* is one instruction of one path; *pruned* are paths that ended at a state
that was covered, *compared* the states that were looked at for that. *Loop* is what a fixed loop took beside each row: where cores are
shared, or another is used, rows compare as multiples of it.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.synthetic import source
from runtime.object import read_object
from runtime.verifier.explore import Explorer
from runtime.verifier.flow import graph_of
from runtime.verifier.platform import Platform
from runtime.verifier.policy import Policy
from xdp.cli.source import object_bytes
from xdp.extension import default_registry

__all__ = ["VERIFIER_HEAD", "Verification", "verifications", "verifier_line"]

_ROWS: Final = (
    ("100 instructions", (2,)),
    ("1,000 instructions", (42,)),
    ("6,000 instructions", (255,)),
    ("50,000 instructions", (255, *(132,) * 4, *(63,) * 8, *(40,) * 20)),
)
_SEED: Final = 1
_TURNS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One row: what was verified, and what it took."""

    name: str
    programs: int
    instructions: int
    largest: int
    seconds: float
    steps: int
    pruned: int
    compared: int
    loop: float

    @property
    def microseconds_per_step(self) -> float:
        """Everything included: the graph, the closures, the exploration."""
        return self.seconds / self.steps * 1e6


def verifications() -> Iterator[Verification]:
    """Measure each row, one after the other."""
    spawn = multiprocessing.get_context("spawn")
    for name, stages in _ROWS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "synthetic.c"
            path.write_text(source(stages, _SEED))
            data = object_bytes(str(path))
        with ProcessPoolExecutor(1, spawn) as pool:
            yield pool.submit(_measured, name, data).result()


def _measured(name: str, data: bytes) -> Verification:
    registry = default_registry()
    spec = read_object(data, name=name)
    steps = pruned = compared = 0
    before = _calibration()
    started = time.process_time()
    for program in spec.programs:
        platform = Platform(program, registry.program_type("xdp"), spec.maps, registry, Policy())
        explorer = Explorer(platform, graph_of(program.code, program.subprograms, platform.arguments))
        steps += explorer.run().steps
        pruned += explorer.tally.pruned
        compared += explorer.tally.compared
    seconds = time.process_time() - started
    sizes = [len(program.code) for program in spec.programs]
    return Verification(
        name=name,
        programs=len(sizes),
        instructions=sum(sizes),
        largest=max(sizes),
        seconds=seconds,
        steps=steps,
        pruned=pruned,
        compared=compared,
        loop=(before + _calibration()) / 2,
    )


def _calibration() -> float:
    """The CPU seconds of a fixed loop in plain Python."""
    started = time.process_time()
    mixed = 0
    for turn in range(_TURNS):
        mixed = (mixed * 31 + turn) & 0xFFFF
    return time.process_time() - started


VERIFIER_HEAD: Final = (
    "| programs | instructions | largest | CPU seconds | steps | µs/step | pruned | compared | loop, ms |",
    "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def verifier_line(row: Verification) -> str:
    """The row in Markdown."""
    return (
        f"| {row.programs} | {row.instructions:,} | {row.largest:,} | {row.seconds:.2f} | {row.steps:,} "
        f"| {row.microseconds_per_step:.1f} | {row.pruned:,} | {row.compared:,} | {row.loop * 1e3:.0f} |"
    )


def main() -> None:
    """Measure and print."""
    print(*VERIFIER_HEAD, sep="\n")
    for row in verifications():
        print(verifier_line(row), flush=True)


if __name__ == "__main__":
    main()
