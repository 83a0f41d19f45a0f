"""What people do over a wire, as scripts: each raises AssertionError with what the program said when it does not work.

    with served(line.server): everything(line.client)

Not here: what stands in the wire meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import ANSWER, BODY, LARGE
from tests.support.wires import Namespace

SERVERS = Path(__file__).with_name("servers.py")
V4, V6 = "10.9.0.2", "fd09::2"


@contextmanager
def served(server: Namespace) -> Iterator[None]:
    """The servers and iperf3 run in the namespace until the block ends."""
    words = [sys.executable, str(SERVERS), V4, V6]
    servers = server.popen(words, stdout=subprocess.PIPE, text=True)
    iperf = server.popen(["iperf3", "-s", "--forceflush"], stdout=subprocess.PIPE, text=True)
    try:
        assert servers.stdout.readline() == "ready\n"
        while "listening" not in (line := iperf.stdout.readline()):
            assert line, "iperf3 ended"
        yield
    finally:
        for process in (servers, iperf):
            process.kill()
            process.wait()
            process.stdout.close()


def ping(client: Namespace) -> None:
    """Five echo requests, small and as long as the MTU, all answered."""
    client.run(["ping", "-c3", "-i0.05", "-W3", V4])
    client.run(["ping", "-c2", "-i0.05", "-W3", "-s1472", "-Mdo", V4])


def ping6(client: Namespace) -> None:
    """Echo requests over IPv6, after neighbour discovery."""
    client.run(["ping", "-6", "-c3", "-i0.05", "-W3", V6])


def http(client: Namespace) -> None:
    """A page and a mebibyte over IPv4 and IPv6, whole."""
    assert client.run(["curl", "-sS", "-m10", f"http://{V4}:8080/"]).stdout == BODY.decode()
    assert client.run(["curl", "-sS", "-m10", "-g", f"http://[{V6}]:8080/"]).stdout == BODY.decode()
    command = f"curl -sS -m20 http://{V4}:8080/large | sha256sum"
    told = client.run(["sh", "-c", command]).stdout
    assert told.split()[0] == hashlib.sha256(LARGE).hexdigest()


def dns(client: Namespace) -> None:
    """A name resolved by dig."""
    told = client.run(["dig", "+short", "+tries=2", "+time=3", f"@{V4}", "example.org", "A"]).stdout
    assert told.strip() == ANSWER


def iperf_tcp(client: Namespace) -> None:
    """A second of TCP each way, at any rate above nothing much."""
    for way in ((), ("-R",)):
        told = json.loads(client.run(["iperf3", "-c", V4, "-t1", "-J", *way]).stdout)
        assert told["end"]["sum_received"]["bytes"] > 100_000


def iperf_udp(client: Namespace) -> None:
    """A second of UDP at a rate that anything should carry: nearly nothing is lost."""
    told = json.loads(client.run(["iperf3", "-c", V4, "-u", "-b10M", "-l1200", "-t1", "-J"]).stdout)
    assert told["end"]["sum"]["packets"] > 500
    assert told["end"]["sum"]["lost_percent"] < 5


def session(client: Namespace) -> None:
    """A long interactive session: a line at a time, each answered before the next, with pauses."""

    def talk() -> None:
        with socket.create_connection((V4, 2222), timeout=10) as wire, wire.makefile("rwb") as lines:
            for number in range(40):
                lines.write(b"line %d\n" % number)
                lines.flush()
                assert lines.readline() == b"LINE %d\n" % number
                time.sleep(0.02)

    client.call(talk)


SCRIPTS: tuple[Callable[[Namespace], None], ...] = (ping, ping6, http, dns, iperf_tcp, iperf_udp, session)
