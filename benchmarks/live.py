"""The filter on a wire, beside the kernel's generic XDP and scapy's bridge: packets a second without loss, and latency.

    client eth0 — a  middle  b — eth0 server        three namespaces, two veth pairs, 60-byte UDP frames of one flow

The program is port_filter.c; "drop" is with the flow's port closed, "forward" with it open. Two senders: a packet socket's ring at the
client, and live frames of BPF_PROG_TEST_RUN that enter the middle's stack as received on a. Frames are sent as fast as they go; where
some were lost, again at a lower rate, until none was. The rate counts from the first frame sent to the last one judged or delivered,
so what waits in a ring at the end is paid for.

Which core does what: veth has no queue of its own. What the kernel does on reception (its XDP, or writing into our ring) runs in
the sender's system call on the sender's core, CPU 0. Our workers have CPU 1 (two of them share it), and so has scapy.

Not here: the processes at the ends (wire_ends.py).
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

from benchmarks.wire_ends import PORT
from tests.support.kernel_live import forwarded, generic
from tests.support.objects import EXAMPLES
from tests.support.senders import received
from tests.support.wires import Line, Namespace, bump, privileged

__all__ = ["LatencyRow", "LiveRow", "latencies", "live_section", "reason_to_skip", "throughputs"]

_OBJECT: Final = EXAMPLES / "port_filter.o"
_CLOSED: Final = struct.pack("!BBH", 17, 0, PORT)
_SENDER_CPU, _FILTER_CPU = 0, 1
_SLOWER: Final = 0.8
_TRIES: Final = 9
_FAST_TRIES: Final = 3  # at full speed, before it is lowered: others on the machine take a core away now and then
_QUIET: Final = 1.0  # seconds without a frame after which no more are expected


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRow:
    """One filter doing one thing: packets a second of wall clock; CPU seconds a million packets of the filter's own threads."""

    filter: str
    work: str
    sender: str
    sent: int
    lost: int
    rate: float
    cpu_per_million: float | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """Round trips of a small datagram through the filter both ways, at a thousand a second: microseconds."""

    filter: str
    median: float
    p99: float
    lost: int


@final
@dataclass(frozen=True, slots=True)
class _Standing:
    """A filter that stands in the wire: how many frames it has seen the end of, and its CPU seconds."""

    seen: Callable[[], int]
    cpu: Callable[[], float] | None = None


def reason_to_skip() -> str:
    """Why nothing can be measured here; empty when it can."""
    if not privileged():
        return "network namespaces need root"
    return "" if len(os.sched_getaffinity(0)) > 1 else "sender and filter need a CPU each"


def _role(namespace: Namespace, *arguments: str) -> subprocess.Popen[Any]:
    words = [sys.executable, "-m", "benchmarks.wire_ends", *arguments]
    return namespace.popen(words, stdout=subprocess.PIPE, text=True)


def _told(process: subprocess.Popen[Any]) -> dict[str, Any]:
    text, _ = process.communicate(timeout=120)
    answer: dict[str, Any] = json.loads(text)
    return answer


