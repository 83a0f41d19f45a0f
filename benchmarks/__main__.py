"""`python -m benchmarks`: each example through our JIT, our interpreter and the running kernel, in one run.

The kernel's figure is the duration that BPF_PROG_TEST_RUN reports for a million repeats of one frame, the mean over eight frames
spread over the traffic; its clock is read from a map, as ours is, so the programs do the same work. Ours is the time of the native
batch loop over all the frames, divided by their number: the median of the passes of a round, because the kernel's clock stops while
something else runs and ours does not. Rounds alternate between the two; the minimum and the median
of the rounds are kept, and ratios are those of the medians.

What limits a row is measured, not guessed: the *loop* is what the same frames take with a program that only passes them
(copied into slots where the example's are), and *hot* is what the example takes when each of the eight
frames is repeated, so that caches and branch predictors know everything. What is left between hot and the whole is the price
of frames and keys that differ.
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
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import runtime
import xdp
from benchmarks.limits import hot_time, is_copied, limited_by, loop_time
from benchmarks.live import live_section
from benchmarks.scan import Scan, scans
from benchmarks.sockets import socket_section
from benchmarks.traffic import frames_for
from benchmarks.verifier import VERIFIER_HEAD, Verification, verifications, verifier_line
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
KERNEL_FRAMES = 8
LEGEND = (
    "Loop: the same frames with a program that only passes them. "
    "Hot: the JIT on the eight frames that the kernel gets, each repeated as there."
)
NO_KERNEL = "loading programs into it needs root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Nanoseconds for one packet; None for what did not run."""

    example: str
    jit_min: float
    jit_median: float
    interpreter: float | None
    kernel_min: float | None
    kernel_median: float | None
    loop: float
    hot: float

    @property
    def ratio(self) -> float | None:
        """How much faster than the kernel: medians."""
        return self.kernel_median / self.jit_median if self.kernel_median else None

    @property
    def limit(self) -> str:
        """What most of the time goes to."""
        return limited_by(whole=self.jit_median, loop=self.loop, hot=self.hot)


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
        yield statistics.median(hook.run(frames).run_ns for _ in range(loops)) / len(frames)


def kernel_rounds(loaded: LoadedObject, program: str | None, frames: FrameBatch, repeat: int) -> Iterator[float]:
    """Nanoseconds per packet, a round at a time."""
    hook = KernelHook(loaded.program(program))
    some = [frames.frame(i) for i in chosen(frames)]
    while True:
        yield hook.time_frames(some, repeat)


def chosen(frames: FrameBatch) -> list[int]:
    """The frames that are repeated: eight, spread over the traffic."""
    step = len(frames) // KERNEL_FRAMES
    return [i * step + 1 for i in range(KERNEL_FRAMES)]


def interpreter_time(example: str, program: str | None, frames: FrameBatch, count: int) -> float | None:
    """Nanoseconds per packet."""
    import numpy as np

    with load(example) as loaded:
        try:
            hook = hook_on(loaded.program(program), "interpreter")
        except (ImportError, XdpsimError):
            return None
        hook.run(select(frames, np.arange(1)), checked=True)  # what is prepared once is no part of a packet
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
        hot = hot_time(loaded.program(program), frames, chosen(frames))
        loop = loop_time(frames, copied=is_copied(loaded.program(program)))
    return Row(
        example=example,
        jit_min=min(jit),
        jit_median=statistics.median(jit),
        interpreter=interpreter_time(example, program, frames, arguments.interpreted),
        kernel_min=min(kernel) if kernel else None,
        kernel_median=statistics.median(kernel) if kernel else None,
        loop=loop,
        hot=hot,
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


def table(rows: Sequence[Row], scanned: Sequence[Scan], verified: Sequence[Verification], seconds: float) -> str:
    """The results in Markdown."""
    lines = [
        "# Results",
        "",
        f"Machine: {machine()}. `make bench`, {seconds:.0f} s. Nanoseconds for one packet.",
        "",
        "| example | JIT min | JIT median | kernel min | kernel median | kernel / JIT | loop | hot | kernel / hot | interpreter | most goes to |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_line(row) for row in rows),
        "",
        LEGEND,
    ]
    ratios = [row.ratio for row in rows if row.ratio]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines += ["", f"Geometric mean of kernel / JIT: {mean:.2f}."]
    else:
        lines += ["", f"The kernel's columns are empty: {NO_KERNEL}."]
    lines += [
        "",
        "Index of a cached capture, from its name to an index that batches can be taken from:",
        "",
        "| frames | file | written in pieces of | ms min | ms median | million records/s (median) | GB/s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_scan_line(each) for each in scanned),
        "",
        "The verifier on synthetic programs, from the object in memory to the verdicts, in one process:",
        "",
        *VERIFIER_HEAD,
        *map(verifier_line, verified),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    kernel = [f"{x:.1f}" if x else "-" for x in (row.kernel_min, row.kernel_median)]
    ratio = f"{row.ratio:.2f}" if row.ratio else "-"
    hot = f"{row.kernel_median / row.hot:.2f}" if row.kernel_median else "-"
    slow = f"{row.interpreter:,.0f}" if row.interpreter else "-"
    return (
        f"| {row.example} | {row.jit_min:.2f} | {row.jit_median:.2f} | {kernel[0]} | {kernel[1]} | {ratio} "
        f"| {row.loop:.2f} | {row.hot:.2f} | {hot} | {slow} | {row.limit} |"
    )


def _scan_line(scan: Scan) -> str:
    return (
        f"| {scan.frame_bytes} bytes | {scan.file_bytes / 1e6:.0f} MB | {scan.written_by >> 10:,} KiB "
        f"| {scan.seconds_min * 1e3:.1f} | {scan.seconds_median * 1e3:.1f} | {scan.records_per_second / 1e6:.0f} "
        f"| {scan.file_bytes / scan.seconds_median / 1e9:.1f} |"
    )


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
        print("measuring the index scan …", file=sys.stderr)
        scanned = list(scans(Path(folder), arguments.rounds))
    print("measuring the verifier …", file=sys.stderr)
    verified = list(verifications())
    print("measuring live filters …", file=sys.stderr)
    live_lines, live = live_section()
    print("measuring supervised connects …", file=sys.stderr)
    socket_lines, sockets = socket_section()
    text = table(rows, scanned, verified, time.monotonic() - started)
    text += "\n".join(["", *live_lines, "", *socket_lines]) + "\n"
    print(text)
    if arguments.write:
        arguments.write.mkdir(parents=True, exist_ok=True)
        (arguments.write / "results.md").write_text(text)
        document = {
            "machine": machine(),
            "rows": [{**asdict(row), "ratio": row.ratio, "limit": row.limit} for row in rows],
            "index": [asdict(each) | {"records_per_second": each.records_per_second} for each in scanned],
            "verifier": [asdict(each) | {"microseconds_per_step": each.microseconds_per_step} for each in verified],
            "live": live,
            "connects": sockets,
        }
        (arguments.write / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
