"""Packet ports on wires of their own: frames arrive and go byte by byte."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netdev.capture import open_capture
from netdev.errors import InterfaceError
from netdev.port import PortState, pack
from tests.support.live_ports import at_least, everything, frame, gather, opened
from tests.support.wires import Pair, pair, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root to make namespaces"),
]

TAGS = [
    b"\x81\0\x61\x23",
    b"\x81\0\0\0",
    b"\x81\0\xe0\0",
    b"\x88\xa8\x0f\xff\x81\0\x20\x08",
    b"\x88\xa8\0\0\x88\xa8\0\1",
]


@pytest.fixture
def wired() -> Iterator[Pair]:
    """Client eth0 — eth0 host."""
    with pair() as made:
        yield made


both = pytest.mark.parametrize("prompt", [False, True], ids=["blocks", "slots"])


@both
def test_frames_arrive_byte_by_byte(wired: Pair, prompt: bool) -> None:
    """Every size that the interface allows goes from port to port; others are counted."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True, prompt=prompt)
    sizes = [14, 15, 59, 60, 61, 1000, 1513, 1514]
    batch = pack([*map(frame, sizes), frame(13), b"", frame(1515), frame(4000)])
    assert sender.transmit(batch, everything(batch)) == len(batch)
    assert gather(receiver, at_least(len(sizes))) == [frame(size) for size in sizes]
    counts = sender.statistics()
    assert (counts.transmitted, counts.refused, counts.too_long) == (len(sizes), 2, 2)
    assert receiver.statistics().received >= len(sizes)
    assert (receiver.name, receiver.mtu, receiver.state()) == ("eth0", 1500, PortState.UP)
    assert (receiver.mac, receiver.ifindex) == (wired.host.mac("eth0"), wired.host.ifindex("eth0"))
    for port in (sender, receiver):
        port.close()
        port.close()
        with pytest.raises(InterfaceError, match="closed"):
            port.receive(1)


