"""Links over interfaces in namespaces: what is opened, refused, noticed and taken back."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from netdev.errors import InterfaceError
from netdev.topology import snapshot
from runtime.errors import DeviceError, InputError
from tests.support.live_links import until
from tests.support.sources import compile_c, needs_clang
from tests.support.wires import Line, Namespace, Pair, bump, pair, privileged, wire
from xdp.live import Link, attach

pytestmark = [
    needs_clang,
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root: network namespaces"),
]

PASS: Final = 'SEC("xdp") int pass(struct xdp_md *ctx) { return XDP_PASS; }'
DROP: Final = 'SEC("xdp") int drop(struct xdp_md *ctx) { return XDP_DROP; }'
NO_ICMP: Final = """
SEC("xdp") int no_icmp(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 34 > end)
		return XDP_PASS;
	return data[12] == 8 && data[13] == 0 && data[23] == 1 ? XDP_DROP : XDP_PASS;
}
"""
REFLECT: Final = """
SEC("xdp") int reflect(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, swap[6];
	if (data + 14 > end)
		return XDP_PASS;
	if (data[12] != 0x88 || data[13] != 0xb5)
		return XDP_PASS;
	__builtin_memcpy(swap, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, swap, 6);
	return XDP_TX;
}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for objects and state."""
    return tmp_path


def _object(folder: Path, text: str) -> Path:
    path = folder / f"{abs(hash(text))}.o"
    path.write_bytes(compile_c(text))
    return path


def _inline(line: Line, folder: Path, text: str = PASS, **options: Any) -> Link:
    return line.middle.call(
        lambda: attach(_object(folder, text), "a", mode="inline", peer="b", state_folder=folder, **options)
    )


def _host(ends: Pair, folder: Path, text: str = PASS, **options: Any) -> Link:
    return ends.host.call(lambda: attach(_object(folder, text), "eth0", mode="host", state_folder=folder, **options))


def _pings(namespace: Namespace, address: str = "10.9.0.2") -> bool:
    found: subprocess.CompletedProcess[str] = namespace.run(["ping", "-c2", "-i0.1", "-W1", address], check=False)
    return found.returncode == 0


def _facts(namespace: Namespace) -> str:
    return (
        "".join(
            namespace.ip(*each)
            for each in (("addr",), ("route",), ("-6", "route"), ("rule",), ("neigh", "show", "nud", "permanent"))
        )
        + subprocess.run(
            ["tc", "-n", namespace.name, "filter", "show", "dev", "eth0", "ingress"],
            check=False,
            capture_output=True,
            text=True,
        ).stdout
    )


@contextmanager
def _unchanged(namespace: Namespace) -> Iterator[None]:
    before = _facts(namespace)
    yield
    assert _facts(namespace) == before


@pytest.mark.parametrize(("queues", "latency"), [(1, "normal"), (2, "normal"), (1, "low"), (2, "low")])
def test_inline_stands_between(queues: int, latency: str, place: Path) -> None:
    """A ping goes through a program that passes, and not through one that replaces it and drops ICMP."""
    with bump() as line, _inline(line, place, queues=queues, latency=latency) as link:
        assert _pings(line.client)
        link.replace(_object(place, NO_ICMP))
        assert not _pings(line.client)
        assert link.stats().verdicts["XDP_DROP"] == 2
        link.insert(_object(place, DROP), priority=1)
        assert not _pings(line.client)
        link.remove("drop")
        link.replace(_object(place, PASS))
        assert _pings(line.client)


def test_without_a_filter_nothing_passes(place: Path) -> None:
    """When the link ends, the wire is cut again, and nothing is left of it."""
    with bump() as line, _unchanged_middle(line):
        link = _inline(line, place)
        assert _pings(line.client)
        link.detach()
        link.detach()
        assert not _pings(line.client)
    assert not list((place / "journal").glob("*.json"))


@contextmanager
def _unchanged_middle(line: Line) -> Iterator[None]:
    until(lambda: "NO-CARRIER" not in line.middle.ip("link"))
    before = [line.middle.call(lambda name=name: snapshot(name)) for name in "ab"]
    yield
    assert [line.middle.call(lambda name=name: snapshot(name)) for name in "ab"] == before


def test_a_program_for_the_way_back(place: Path) -> None:
    """The peer's program filters what comes from there."""
    with bump() as line:
        back = _object(place, NO_ICMP)
        with _inline(line, place, peer_program=back) as link:
            assert not _pings(line.client)
            assert link.stats().backward["verdicts"]["XDP_DROP"] == 2
            assert link.stats().verdicts["XDP_PASS"] > 0


