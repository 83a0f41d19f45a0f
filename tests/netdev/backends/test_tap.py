"""TAP and libpcap ports: the stack behind an interface of ours, and the portable way to a wire."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from netdev.backends import MemoryPort, TapPort, open_pcap, open_tap
from netdev.errors import InterfaceError
from netdev.port import LivePort, PortState, pack
from tests.support.live_ports import at_least, everything, forwarding, frame, gather, opened
from tests.support.wires import Namespace, Pair, pair, privileged
from xdp.natives import LOOPS

MAC = bytes.fromhex("02aabbccddee")


@pytest.fixture
def wired() -> Iterator[Pair]:
    """Client eth0 — eth0 host."""
    with pair() as made:
        yield made


def _tap(namespace: Namespace, name: str = "up0", mtu: int = 1500) -> TapPort:
    with namespace.entered():
        return open_tap(name, mac=MAC, mtu=mtu, loops=LOOPS)


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root to make namespaces")
def test_a_tap_is_an_interface_of_ours() -> None:
    """It has the MAC and MTU that were given, is down until somebody sets it up, and goes with its port."""
    with Namespace() as namespace:
        port = _tap(namespace, mtu=1400)
        assert (port.name, port.mac, port.mtu, port.state()) == ("up0", MAC, 1400, PortState.DOWN)
        assert port.ifindex == namespace.ifindex("up0")
        assert namespace.mac("up0") == MAC
        batch = pack([frame()] * 3)
        assert port.transmit(batch, everything(batch)) == 3
        assert port.statistics().refused == 3
        namespace.address("up0", "10.7.0.1/24")
        assert port.state() is PortState.UP
        assert not port.wait(0) or len(port.receive(100)) >= 0
        port.close()
        port.close()
        assert "up0" not in namespace.ip("link")
        with pytest.raises(InterfaceError, match="closed"):
            port.state()


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root to make namespaces")
def test_the_stack_answers_through_a_tap() -> None:
    """What it sends has finished checksums; what it is given, it takes; what it sends to a full queue is counted."""
    with Namespace() as namespace:
        port = _tap(namespace)
        namespace.address("up0", "10.7.0.1/24")
        namespace.ip("neigh", "add", "10.7.0.2", "lladdr", "02:00:00:00:00:09", "dev", "up0")
        from scapy.all import IP, UDP, Ether

        with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talker:
            talker.bind(("10.7.0.1", 5))
            talker.settimeout(5)
            talker.sendto(b"question", ("10.7.0.2", 9))
            (asked,) = [Ether(each) for each in gather(port, at_least(1)) if each[12:14] == b"\x08\0"]
            checksum = asked[UDP].chksum
            del asked[UDP].chksum
            assert Ether(asked.build())[UDP].chksum == checksum
            answer = Ether(dst=MAC.hex(":"), src="02:00:00:00:00:09") / IP(src="10.7.0.2", dst="10.7.0.1")
            batch = pack([bytes(answer / UDP(sport=9, dport=5) / b"answer")])
            assert port.transmit(batch, everything(batch)) == 1
            assert talker.recv(100) == b"answer"
            for _ in range(1500):
                talker.sendto(b"flood", ("10.7.0.2", 9))
        assert port.statistics().lost >= 400
        namespace.ip("link", "del", "up0")
        assert port.state() is PortState.GONE
        begin, rounds = time.monotonic(), 0
        while time.monotonic() < begin + 0.3:
            port.wait(0.05)
            port.receive(10)
            rounds += 1
        assert rounds < 100
        assert port.transmit(batch, everything(batch)) == 1
        port.close()


_SERVE = "import socket; s = socket.create_server(('10.9.0.7', 9)); print(1, flush=True); p, _ = s.accept(); print(sum(len(d) for d in iter(lambda: p.recv(1 << 16), b'')), flush=True)"
_CALL = "import socket; s = socket.create_connection(('10.9.0.7', 9), timeout=20); s.sendall(bytes(20_000_000))"


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root to make namespaces")
def test_tcp_works_between_a_wire_and_a_tap(wired: Pair) -> None:
    """Super-frames pass both ways between a packet port and a stack behind a TAP in another namespace."""
    with Namespace("upper") as upper:
        lower, tap = opened(wired.host, promisc=True), _tap(upper)
        upper.address("up0", "10.9.0.7/24")
        with forwarding((lower, tap), (tap, lower)):
            server = upper.popen([sys.executable, "-c", _SERVE], stdout=subprocess.PIPE)
            assert server.stdout is not None
            assert server.stdout.readline() == b"1\n"
            wired.client.run([sys.executable, "-c", _CALL], timeout=60)
            assert server.stdout.readline() == b"20000000\n"
        assert tap.statistics().refused == 0
        lower.close()
        tap.close()


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root to make namespaces")
def test_libpcap_receives_and_sends(wired: Pair) -> None:
    """The same frames as through a packet port, with their times; what is too long is counted, a link's end told."""
    pytest.importorskip("pcap")
    other = opened(wired.client, promisc=True)
    with wired.host.entered():
        port = open_pcap("eth0", promisc=True)
    tagged = frame(100, b"\x81\0\x61\x23")
    frames = [frame(14), frame(60), tagged, frame(1514)]
    batch = pack([*frames, frame(4000)])
    before = time.time_ns()
    assert other.transmit(batch, everything(batch)) == 5
    assert port.wait(5)
    assert gather(port, at_least(4)) == frames
    other.transmit(batch, everything(batch))
    port.wait(5)
    assert before < int(port.receive(1).timestamps[0]) < time.time_ns()
    assert port.transmit(batch, everything(batch)) == 5
    assert gather(other, at_least(4)) == frames
    counts = port.statistics()
    assert (counts.transmitted, counts.too_long, counts.lost) == (4, 1, 0)
    assert (port.mac, port.mtu, port.state()) == (wired.host.mac("eth0"), 1500, PortState.UP)
    wired.client.ip("link", "del", "eth0")
    assert port.state() is PortState.GONE
    port.wait(0.05)
    assert port.transmit(batch, everything(batch)) == 5
    assert port.statistics().refused >= 4
    port.close()
    port.close()
    other.close()


def test_a_memory_port_stands_in_for_a_live_one() -> None:
    """It can be waited for, counts, and plays an interface that is down."""
    port: LivePort = (memory := MemoryPort([b"one"], name="m0", ifindex=7, mac=MAC, mtu=9000))
    assert (port.name, port.ifindex, port.mac, port.mtu, port.state()) == ("m0", 7, MAC, 9000, PortState.UP)
    assert port.wait(0)
    batch = port.receive(10)
    assert not port.wait(0)
    memory.queue(b"two")
    assert port.wait(0)
    memory.condition = PortState.DOWN
    assert len(port.receive(10)) == 0
    assert port.transmit(batch, everything(batch)) == 1
    memory.condition = PortState.UP
    assert port.transmit(batch, everything(batch)) == 1
    counts = port.statistics()
    assert (counts.received, counts.transmitted, counts.refused) == (1, 1, 1)
    port.close()
    with pytest.raises(InterfaceError, match="closed"):
        port.wait(0)
