"""Edges of the wire, through whole attachments: each gives the result that docs/live.md writes down, or one line.

Tags (802.1Q, QinQ) are among the frames of test_against_kernel.py; two attachments and the rest of what is refused are in
test_attachment.py.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import real_traffic
from tests.support.commands import environment
from tests.support.kernel_live import forwarded, generic
from tests.support.live_attachments import until
from tests.support.live_captures import captured
from tests.support.live_frames import MARK, TARGET
from tests.support.objects import EXAMPLES
from tests.support.senders import RingSender
from tests.support.wires import Line, bump, pair, privileged, wire
from xdp.live import Link, attach

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]

PASS = EXAMPLES / "pass.o"
RUNTS = [TARGET + MARK + b"\x88\xb5" + bytes(range(size)) for size in (0, 1, 2, 20, 45, 46)]


@contextmanager
def _inline(line: Line, folder: Path) -> Iterator[Link]:
    with line.middle.entered(), attach(PASS, "a", mode="inline", peer="b", state_folder=folder) as link:
        yield link


def _runts(line: Line) -> list[bytes]:
    with captured(line.server, "eth0") as seen:
        with line.client.entered():
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with sender:
            sender.bind(("eth0", 0))
            for each in RUNTS:
                sender.send(each)
    return seen.marked(MARK)


def test_runts_pass_as_in_the_kernel(tmp_path: Path) -> None:
    """Frames shorter than Ethernet allows, down to the header alone, arrive as they arrive behind the kernel's filter."""
    with bump() as line:
        with generic(line.middle, "a", PASS), forwarded(line.middle, "a", "b"):
            expected = _runts(line)
        with _inline(line, tmp_path):
            assert _runts(line) == expected
    assert len(expected) == len(RUNTS)


def test_super_frames_pass_whole(tmp_path: Path) -> None:
    """TCP's super-frames, larger than any MTU, are judged as one frame and arrive as such; nothing is cut or too long."""
    with bump() as line, real_traffic.served(line.server), _inline(line, tmp_path) as link:
        with captured(line.server, "eth0", longest=65_600) as seen:
            line.client.run(["iperf3", "-c", real_traffic.V4, "-n", "4M"])
        drops = link.stats().drops
    assert max(map(len, seen.frames)) > 10_000
    assert not drops["cut"]
    assert not drops["too_long"]
    assert not drops["too_long_to_run"]


@pytest.mark.parametrize("mode", ["inline", "host"])
def test_jumbo_frames_pass(mode: str, tmp_path: Path) -> None:
    """With an MTU of 9,000 frames of that size arrive, unfragmented, both ways."""
    with bump(mtu=9000) if mode == "inline" else pair(mtu=9000) as made:
        place = made.middle if mode == "inline" else made.host
        where = ("a", "b") if mode == "inline" else ("eth0", None)
        with place.entered(), attach(PASS, where[0], mode=mode, peer=where[1], state_folder=tmp_path):
            made.client.run(["ping", "-c2", "-i0.1", "-W3", "-s8972", "-Mdo", real_traffic.V4])


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_flapping_link_is_waited_for(name: str, tmp_path: Path) -> None:
    """Down and up, five times, on either side: the state says so, and traffic goes on each time."""
    with bump() as line, _inline(line, tmp_path) as link:
        for _ in range(5):
            line.middle.ip("link", "set", "dev", name, "down")
            until(lambda: link.state == "waiting", "the state is waiting")
            line.middle.ip("link", "set", "dev", name, "up")
            until(lambda: link.state == "up", "the state is up")
            line.client.run(["ping", "-c1", "-W3", real_traffic.V4])


def test_a_renamed_interface_stays_filtered(tmp_path: Path) -> None:
    """Another name for either interface changes nothing."""
    with bump() as line, _inline(line, tmp_path) as link:
        for name in ("a", "b"):
            line.middle.ip("link", "set", "dev", name, "name", f"{name}2")
            line.client.run(["ping", "-c1", "-W3", real_traffic.V4])
        assert link.state == "up"


def test_a_removed_interface_is_gone_until_it_returns(tmp_path: Path) -> None:
    """The state says gone, frames for it are counted, and a new interface of that name is taken up."""
    with bump() as line, _inline(line, tmp_path) as link:
        line.middle.ip("link", "del", "dev", "b")
        until(lambda: link.state == "gone", "the state is gone")
        before = link.stats()
        with line.client.entered():
            sender = RingSender("eth0", [RUNTS[-1]], slots=64)
        with sender:
            sender.send(10)
        until(lambda: link.stats().received >= before.received + 10, "the other side is received from")
        time.sleep(0.1)
        assert link.stats().drops["gone"] >= before.drops["gone"] + 10
        wire(line.middle, "b", line.server, "eth0")
        line.server.address("eth0", "10.9.0.2/24")
        until(lambda: link.state == "up", "the state is up")
        line.client.run(["ping", "-c1", "-W5", real_traffic.V4])


def test_missing_capabilities_are_one_line(tmp_path: Path) -> None:
    """Without CAP_NET_ADMIN and CAP_NET_RAW attach says which are missing, exit code 4, and nothing changes."""
    with pair() as ends:
        words = [sys.executable, "-m", "xdp.cli", "net", "attach", str(PASS), "dev", "eth0", "--mode", "host"]
        less = ["setpriv", "--bounding-set=-net_admin,-net_raw", *words]
        done = ends.host.run(less, check=False, env=environment(XDPSIM_RUN=str(tmp_path / "run")))
        assert done.returncode == 4, done.stdout + done.stderr
        (line,) = (done.stdout + done.stderr).splitlines()
        assert "CAP_NET_ADMIN" in line
        assert "CAP_NET_RAW" in line
        real_traffic.ping(ends.client)