@both
def test_a_batch_outlives_its_port(wired: Pair, prompt: bool) -> None:
    """The memory of a batch stays while it is held, and nothing more is received into it once the port is closed."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True, prompt=prompt)
    batch = pack([frame(500)])
    sender.transmit(batch, everything(batch))
    assert receiver.wait(5)
    held = receiver.receive(1)
    expected = held.frame(0)
    receiver.close()
    for _ in range(10):
        sender.transmit(batch, everything(batch))
    assert held.frame(0) == expected
    assert "promiscuity 0" in wired.host.ip("-d", "link", "show", "eth0")
    sender.close()


def test_another_tool_sees_what_is_sent(wired: Pair, tmp_path: Path) -> None:
    """A capture of tshark's at the other end has the same bytes, tags included."""
    frames = [frame(100), *(frame(100, tags) for tags in TAGS), frame(1522, TAGS[3])[:1518]]
    sender = opened(wired.client)
    path = tmp_path / "seen.pcapng"
    capture = wired.host.popen(
        ["tshark", "-l", "-i", "eth0", "-w", str(path), "-P", "-a", "duration:10", "-f", "ether src 2:0:0:0:0:2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert capture.stdout is not None
    probe, batch = pack([frame(64)]), pack(frames)
    for _ in range(100):  # until it listens
        sender.transmit(probe, everything(probe))
        if select.select([capture.stdout], [], [], 0.2)[0]:
            break
    assert sender.transmit(batch, everything(batch)) == len(frames)
    shown = 0
    while shown < len(frames) and (line := capture.stdout.readline()):
        shown += b" 64 " not in line
    capture.send_signal(signal.SIGINT)
    capture.wait(20)
    sender.close()
    with open_capture(path) as seen:
        got = seen.batch(0, 1000)
        assert [each for at in range(len(got)) if (each := got.frame(at)) != frame(64)] == frames


@both
@pytest.mark.parametrize("tags", TAGS, ids=bytes.hex)
def test_tags_are_put_back(wired: Pair, tags: bytes, prompt: bool) -> None:
    """VLAN, priority and stacked tags are where they were, although the kernel takes the outer one out."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True, prompt=prompt)
    frames = [frame(size, tags) for size in (60, 1000, 1514)]
    batch = pack(frames)
    assert sender.transmit(batch, everything(batch)) == 3
    assert gather(receiver, at_least(3)) == frames
    sender.close()
    receiver.close()


@both
@pytest.mark.parametrize("address", ["10.9.0.5", "fd09::5"])
def test_checksums_are_complete(wired: Pair, tmp_path: Path, address: str, prompt: bool) -> None:
    """What a stack sends over a virtual link passes tshark's validation behind the port."""
    receiver = opened(wired.host, promisc=True, prompt=prompt)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    wired.client.ip("neigh", "replace", address, "lladdr", "02:00:00:00:00:09", "dev", "eth0")
    with wired.client.entered(), socket.socket(family, socket.SOCK_DGRAM) as talker:
        for size in (0, 1, 2, 3, 500, 1401):
            talker.sendto(bytes(at & 0xFF for at in range(size)), (address, 9))
    with wired.client.entered(), socket.socket(family, socket.SOCK_STREAM) as caller:
        caller.setblocking(False)
        caller.connect_ex((address, 9))
    frames = gather(receiver, at_least(7))
    receiver.close()
    assert _checksums(tmp_path / "got.pcap", frames) == ["1"] * 7


def _checksums(path: Path, frames: list[bytes]) -> list[str]:
    """What tshark says about each transport checksum: 1 is good."""
    from scapy.utils import wrpcap

    wrpcap(str(path), frames)
    fields = ["-e", "udp.checksum.status", "-e", "tcp.checksum.status"]
    checks = ["-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"]
    done = subprocess.run(
        ["tshark", "-r", str(path), *checks, "-T", "fields", *fields], check=True, capture_output=True
    )
    return done.stdout.decode().split()


def test_more_frames_than_slots_are_lost_and_counted(wired: Pair) -> None:
    """A ring of slots that nobody empties gives out what it had room for, in order, and says how many it had not."""
    sender, receiver = opened(wired.client), opened(wired.host, promisc=True, prompt=True)
    batch = pack([each.to_bytes(4, "big").rjust(64, b"\2") for each in range(1024)])
    sent = 0
    for _ in range(40):
        sent += sender.transmit(batch, everything(batch))
    assert sent == 40 * 1024
    got = gather(receiver, at_least(1 << 15), seconds=5)
    assert [int.from_bytes(each[-4:], "big") for each in got] == [at % 1024 for at in range(len(got))]
    lost = receiver.statistics().lost
    assert lost > 0
    assert len(got) + lost >= sent
    sender.close()
    receiver.close()


def test_frames_larger_than_a_slot_come_whole_and_in_order(wired: Pair) -> None:
    """A stack's super-frames are read beside the ring; nothing of a stream is missing or out of place."""
    receiver = opened(wired.host, promisc=True, prompt=True)
    listener = wired.host.call(lambda: socket.create_server(("10.9.0.2", 7000)))
    caller = wired.client.call(lambda: socket.create_connection(("10.9.0.2", 7000)))
    served, _ = listener.accept()
    payload = bytes(at * 31 & 0xFF for at in range(1 << 20))
    thread = threading.Thread(target=caller.sendall, args=(payload,))
    thread.start()
    got = 0
    while got < len(payload):
        got += len(served.recv(1 << 16))
    thread.join()
    stream = bytearray(len(payload))
    first = None
    longest = 0
    for each in gather(receiver, lambda _found: False, seconds=1):
        if each[12:14] != b"\x08\0" or each[23] != 6 or int.from_bytes(each[36:38], "big") != 7000:
            continue
        head = 34 + (each[46] >> 4) * 4
        number = int.from_bytes(each[38:42], "big")
        data = each[head : 14 + int.from_bytes(each[16:18], "big")]
        first = number + 1 if first is None else first  # the first is the SYN
        at = number - first & 0xFFFFFFFF
        if data:
            stream[at : at + len(data)] = data
        longest = max(longest, len(each))
    for each in (served, caller, listener, receiver):
        each.close()
    assert longest > 1 << 14
    assert bytes(stream) == payload


def test_flows_are_shared(wired: Pair) -> None:
    """Ports of one fanout group get each frame once, and each flow stays with one port."""
    with wired.host.entered():
        ports = [opened(wired.host, promisc=True, fanout=77) for _ in range(2)]
    sender = opened(wired.client)
    from scapy.all import IP, UDP, Ether, Raw

    head = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / IP(src="10.9.0.1", dst="10.9.0.2")
    frames = [
        bytes(head / UDP(sport=flow, dport=9) / Raw(bytes([turn]) * 20)) for turn in range(3) for flow in range(40)
    ]
    batch = pack(frames)
    assert sender.transmit(batch, everything(batch)) == len(frames)
    got = [gather(port, at_least(len(frames)), seconds=0.5) for port in ports]
    assert sorted(got[0] + got[1]) == sorted(frames)
    flows = [{each[34:36] for each in part} for part in got]
    assert flows[0]
    assert flows[1]
    assert flows[0].isdisjoint(flows[1])
    for port in (*ports, sender):
        port.close()
