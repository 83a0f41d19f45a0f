"""`python -m benchmarks.soak --minutes 60`: a filter that works for long, while others write its maps and replace its program.

Inline mode between two namespaces, attached from the command line. Mixed frames without pause; another process updates and deletes
entries; every second `net attach … overwrite` replaces the program. At the end every frame is accounted for: sent = received + lost in
the ring, received = verdicts, passed = what arrived at the far end. The keeper's memory and descriptors are compared with what they were
after the first tenth of the time (a tenth is given for allocators).

Not here: throughput (live.py), and killing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from tests.support.live_attachments import Attached, Load, Writer, loaded
from tests.support.live_frames import mixed
from tests.support.objects import EXAMPLES
from tests.support.senders import received
from tests.support.wires import Line, bump, privileged

__all__ = ["Soak", "soak"]

_OBJECT: Final = EXAMPLES / "port_filter.o"
_GROWTH: Final = 1.1
_SLACK_KIB: Final = 8 << 10


@final
@dataclass(slots=True)
class Sample:
    """The keeper at one moment."""

    second: float
    rss_kib: int
    descriptors: int
    threads: int


@final
@dataclass(slots=True)
class Soak:
    """What came of it."""

    sent: int = 0
    arrived: int = 0
    replaced: int = 0
    stats: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """What does not add up; empty when everything does."""
        stats, drops = self.stats, self.stats["drops"]
        first, last = self.samples[len(self.samples) // 10], self.samples[-1]
        sums = {
            "sent = received + lost + cut": (self.sent, stats["received"] + drops["lost"] + drops["cut"]),
            "received = verdicts": (stats["received"], sum(stats["packets"].values())),
            "dropped = XDP_DROP": (drops["drop"], stats["packets"]["XDP_DROP"]),
            "passed = arrived": (stats["words"]["passed"], self.arrived),
            "descriptors stay": (first.descriptors, last.descriptors),
            "threads stay": (first.threads, last.threads),
        }
        told = [f"{name}: {left:,} and {right:,}" for name, (left, right) in sums.items() if left != right]
        if last.rss_kib > first.rss_kib * _GROWTH + _SLACK_KIB:
            told.append(f"memory grew from {first.rss_kib:,} to {last.rss_kib:,} KiB")
        return told


def _sample(pid: int, second: float) -> Sample:
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    count = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(second, int(rows["VmRSS"].split()[0]), count, int(rows["Threads"]))


def _work(attached: Attached, result: Soak, seconds: float) -> None:
    attach = ("net", "attach", str(_OBJECT), "dev", "a")
    (pid,) = attached.keepers()
    start = time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        attached.xdpsim(*attach, "overwrite")
        result.replaced += 1
        result.samples.append(_sample(pid, now - start))
        time.sleep(max(0.0, now + 1.0 - time.monotonic()))


def _settled(attached: Attached, load: Load) -> dict[str, Any]:
    """The counts when all that was sent has been judged or lost."""
    stats = attached.stats()
    end = time.monotonic() + 10.0
    while stats["received"] + stats["drops"]["lost"] < load.sent and time.monotonic() < end:
        time.sleep(0.1)
        stats = attached.stats()
    return stats


def soak(seconds: float, rate: float) -> Soak:
    """Run for so long at so many frames a second."""
    result = Soak()
    with bump() as line, tempfile.TemporaryDirectory() as folder:
        attached = _attached(line, Path(folder))
        try:
            before = received(line.server, "eth0")
            writer = Writer(attached, "closed")
            try:
                with loaded(line.client, "eth0", mixed(256), rate) as load:
                    _work(attached, result, seconds)
                writer.advances()
            finally:
                writer.close()
            result.sent = load.sent
            result.stats = _settled(attached, load)
            result.arrived = received(line.server, "eth0") - before
        finally:
            attached.stop()
    return result


def _attached(line: Line, folder: Path) -> Attached:
    for end in (line.client, line.server):  # nobody speaks by himself: every frame is the load's
        end.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    attached = Attached(line.middle, folder)
    attached.xdpsim("net", "attach", str(_OBJECT), "dev", "a", "--mode", "inline", "--peer", "b", "--force")
    return attached


def main() -> int:
    """Run, tell, and fail when something does not add up."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50_000.0, help="frames a second")
    arguments = parser.parse_args()
    if not privileged():
        parser.error("network namespaces need root")
    result = soak(arguments.minutes * 60, arguments.rate)
    drops = {name: count for name, count in result.stats["drops"].items() if count}
    first, last = result.samples[len(result.samples) // 10], result.samples[-1]
    print(f"{result.sent:,} frames sent, {result.arrived:,} arrived, drops by cause: {drops}")
    print(
        f"{result.replaced} replacements; memory {first.rss_kib:,} → {last.rss_kib:,} KiB, {last.descriptors} descriptors"
    )
    complaints = result.complaints()
    for each in complaints:
        print(f"does not add up: {each}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
