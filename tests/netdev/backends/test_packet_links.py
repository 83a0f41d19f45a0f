"""Packet ports and what happens to their interfaces; super-frames and jumbo frames; refusals in one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netdev.backends import open_packet, open_pcap, open_tap
from netdev.errors import InterfaceError
from netdev.port import LivePort, PortState, pack
from tests.support.live_ports import at_least, everything, forwarding, frame, gather, opened
from tests.support.wires import Line, Namespace, Pair, bump, pair, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root to make namespaces"),
]

_SERVE = """
import hashlib, socket
server = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
for _ in range(2):
    peer, _ = server.accept()
    digest, size = hashlib.sha256(), 0
    while data := peer.recv(1 << 16):
        digest.update(data)
        size += len(data)
        if size == SIZE:
            break
    peer.sendall(digest.digest())
    peer.close()
"""
_SIZE = 20_000_000
_CALL = """
import hashlib, os, socket, sys
data = os.urandom(1 << 20) * 20
data = data[:SIZE]
peer = socket.create_connection((sys.argv[1], 9000), timeout=20)
peer.sendall(data)
assert peer.recv(32, socket.MSG_WAITALL) == hashlib.sha256(data).digest()
"""


@pytest.fixture
def wired() -> Iterator[Pair]:
    """Client eth0 — eth0 host."""
    with pair() as made:
        yield made


def _eventually(port: LivePort, state: PortState) -> bool:
    end = time.monotonic() + 5
    while port.state() is not state and time.monotonic() < end:
        port.wait(0.02)
    return port.state() is state


def _passes(sender: LivePort, receiver: LivePort, size: int = 100) -> bool:
    batch = pack([frame(size)])
    return sender.transmit(batch, everything(batch)) == 1 and frame(size) in gather(
        receiver, lambda found: frame(size) in found, seconds=3
    )


def _talk(line: Line) -> None:
    """Two connections through the line that carry much data, by IPv4 and IPv6, and arrive unchanged."""
    script = [sys.executable, "-c", _SERVE.replace("SIZE", str(_SIZE))]
    server = line.server.popen(script, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    for address in ("10.9.0.2", "fd09::2"):
        line.client.run([sys.executable, "-c", _CALL.replace("SIZE", str(_SIZE)), address], timeout=60)


@pytest.mark.parametrize("mtu", [None, 9000])
def test_tcp_works_through_two_ports(mtu: int | None) -> None:
    """Super-frames of both stacks are received whole and passed on as such; what arrives is what was sent."""
    with bump(mtu=mtu) as line:
        left, right = opened(line.middle, "a", promisc=True), opened(line.middle, "b", promisc=True)
        with forwarding((left, right), (right, left)):
            line.client.run(["ping", "-c2", "-i0.2", "-W2", "10.9.0.2"])
            line.client.run(["ping", "-c2", "-i0.2", "-W2", "fd09::2"])
            _talk(line)
        counts = left.statistics()
        assert counts.received * (mtu or 1500) < 2 * _SIZE  # fewer frames than segments
        assert (counts.lost, counts.cut, counts.too_long) == (0, 0, 0)
        left.close()
        right.close()


def test_jumbo_frames_arrive(wired: Pair) -> None:
    """What is larger than a slot goes as well, in order; a smaller MTU is noticed."""
    for namespace in (wired.client, wired.host):
        namespace.ip("link", "set", "eth0", "mtu", "9000")
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True)
    frames = [frame(size) for size in (60, 9014, 100, 1979, 1980, 1981, 2048, 9013, 64)]
    batch = pack(frames)
    assert sender.transmit(batch, everything(batch)) == len(frames)
    assert gather(receiver, at_least(len(frames))) == frames
    wired.client.ip("link", "set", "eth0", "mtu", "1500")
    assert sender.state() is PortState.UP
    assert sender.mtu == 1500
    assert sender.transmit(batch, everything(batch)) == len(frames)
    assert sender.statistics().too_long == 6
    sender.close()
    receiver.close()


def test_a_link_goes_down_and_comes_up(wired: Pair) -> None:
    """Meanwhile nothing is received and frames are refused, none of them is sent late; afterwards all works as before."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True)
    assert _passes(sender, receiver)
    for namespace in (wired.host, wired.client):
        namespace.ip("link", "set", "eth0", "down")
        assert _eventually(receiver, PortState.DOWN)
        assert _eventually(sender, PortState.DOWN)
        stale = pack([frame(777)] * 2000)
        before = sender.statistics()
        assert sender.transmit(stale, everything(stale)) == 2000
        assert sender.statistics().refused == before.refused + 2000
        assert sender.statistics().transmitted == before.transmitted
        assert len(receiver.receive(10)) == 0 or namespace is wired.client
        namespace.ip("link", "set", "eth0", "up")
        assert _eventually(receiver, PortState.UP)
        assert _eventually(sender, PortState.UP)
        assert frame(777) not in gather(receiver, at_least(1), seconds=0.2)
        assert _passes(sender, receiver)
    sender.close()
    receiver.close()


