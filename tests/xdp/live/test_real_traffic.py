"""Real programs talk through the filter: everything works where the program passes, and what it closes is closed.

The same is asked of the kernel's generic mode in tests/support/test_real_traffic.py and test_against_kernel.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests.support import real_traffic
from tests.support.objects import EXAMPLES
from tests.support.real_traffic import SCRIPTS, V4, served
from tests.support.wires import Namespace, bump, pair, privileged
from xdp.live import attach

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]

CLOSED = struct.pack("!BBH", 6, 0, 8080)

each_script = pytest.mark.parametrize("script", SCRIPTS, ids=[each.__name__ for each in SCRIPTS])


@each_script
def test_inline_carries(script: Callable[[Namespace], None]) -> None:
    """A program that passes everything is not noticed in the middle of the wire."""
    with bump() as line, served(line.server), line.middle.entered():
        with attach(EXAMPLES / "pass.o", "a", mode="inline", peer="b") as link:
            script(line.client)
            assert link.state == "up"
        assert link.stats().verdicts["XDP_PASS"] > 0


@each_script
def test_a_filtered_host_is_reached(script: Callable[[Namespace], None]) -> None:
    """Servers that ran before the host was filtered still answer."""
    with pair() as ends, served(ends.host), ends.host.entered():
        with attach(EXAMPLES / "pass.o", "eth0", mode="host") as link:
            script(ends.client)
            assert link.state == "up"
        assert link.stats().verdicts["XDP_PASS"] > 0


def test_a_filtered_host_reaches_out() -> None:
    """What the host begins itself works as well."""
    with pair() as ends, ends.host.entered(), attach(EXAMPLES / "pass.o", "eth0", mode="host"):
        ends.host.run(["ping", "-c3", "-i0.05", "-W3", "10.9.0.1"])
        ends.host.run(["ping", "-6", "-c2", "-i0.05", "-W3", "fd09::1"])


@pytest.mark.parametrize("mode", ["inline", "host"])
def test_a_closed_port_is_closed_until_it_is_opened(mode: str) -> None:
    """HTTP times out while its port is in the map, DNS goes on, and HTTP works again when the port is taken out."""
    with bump() if mode == "inline" else pair() as wire:
        place = wire.middle if mode == "inline" else wire.host
        where = {"interface": "a", "peer": "b"} if mode == "inline" else {"interface": "eth0"}
        server = wire.server if mode == "inline" else wire.host
        with served(server), place.entered(), attach(EXAMPLES / "port_filter.o", mode=mode, **where) as link:
            real_traffic.http(wire.client)
            link.maps["closed"].update(CLOSED, bytes(8))
            fetch = ["curl", "-sS", "-m1", f"http://{V4}:8080/"]
            assert wire.client.run(fetch, check=False).returncode == 28
            real_traffic.dns(wire.client)
            stopped = struct.unpack("<Q", link.maps["closed"].lookup(CLOSED))[0]
            assert stopped == link.stats().verdicts["XDP_DROP"] > 0
            link.maps["closed"].delete(CLOSED)
            real_traffic.http(wire.client)