@pytest.mark.parametrize("mode", ["inline", "host"])
def test_a_reflector_answers(mode: str, place: Path) -> None:
    """XDP_TX returns the frame as the program left it, out of the interface that it came from."""
    with bump() if mode == "inline" else pair() as ends:
        link = _inline(ends, place, REFLECT) if isinstance(ends, Line) else _host(ends, place, REFLECT)
        with link:
            answer = ends.client.call(_reflected)
    assert answer == bytes.fromhex("020000000099") + b"\x02\0\0\0\0\x11" + b"\x88\xb5" + b"mirror".ljust(50, b"\0")


def _reflected() -> bytes:
    import socket

    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as each:
        each.bind(("eth0", 0x88B5))
        each.settimeout(10)
        each.send(b"\x02\0\0\0\0\x11" + bytes.fromhex("020000000099") + b"\x88\xb5" + b"mirror".ljust(50, b"\0"))
        while True:
            data, address = each.recvfrom(2000)
            if address[2] != socket.PACKET_OUTGOING:
                return data


def test_host_mode_filters_and_restores(place: Path) -> None:
    """The host is reached through the filter only, and afterwards is what it was."""
    with pair() as ends, _unchanged(ends.host):
        with _host(ends, place, NO_ICMP) as link:
            assert not _pings(ends.client)
            assert _pings(ends.client, "fd09::2")
            link.replace(_object(place, PASS))
            assert _pings(ends.client)
            assert _pings(ends.host, "10.9.0.1")
        assert _pings(ends.client)


def test_host_mode_follows_the_mtu(place: Path) -> None:
    """When the interface's MTU changes, the host's edge has the same."""
    with pair() as ends, _host(ends, place):
        ends.client.ip("link", "set", "eth0", "mtu", "1400")
        ends.host.ip("link", "set", "eth0", "mtu", "1400")
        until(lambda: "mtu 1400" in ends.host.ip("link").partition("xdp-")[2])
        ends.host.ip("link", "set", "eth0", "mtu", "1500")
        until(lambda: "mtu 1500" in ends.host.ip("link").partition("xdp-")[2])


def test_a_dry_run_lets_everything_through(place: Path) -> None:
    """What would be dropped is counted."""
    with bump() as line, _inline(line, place, DROP, dry_run=True) as link:
        assert _pings(line.client)
        assert link.stats().verdicts["XDP_DROP"] >= 2


def test_monitor_mode_watches(place: Path) -> None:
    """The host answers as ever, and the program has seen what came."""
    with pair() as ends:
        link = ends.host.call(lambda: attach(_object(place, DROP), "eth0", mode="monitor", state_folder=place))
        with link, _unchanged(ends.host):
            assert _pings(ends.client)
            until(lambda: link.stats().verdicts["XDP_DROP"] >= 2)


def test_an_interface_has_one_attachment(place: Path) -> None:
    """A second one is refused in one line; a failed one leaves nothing behind."""
    with bump() as line, _inline(line, place):
        with pytest.raises(InputError, match="a has an attachment already"):
            _inline(line, place)
        assert _pings(line.client)


def test_what_cannot_be_is_said(place: Path) -> None:
    """Interfaces that are not there, modes and options that do not go together."""
    with pair() as ends, _unchanged(ends.host):
        for wanted, options in (
            (DeviceError, {"mode": "host", "interface": "nowhere"}),
            (InputError, {"mode": "inline", "interface": "eth0"}),
            (InputError, {"mode": "host", "interface": "eth0", "peer": "lo"}),
            (InputError, {"mode": "sideways", "interface": "eth0"}),
            (InputError, {"mode": "host", "interface": "eth0", "backend": "pigeon"}),
            (InterfaceError, {"mode": "host", "interface": "lo"}),
        ):
            with pytest.raises(wanted) as caught:
                ends.host.call(lambda o=options: attach(_object(place, PASS), state_folder=place, **o))
        assert "not for loopback" in str(caught.value)


def test_a_failure_half_way_restores(place: Path) -> None:
    """When a later step fails, the earlier ones are undone."""
    with pair() as ends:
        ends.host.ip("nexthop", "add", "id", "1", "dev", "eth0")
        ends.host.ip("route", "add", "10.77.0.0/16", "nhid", "1")
        with _unchanged(ends.host):
            with pytest.raises(InterfaceError, match="nexthop objects"):
                _host(ends, place)
            assert _pings(ends.client)