def test_a_renamed_interface_is_the_same(wired: Pair) -> None:
    """A port holds on to the interface, whatever it is called."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True)
    wired.host.ip("link", "set", "eth0", "name", "other")
    wired.client.ip("link", "set", "eth0", "name", "another")
    assert (sender.state(), receiver.state()) == (PortState.UP, PortState.UP)
    assert _passes(sender, receiver)
    sender.close()
    receiver.close()


def test_a_removed_interface_is_gone(wired: Pair) -> None:
    """The state says so; frames are refused, waiting does not spin, closing is quiet."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True)
    wired.client.ip("link", "del", "eth0")
    assert _eventually(sender, PortState.GONE)
    assert _eventually(receiver, PortState.GONE)
    batch = pack([frame()] * 3)
    assert sender.transmit(batch, everything(batch)) == 3
    assert sender.statistics().refused == 3
    begin = time.monotonic()
    rounds = 0
    while time.monotonic() < begin + 0.3:
        receiver.wait(0.05)
        receiver.receive(10)
        rounds += 1
    assert rounds < 100
    sender.close()
    receiver.close()


def test_a_full_ring_is_counted(wired: Pair) -> None:
    """Frames for which there is no block are counted as lost, over many readings of the kernel's own counter."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True, blocks=8)
    batch = pack([frame(1514)] * 512)
    for _ in range(4):
        assert sender.transmit(batch, everything(batch)) == 512
        receiver.statistics()
    sent = sender.statistics().transmitted
    gather(receiver, at_least(2048), seconds=1)
    counts = receiver.statistics()
    assert counts.lost > 0
    assert counts.received + counts.lost >= sent == 2048
    sender.close()
    receiver.close()


@pytest.mark.parametrize(
    ("attempt", "line"),
    [
        (lambda: open_packet("nowhere0"), "nowhere0: there is no such interface here"),
        (lambda: open_packet("x" * 16), "'xxxxxxxxxxxxxxxx' is no name of an interface: it has 1 to 15 bytes"),
        (lambda: open_packet("lo", block_size=4096), "lo: a ring has at least 8 blocks, of a power of two from 128 KiB on"),
        (lambda: open_packet("lo", fanout=1 << 16), "lo: the fanout group 65536 is not a number below 65,536"),
        (lambda: open_packet("lo", blocks=1 << 24), "lo: not enough memory to open packet sockets on it: use fewer or smaller blocks"),
        (lambda: open_pcap("nowhere0"), "nowhere0: there is no such interface here"),
        (lambda: open_tap("lo", mac=bytes(6), mtu=1500), "lo: cannot make a TAP: an interface of that name is there"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_line(attempt: Callable[[], object], line: str) -> None:
    """What cannot be opened says which interface and why."""
    with Namespace() as namespace, namespace.entered(), pytest.raises(InterfaceError) as caught:
        attempt()
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("call", "needs"),
    [("open_packet('lo')", "CAP_NET_RAW"), ("open_tap('t0', mac=bytes(6), mtu=1500)", "CAP_NET_ADMIN"),
     ("open_pcap('lo')", "CAP_NET_RAW")],
)  # fmt: skip
def test_an_ordinary_user_is_told_what_is_missing(call: str, needs: str) -> None:
    """One line names the capability."""
    script = (
        f"from netdev.backends import *\nfrom netdev.errors import *\ntry: {call}\nexcept InterfaceError as e: print(e)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        ["setpriv", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs",
         sys.executable, "-c", script],
        check=True, capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert f"needs {needs}" in done.stdout
