"""Inline mode beside the kernel's generic mode: the same object on the same wire, the same frames, compared capture by capture.

The kernel passes what its program passes to the other side by a redirection behind it; so both stand as a bump in the wire.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import pytest

from tests.support.kernel_live import forwarded, generic
from tests.support.live_captures import captured
from tests.support.live_frames import MARK, mixed
from tests.support.objects import EXAMPLES
from tests.support.senders import RingSender
from tests.support.wires import Line, bump, privileged
from xdp.live import attach

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]

FRAMES = mixed(600)
IPPROTO_TCP, IPPROTO_UDP = 6, 17

Map = Mapping[bytes, bytes]


@final
@dataclass(frozen=True, slots=True)
class Case:
    """An example, what is written into its maps first, and how packets by verdict are read from them."""

    name: str
    fill: tuple[tuple[str, bytes, bytes], ...]
    counted: tuple[str, ...]
    by_verdict: Callable[[Mapping[str, Map]], dict[str, int]]


@final
@dataclass(frozen=True, slots=True)
class Observed:
    """What one run delivered and counted."""

    client: list[bytes]
    server: list[bytes]
    maps: Mapping[str, Map]


def _words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 8}Q", data)


def _ports(maps: Mapping[str, Map]) -> dict[str, int]:
    rows = {struct.unpack("<I", key)[0]: _words(value)[0] for key, value in maps["verdicts"].items()}
    return {"XDP_DROP": rows[1], "XDP_PASS": rows[2]}


def _limiter(maps: Mapping[str, Map]) -> dict[str, int]:
    rows = {struct.unpack("<I", key)[0]: sum(_words(value)[::2]) for key, value in maps["counters"].items()}
    return {"XDP_PASS": rows[0] + rows[1], "XDP_DROP": rows[2] + rows[3] + rows[4]}


def _reflector(maps: Mapping[str, Map]) -> dict[str, int]:
    _, pings, datagrams, others = _words(next(iter(maps["reflecto.bss"].values())))[:4]  # udp_port lies first
    return {"XDP_TX": pings + datagrams, "XDP_PASS": others}


def _service(protocol: int, port: int) -> bytes:
    return struct.pack("!BBH", protocol, 0, port)


ZERO = bytes(8)
HOUR = 3_600 * 10**9
CASES = (
    Case(
        "port_filter",
        (("closed", _service(IPPROTO_TCP, 80), ZERO), ("closed", _service(IPPROTO_UDP, 53), ZERO)),
        ("closed", "verdicts"),
        _ports,
    ),
    # an hour for a packet and ten hours of burst: whatever the pace, a source has eleven packets
    Case(
        "dos_filter",
        (
            ("dos_filt.data", bytes(4), struct.pack("<3Q", HOUR, 10 * HOUR, 3)),
            ("blocked", bytes([198, 51, 100, 3]), ZERO),
        ),
        ("counters", "blocked", "dropped"),
        _limiter,
    ),
    Case("reflector", (), ("reflecto.bss",), _reflector),
)


@contextmanager
def _line() -> Iterator[Line]:
    """A wire on which nobody speaks by himself."""
    with bump() as line:
        for end in (line.client, line.server):
            end.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        yield line


def _run(line: Line) -> tuple[list[bytes], list[bytes]]:
    with captured(line.client, "eth0") as client, captured(line.server, "eth0") as server:
        with line.client.entered():
            sender = RingSender("eth0", FRAMES, slots=1024)
        with sender:
            assert sender.send(len(FRAMES)) == len(FRAMES)
    return client.marked(MARK), server.marked(MARK)


def _by_kernel(line: Line, case: Case) -> Observed:
    path = EXAMPLES / f"{case.name}.o"
    with generic(line.middle, "a", path) as kernel, forwarded(line.middle, "a", "b"):
        for name, key, value in case.fill:
            kernel.update(name, key, value)
        client, server = _run(line)
        return Observed(client, server, {name: kernel.raw(name) for name in case.counted})


def _by_us(line: Line, case: Case) -> tuple[Observed, dict[str, int], dict[str, int]]:
    """What was observed, verdicts and drops by cause as the link counted them."""
    with line.middle.entered(), attach(EXAMPLES / f"{case.name}.o", "a", mode="inline", peer="b") as link:
        for name, key, value in case.fill:
            link.maps[name].update(key, value)
        client, server = _run(line)
        stats = link.stats()
        assert stats.received == len(FRAMES)
        maps = {name: dict(link.maps[name].items()) for name in case.counted}
    verdicts = {name: count for name, count in stats.verdicts.items() if count}
    return Observed(client, server, maps), verdicts, {name: count for name, count in stats.drops.items() if count}


def _summed(maps: Mapping[str, Map]) -> dict[str, Map]:
    """Per-CPU copies added up: which CPU counted is not what is compared."""
    return {name: {k: _sum(v) for k, v in rows.items()} if name == "counters" else rows for name, rows in maps.items()}


def _sum(value: bytes) -> bytes:
    packets, octets = sum(_words(value)[::2]), sum(_words(value)[1::2])
    return struct.pack("<2Q", packets, octets)


@pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])
def test_inline_does_what_the_kernel_does(case: Case) -> None:
    """The same frames arrive in the same order at both ends, the program's maps say the same, verdicts are those of the maps."""
    with _line() as line:
        kernel = _by_kernel(line, case)
        ours, verdicts, drops = _by_us(line, case)
    expected = case.by_verdict(kernel.maps)
    assert sum(expected.values()) == len(FRAMES)
    assert verdicts == {name: count for name, count in expected.items() if count}
    assert drops == ({"drop": expected["XDP_DROP"]} if expected.get("XDP_DROP") else {})
    assert ours.server == kernel.server
    assert ours.client == kernel.client
    assert _summed(ours.maps) == _summed(kernel.maps)
