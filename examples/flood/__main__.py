"""`make flood`: a SYN flood and an honest client, without and with the filter in host mode; the picture goes to out/flood.svg.

A client and a server are two network namespaces joined by a wire. The server keeps no SYN cookies, as small devices do not, so half-open
connections fill its queue. The attackers are 16 sources on the client's side of the wire; the filter is dos_filter.c, which lets
each source open 25 connections a second. Needs root, touches nothing outside its namespaces, takes half a minute.

Not here: the programs at the ends (ends.py) and the drawing (picture.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from examples.flood.ends import ATTACKERS, BACKLOG
from examples.flood.picture import Phase, draw
from tests.support.wires import Namespace, Pair, pair

ROOT = Path(__file__).parents[2]
# No cookies; and nobody who came before is preferred, so the client stands for one that comes for the first time.
_SERVER = (
    ("net.core.somaxconn", BACKLOG),
    ("net.ipv4.tcp_max_syn_backlog", BACKLOG),
    ("net.ipv4.tcp_no_metrics_save", 1),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.tcp_synack_retries", 1),
)
LIMIT = struct.pack("<3Q", 1_000_000, 100_000_000, 40)  # 1 ms a packet, 100 ms of burst, a SYN costs 40 packets


def _role(namespace: Namespace, *arguments: str) -> subprocess.Popen[Any]:
    words = [sys.executable, "-m", "examples.flood.ends", *arguments]
    return namespace.popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@contextlib.contextmanager
def _prepared() -> Iterator[Pair]:
    """The two ends and the server that runs."""
    with pair() as ends:
        for name, value in _SERVER:
            ends.host.sysctl(name, value)
        ends.host.ip("route", "add", "default", "via", "10.9.0.1")  # where answers to the attackers go
        server = _role(ends.host, "serve")
        assert server.stdout is not None
        server.stdout.readline()
        yield ends


@contextlib.contextmanager
def _filtered(host: Namespace, folder: str) -> Iterator[Any]:
    from xdp.live import attach

    with (
        host.entered(),
        attach(ROOT / "examples" / "dos_filter.o", "eth0", mode="host", state_folder=Path(folder)) as link,
    ):
        link.maps["dos_filt.data"].update(bytes(4), LIMIT)
        yield link


def _phase(
    ends: Pair, name: str, origin: float, arguments: argparse.Namespace, *, flooded: bool, filtered: bool
) -> Phase:
    seconds = arguments.seconds
    attack = None
    start = time.monotonic()
    if flooded:
        target = ends.host.mac("eth0").hex(":")
        options = ("--seconds", str(seconds + 2.0), "--rate", str(arguments.rate), "--target", target)
        attack = _role(ends.client, "flood", *options)
        time.sleep(1.5)  # the attackers' frames are made, the queue is full
    visitor = _role(ends.client, "visit", "--seconds", str(seconds), "--rate", "20")
    told, _ = visitor.communicate(timeout=seconds + 30)
    requests = [(at - origin, took) for at, took in map(json.loads, told.splitlines())]
    end = time.monotonic()
    if attack is not None:
        sent, _ = attack.communicate(timeout=seconds + 30)
        sys.stderr.write(f"{name}: {int(sent):,} SYNs\n")
    return Phase(
        name=name, flooded=flooded, filtered=filtered, start=start - origin, end=end - origin, requests=requests
    )


def run(arguments: argparse.Namespace) -> tuple[list[Phase], dict[str, Any]]:
    """The four phases, and what the filter counted."""
    with _prepared() as ends, tempfile.TemporaryDirectory() as folder:
        origin = time.monotonic()

        def phase(name: str, *, flooded: bool, filtered: bool) -> Phase:
            return _phase(ends, name, origin, arguments, flooded=flooded, filtered=filtered)

        phases = [
            phase("no attack", flooded=False, filtered=False),
            phase("attack, no filter", flooded=True, filtered=False),
        ]
        time.sleep(4.0)  # half-open connections expire
        with _filtered(ends.host, folder) as link:
            phases.append(phase("filter, no attack", flooded=False, filtered=True))
            phases.append(phase("attack, filter", flooded=True, filtered=True))
            counted = asdict(link.stats())
    return phases, counted


def main(words: list[str] | None = None) -> int:
    """Run, draw, print."""
    parser = argparse.ArgumentParser(prog="python -m examples.flood", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of requests in each of the four phases")
    parser.add_argument("--rate", type=float, default=100_000.0, help="SYNs a second")
    parser.add_argument("--out", type=Path, default=Path("out"))
    arguments = parser.parse_args(words)
    if os.geteuid() != 0:
        parser.error("network namespaces need root")
    phases, counted = run(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    title = f"SYN flood, {arguments.rate:,.0f}/s from {ATTACKERS} sources: what an honest client sees"
    (arguments.out / "flood.svg").write_text(draw(phases, title))
    results = [
        {"phase": each.name, "requests": len(each.requests), "success": each.success, "median_ms": each.median}
        for each in phases
    ]
    document = {"phases": results, "filter": counted}
    (arguments.out / "flood.json").write_text(json.dumps(document, indent=2, default=str) + "\n")
    for each in phases:
        told = f"{each.success:7.1%} of {len(each.requests)} answered"
        print(f"{each.name:20}{told}" + (f", median {each.median:.2f} ms" if each.times else ""))
    print(f"picture: {arguments.out / 'flood.svg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
