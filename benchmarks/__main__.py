"""`python -m benchmarks`: each example through our JIT, our interpreter and the running kernel, in one run.

The kernel's figure is the duration that BPF_PROG_TEST_RUN reports for a million repeats of one frame, the mean over eight frames
spread over the traffic; its clock is read from a map, as ours is, so the programs do the same work. Ours is the time of the native
batch loop over all the frames, divided by their number. Rounds alternate between the two; the minimum and the median
of the rounds are kept, and ratios are those of the medians.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import runtime
import xdp
from benchmarks.scan import scan_rate
from benchmarks.traffic import frames_for
from netdev.port import FrameBatch
from runtime.errors import XdpsimError
from runtime.loader import LoadedObject
from xdp.hooks import hook_on
from xdp.hooks.kernel import KernelHook
from xdp.source import select

ROOT = Path(__file__).parents[1]
EXAMPLES = (
    ("pass", None),
    ("dos_filter", None),
    ("dns_amp", None),
    ("parser", None),
    ("reflector", None),
    ("ipip_encap", None),
    ("dispatcher", "xdp_dispatch"),
    ("hash_lookup", None),
    ("lpm_lookup", None),
)
LIMITS = {
    "pass": "loop overhead",
    "dos_filter": "LRU hash lookup and update, atomic counters",
    "dns_amp": "hash update for each question, hash delete for each answer",
    "parser": "branches of the headers, function calls",
    "reflector": "copy of the frame into its slot and comparison with the original",
    "ipip_encap": "copy of the frame into its slot, adjust_head",
    "dispatcher": "an indirect call for each packet, copy of the frame",
    "hash_lookup": "cache misses of 65,536 random keys",
    "lpm_lookup": "dependent loads of the trie",
}
KERNEL_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Nanoseconds for one packet."""

    example: str
    jit_min: float
    jit_median: float
    interpreter: float | None
    kernel_min: float | None
    kernel_median: float | None
    limit: str

    @property
    def ratio(self) -> float | None:
        """How much faster than the kernel: medians."""
        return self.kernel_median / self.jit_median if self.kernel_median else None


def load(example: str) -> LoadedObject:
    """The example with its benchmark contents."""
    loaded = runtime.load(ROOT / "examples" / f"{example}.o", registry=xdp.default_registry())
    if example == "hash_lookup":
        keys = b"".join((i * 0x9E3779B1 & 0xFFFFFFFF).to_bytes(4, "little") for i in range(65_536))
        size = loaded.maps["table"].spec.value_size
        loaded.maps["table"].fill(keys, bytes(size * 65_536))
    if example == "lpm_lookup":
        keys = b"".join((24).to_bytes(4, "little") + bytes([10, i // 256, i % 256, 0]) for i in range(10_000))
        size = loaded.maps["routes"].spec.value_size
        loaded.maps["routes"].fill(keys, bytes(size * 10_000))
    return loaded


def jit_rounds(loaded: LoadedObject, program: str | None, frames: FrameBatch, loops: int) -> Iterator[float]:
    """Nanoseconds per packet, a round at a time."""
    hook = hook_on(loaded.program(program), "jit")
    hook.run(frames)
    while True:
        yield sum(hook.run(frames).run_ns for _ in range(loops)) / (loops * len(frames))


def kernel_rounds(loaded: LoadedObject, program: str | None, frames: FrameBatch, repeat: int) -> Iterator[float]:
    """Nanoseconds per packet, a round at a time."""
    hook = KernelHook(loaded.program(program))
    step = len(frames) // KERNEL_FRAMES
    while True:
        yield hook.time_frames([frames.frame(i * step + 1) for i in range(KERNEL_FRAMES)], repeat)


def interpreter_time(example: str, program: str | None, frames: FrameBatch, count: int) -> float | None:
    """Nanoseconds per packet."""
    import numpy as np

    with load(example) as loaded:
        try:
            hook = hook_on(loaded.program(program), "interpreter")
        except (ImportError, XdpsimError):
            return None
        few = select(frames, np.arange(count))
        return hook.run(few, checked=True).run_ns / count


def measure(example: str, program: str | None, arguments: argparse.Namespace) -> Row:
    """One row."""
    frames = frames_for(example)
    with load(example) as loaded:
        ours = jit_rounds(loaded, program, frames, arguments.loops)
        theirs = kernel_rounds(loaded, program, frames, arguments.repeat) if os.geteuid() == 0 else None
        jit, kernel = [], []
        for _ in range(arguments.rounds):
            jit.append(next(ours))
            if theirs is not None:
                kernel.append(next(theirs))
    return Row(
        example=example,
        jit_min=min(jit),
        jit_median=statistics.median(jit),
        interpreter=interpreter_time(example, program, frames, arguments.interpreted),
        kernel_min=min(kernel) if kernel else None,
        kernel_median=statistics.median(kernel) if kernel else None,
        limit=LIMITS[example],
    )


def machine() -> str:
    """CPU, kernel, versions."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return (
        f"{model}, {os.cpu_count()} CPUs, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
        f"llvmlite {version('llvmlite')}, numba {version('numba')}"
    )


def table(rows: list[Row], scan: float, seconds: float) -> str:
    """The results in Markdown."""
    lines = [
        "# Results",
        "",
        f"Machine: {machine()}. `make bench`, {seconds:.0f} s. Nanoseconds for one packet.",
        "",
        "| example | JIT min | JIT median | kernel min | kernel median | kernel / JIT | interpreter | what limits ours |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        kernel = [f"{x:.1f}" if x else "-" for x in (row.kernel_min, row.kernel_median)]
        ratio = f"{row.ratio:.2f}" if row.ratio else "-"
        slow = f"{row.interpreter:,.0f}" if row.interpreter else "-"
        lines.append(
            f"| {row.example} | {row.jit_min:.2f} | {row.jit_median:.2f} | {kernel[0]} | {kernel[1]} | {ratio} "
            f"| {slow} | {row.limit} |"
        )
    ratios = [row.ratio for row in rows if row.ratio]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines += ["", f"Geometric mean of kernel / JIT: {mean:.2f}."]
    lines += ["", f"Index scan of a cached capture of 60-byte frames: {scan / 1e6:.0f} million records/s."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loops", type=int, default=60, help="passes over the 16,384 frames in a round")
    parser.add_argument("--repeat", type=int, default=1_000_000, help="repeats of a frame in the kernel")
    parser.add_argument("--interpreted", type=int, default=500, help="frames for the interpreter")
    parser.add_argument("--only", help="one example")
    parser.add_argument("--write", type=Path, help="folder for results.md and results.json")
    arguments = parser.parse_args()
    started = time.monotonic()
    rows = []
    for example, program in EXAMPLES:
        if arguments.only in (None, example):
            print(f"measuring {example} …", file=sys.stderr)
            rows.append(measure(example, program, arguments))
    with tempfile.TemporaryDirectory() as folder:
        scan = scan_rate(Path(folder))
    text = table(rows, scan, time.monotonic() - started)
    print(text)
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        (arguments.write / "results.md").write_text(text)
        document = {"machine": machine(), "rows": [asdict(row) for row in rows], "records_per_second": scan}
        (arguments.write / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