@contextmanager
def _on_cpu(cpu: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _kernel(line: Line, *, closed: bool) -> Iterator[_Standing]:
    with generic(line.middle, "a", _OBJECT) as kernel, forwarded(line.middle, "a", "b"):
        if closed:
            kernel.update("closed", _CLOSED, bytes(8))

        def dropped() -> int:
            return int.from_bytes(kernel.raw("closed")[_CLOSED], "little")

        yield _Standing(dropped if closed else partial(received, line.server, "eth0"))


@contextmanager
def _ours(line: Line, backend: str, queues: int, *, closed: bool, latency: str = "normal") -> Iterator[_Standing]:
    from xdp.live import attach

    with (
        line.middle.entered(),
        _on_cpu(_FILTER_CPU),  # threads inherit it
        attach(_OBJECT, "a", mode="inline", peer="b", backend=backend, queues=queues, latency=latency) as link,
    ):
        if closed:
            link.maps["closed"].update(_CLOSED, bytes(8))

        def judged() -> int:
            return link.stats().verdicts["XDP_DROP"]

        yield _Standing(judged if closed else partial(received, line.server, "eth0"), lambda: link.stats().cpu_seconds)


@contextmanager
def _plain(line: Line, *, closed: bool) -> Iterator[_Standing]:
    assert not closed
    with forwarded(line.middle, "a", "b"):
        yield _Standing(partial(received, line.server, "eth0"))


def _send(line: Line, sender: str, count: int, rate: float) -> subprocess.Popen[Any]:
    options = ["--count", str(count), "--cpu", str(_SENDER_CPU)]
    if rate:  # a live call costs tens of milliseconds by itself
        chunk = max(1024, min(32_768, int(rate * 0.03))) if sender == "live" else 256
        options += ["--rate", str(rate), "--chunk", str(chunk)]
    if sender == "live":
        return _role(line.middle, "send", "--live", "--interface", "a", *options)
    return _role(line.client, "send", *options)


def _once(line: Line, standing: _Standing, sender: str, count: int, rate: float) -> tuple[int, int, float, float]:
    """Frames sent, frames lost, seconds from the first sent to the last seen, CPU seconds of the filter."""
    before, busy = standing.seen(), standing.cpu() if standing.cpu else 0.0
    process = _send(line, sender, count, rate)
    seen, changed = before, time.perf_counter()
    while process.poll() is None or time.perf_counter() < changed + _QUIET:
        now = standing.seen()
        if now != seen:
            seen, changed = now, time.perf_counter()
        if process.poll() is not None and seen - before >= count + 64:  # 64: the sender's first ones
            break
        time.sleep(0.005)
    told = _told(process)
    busy = standing.cpu() - busy if standing.cpu else 0.0
    lost = told["sent"] - (standing.seen() - before)
    return told["sent"], max(0, lost), max(told["end"], changed) - told["start"], busy


def _without_loss(line: Line, standing: _Standing, name: str, work: str, sender: str, count: int) -> LiveRow:
    rate, row = 0.0, None
    for attempt in range(_TRIES):
        sent, lost, seconds, busy = _once(line, standing, sender, count, rate)
        reached = (sent - lost) / seconds
        row = LiveRow(
            filter=name,
            work=work,
            sender=sender,
            sent=sent,
            lost=lost,
            rate=reached,
            cpu_per_million=busy / (sent - lost) * 1e6 if standing.cpu else None,
        )
        if not lost:
            break
        if attempt < _FAST_TRIES - 1:
            continue
        rate = min(rate or reached / _SLOWER, reached / _SLOWER) * _SLOWER
        count = max(1 << 16, min(count, int(rate * 3)))
    assert row is not None
    return row


_FILTERS: Final[Sequence[tuple[str, Callable[..., Any]]]] = (
    ("kernel, generic XDP", _kernel),
    ("xdpsim inline, afpacket", partial(_ours, backend="afpacket", queues=1)),
    ("xdpsim inline, afpacket, low latency", partial(_ours, backend="afpacket", queues=1, latency="low")),
    ("xdpsim inline, afpacket, 2 queues", partial(_ours, backend="afpacket", queues=2)),
    ("xdpsim inline, libpcap", partial(_ours, backend="libpcap", queues=1)),
)


def throughputs(count: int) -> Iterator[LiveRow]:
    """Every filter, dropping and forwarding, with each sender."""
    for closed in (True, False):
        for name, stand in _FILTERS:
            for sender in ("ring", "live"):
                with bump() as line, stand(line, closed=closed) as standing:
                    work = "drop" if closed else "forward"
                    row = _without_loss(line, standing, name, work, sender, count)
                sys.stderr.write(f"{name}, {work}, {sender}: {row.rate:,.0f} packets/s, {row.lost:,} lost\n")
                yield row
        if closed:
            yield _scapy()


def _scapy() -> LiveRow:
    """Scapy is offered more than it can judge; what it judged while it was busy counts, losses and all."""
    with bump() as line:
        bridge = _role(line.middle, "scapy", "--interface", "a,b", "--seconds", "4", "--cpu", str(_FILTER_CPU))
        assert bridge.stdout is not None
        bridge.stdout.readline()
        time.sleep(0.5)
        sender = _role(line.client, "send", "--count", "60000", "--rate", "20000", "--chunk", "200", "--cpu", "0")
        sent, told = _told(sender), _told(bridge)
    return LiveRow(
        filter="scapy bridge_and_sniff",
        work="drop",
        sender="ring",
        sent=sent["sent"],
        lost=sent["sent"] - told["judged"],
        rate=told["rate"],
        cpu_per_million=told["cpu"] / told["judged"] * 1e6,
    )


def latencies(count: int) -> Iterator[LatencyRow]:
    """Round trips: a redirection in the kernel, the kernel's filter, ours."""
    for name, stand in (("kernel, no filter", _plain), *_FILTERS[:3], _FILTERS[4]):
        with bump() as line, stand(line, closed=False):
            echo = _role(line.server, "echo")
            assert echo.stdout is not None
            echo.stdout.readline()
            told = _told(_role(line.client, "ask", "--count", str(count), "--rate", "1000"))
            yield LatencyRow(filter=name, median=told["median"], p99=told["p99"], lost=told["lost"])


def _throughput_lines(rows: Sequence[LiveRow]) -> Iterator[str]:
    base = {(row.work, row.sender): row.rate for row in rows if row.filter == _FILTERS[0][0]}
    scapy = next((row.rate for row in rows if row.filter.startswith("scapy")), 0.0)
    yield "| filter | does | sender | packets/s | of kernel | of scapy | lost | CPU s / million |"
    yield "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        kernel = row.rate / base[row.work, row.sender]
        busy = "-" if row.cpu_per_million is None else f"{row.cpu_per_million:.2f}"
        times = f"{row.rate / scapy:,.0f}" if scapy else "-"
        yield (
            f"| {row.filter} | {row.work} | {row.sender} | {row.rate:,.0f} | {kernel:.2f} | {times} "
            f"| {row.lost:,} of {row.sent:,} | {busy} |"
        )


def _latency_lines(rows: Sequence[LatencyRow]) -> Iterator[str]:
    base = rows[0]
    yield "| filter | round trip, median µs | p99 µs | added, median µs | added, p99 µs | lost |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        added = (row.median - base.median, row.p99 - base.p99)
        yield f"| {row.filter} | {row.median:.0f} | {row.p99:.0f} | {added[0]:.0f} | {added[1]:.0f} | {row.lost} |"


def live_section(*, count: int = 3 << 20, trips: int = 3000) -> tuple[list[str], dict[str, Any]]:
    """The section of the results in Markdown, and as JSON; what other processes did to the CPUs is said by the load."""
    from dataclasses import asdict

    if reason := reason_to_skip():
        return [f"Live: not measured, {reason}."], {"skipped": reason}
    load = os.getloadavg()[0]
    rows, times = list(throughputs(count)), list(latencies(trips))
    lines = [
        (
            f"Live, frames of 60 bytes (64 with their checksum) over veth pairs; load average {load:.1f} before, "
            f"{os.getloadavg()[0]:.1f} after:"
        ),
        "",
        *_throughput_lines(rows),
        "",
        "Round trips of a small datagram through the filter twice, a thousand a second:",
        "",
        *_latency_lines(times),
        "",
        (
            "veth receives in the sender's context: the kernel's XDP, and the write into our ring, run on the sender's CPU 0; our worker "
            "and scapy run on CPU 1, where two queues share it. The ring sender alone is a limit, live frames are not."
        ),
    ]
    return lines, {"throughput": [asdict(each) for each in rows], "latency": [asdict(each) for each in times]}


if __name__ == "__main__":
    sys.stdout.write("\n".join(live_section(count=int(sys.argv[1]) if sys.argv[1:] else 3 << 20)[0]) + "\n")