def test_an_interface_that_returns_is_filtered_again(place: Path) -> None:
    """Removed and made again under its name, it is opened, sealed and used."""
    with bump() as line, _inline(line, place) as link:
        assert _pings(line.client)
        line.middle.ip("link", "del", "dev", "b")
        until(lambda: link.state == "gone")
        wire(line.middle, "b", line.server, "eth0")
        line.server.address("eth0", "10.9.0.2/24")
        until(lambda: link.state == "up")
        line.client.ip("neighbour", "flush", "dev", "eth0")  # the server has another address on the wire now
        until(lambda: _pings(line.client))


WHERE_FROM: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} indices SEC(".maps");

SEC("xdp") int where_from(struct xdp_md *ctx) {
	__u32 key = ctx->ingress_ifindex;
	__u64 one = 1;
	bpf_map_update_elem(&indices, &key, &one, BPF_ANY);
	return XDP_PASS;
}
"""


def test_a_program_sees_the_index_of_an_interface_that_returned(place: Path) -> None:
    """ctx->ingress_ifindex is that of the interface that is there now, and the claim is, too."""
    with bump() as line, _inline(line, place, WHERE_FROM) as link:
        before = line.middle.ifindex("a")
        assert _pings(line.client)
        assert list(link.maps["indices"]) == [before]
        line.middle.ip("link", "del", "dev", "a")
        until(lambda: link.state == "gone")
        line.middle.ip("link", "add", "spare", "type", "veth", "peer", "name", "spare2")  # takes two indices
        wire(line.middle, "a", line.client, "eth0")
        line.client.address("eth0", "10.9.0.1/24")
        until(lambda: link.state == "up")
        now = line.middle.ifindex("a")
        assert now != before
        until(lambda: _pings(line.client))
        assert now in list(link.maps["indices"])
        with pytest.raises(InputError, match="has an attachment already"):
            line.middle.call(lambda: attach(_object(place, PASS), "a", mode="monitor", state_folder=place))
    assert not list((place / "claims").iterdir())


def test_a_frame_is_not_seen_twice_at_attach(place: Path) -> None:
    """While frames come, an attachment begins: the stack gets each of them once, before the block or by way of the filter."""
    with pair() as ends:
        heard = ends.host.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        heard.bind(("10.9.0.2", 7777))
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        teller = ends.client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        stop = threading.Event()
        sent = 0

        def tell() -> None:
            nonlocal sent
            while not stop.is_set():
                teller.sendto(sent.to_bytes(4, "big"), ("10.9.0.2", 7777))
                sent += 1
                time.sleep(0.0002)

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            for _ in range(3):
                with _host(ends, place):
                    time.sleep(0.3)
        finally:
            stop.set()
            thread.join()
        time.sleep(0.2)
        heard.setblocking(False)
        numbers = []
        with suppress(BlockingIOError):
            while True:
                numbers.append(int.from_bytes(heard.recv(64), "big"))
        heard.close()
        teller.close()
    assert len(numbers) == len(set(numbers))
    assert len(numbers) > sent // 2


def test_low_latency_is_lower(place: Path) -> None:
    """Side by side, the median round trip with low latency is below that with the usual one, whose blocks take a millisecond."""
    medians = {}
    for latency in ("normal", "low"):
        with bump() as line, _inline(line, place, latency=latency):
            assert _pings(line.client)
            shown = line.client.run(["ping", "-n", "-c", "60", "-i", "0.01", "-W4", "10.9.0.2"]).stdout
            times = sorted(float(each.split()[0]) for each in shown.split("time=")[1:])
            medians[latency] = times[len(times) // 2]
    assert medians["low"] < medians["normal"]


def test_it_ends_unless_it_is_confirmed(place: Path) -> None:
    """`revert_after` detaches in time, `confirm` keeps it."""
    with bump() as line:
        with _inline(line, place) as link:
            link.revert_after(0.3)
            link.confirm()
            time.sleep(0.6)
            assert link.state != "detached"
            link.revert_after(0.05)
            assert link.wait(20)
        assert link.state == "detached"
        assert not _pings(line.client)


def test_a_redirect_opens_what_it_names(place: Path) -> None:
    """An interface that is no part of the link is opened when a frame is first sent there."""
    text = 'SEC("xdp") int aside(struct xdp_md *ctx) { return bpf_redirect(INDEX, 0); }'
    with bump() as line, Namespace("third") as third:
        wire(line.middle, "c", third, "eth0")
        third.address("eth0", "10.9.0.3/24")
        index = line.middle.ifindex("c")
        with _inline(line, place, text.replace("INDEX", str(index))) as link:
            catcher = third.popen(["timeout", "20", "tcpdump", "-c1", "-i", "eth0", "arp"], stderr=-3, stdout=-3)
            until(lambda: not _pings(line.client) and catcher.poll() == 0)
            assert link.stats().words["redirected"] > 0
            assert link.stats().drops["no_target"] == 0
