"""What the examples do to frames, by what they promise: run in the kernel, checked with scapy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.support.objects import EXAMPLES, Loaded, bpftool, loaded, tool

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's bpf(2)"),
]

ABORTED, DROP, PASS, TX = range(4)
CLIENT, SERVER = "192.0.2.7", "198.51.100.9"
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


class Bench:
    """A loaded example: run frames through one of its programs, look into its maps."""

    def __init__(self, kernel: Loaded, folder: Path) -> None:
        self.kernel = kernel
        self.folder = folder

    def run(self, packet: Packet | bytes, program: str) -> tuple[int, bytes]:
        """The verdict and the frame as the program left it."""
        source, target = self.folder / "in", self.folder / "out"
        frame = bytes(packet)
        source.write_bytes(frame)
        number = str(self.kernel.programs[program]["id"])
        answer = bpftool("prog", "run", "id", number, "data_in", str(source), "data_out", str(target))
        return answer["retval"], target.read_bytes()

    def verdict(self, packet: Packet | bytes, program: str) -> int:
        """The verdict alone."""
        return self.run(packet, program)[0]

    def map_id(self, name: str) -> str:
        """The id of a map that some program uses."""
        return next(str(number) for number, shown in self.kernel.maps.items() if shown["name"] == name)

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Store an element."""
        words = ["key", *map(str, key), "value", *map(str, value)]
        subprocess.run([tool("bpftool"), "map", "update", "id", self.map_id(name), *words], check=True)

    def dump(self, name: str) -> list[dict[str, Any]]:
        """The elements as bpftool formats them."""
        done = subprocess.run(
            [tool("bpftool"), "-j", "map", "dump", "id", self.map_id(name)], capture_output=True, text=True, check=True
        )
        return [each["formatted"] for each in json.loads(done.stdout)]

    def totals(self, name: str, member: str | None = None) -> dict[Any, int]:
        """Sums over the CPUs, without the rows that are zero."""
        found = {}
        for each in self.dump(name):
            values = [v["value"] for v in each["values"]] if "values" in each else [each["value"]]
            total = sum(v if member is None else v[member] for v in values)
            if total:
                found[each["key"]] = total
        return found


@contextmanager
def bench(name: str, folder: Path) -> Iterator[Bench]:
    """An example in the kernel."""
    with loaded((EXAMPLES / f"{name}.o").read_bytes(), name) as kernel:
        yield Bench(kernel, folder)


def address(text: str) -> bytes:
    """An IPv4 address as it stands in a packet."""
    return bytes(int(part) for part in text.split("."))


def number(text: str) -> int:
    """An IPv4 address as bpftool shows a __be32 on this machine."""
    return int.from_bytes(address(text), "little")


def repaired(frame: bytes) -> bytes:
    """The frame with every checksum computed anew."""
    packet = Ether(frame)
    for layer in (IP, UDP, TCP, ICMP):
        if layer in packet:
            del packet[layer].chksum
    return bytes(packet)


def test_pass_passes_and_changes_nothing(tmp_path: Path) -> None:
    """pass.c lets every frame through."""
    frame = bytes(ETHER / IP(src=CLIENT, dst=SERVER) / TCP())
    with bench("pass", tmp_path) as each:
        assert each.run(frame, "xdp_pass") == (PASS, frame)


def test_dos_filter_drops_what_is_blocked(tmp_path: Path) -> None:
    """dos_filter.c drops a blocked source under VLAN tags too, and counts it in three places."""
    packet = IP(src=CLIENT, dst=SERVER) / UDP() / Raw(b"x" * 20)
    tagged = ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / packet
    with bench("dos_filter", tmp_path) as each:
        assert each.verdict(ETHER / packet, "xdp_filter") == PASS
        each.update("blocked", address(CLIENT), (1).to_bytes(8, "little"))
        assert each.verdict(ETHER / packet, "xdp_filter") == DROP
        assert each.verdict(tagged, "xdp_filter") == DROP
        assert each.verdict(ETHER / ARP(), "xdp_filter") == PASS
        assert each.verdict(bytes(ETHER / packet)[:30], "xdp_filter") == DROP
        assert each.totals("blocked") == {number(CLIENT): 3}
        assert each.totals("dropped") == {number(CLIENT): 2}
        assert each.totals("counters", "packets") == {0: 1, 1: 1, 2: 1, 3: 2}


def test_dos_filter_limits_each_source(tmp_path: Path) -> None:
    """A burst of SYNs from one source is cut off, data of another still passes."""
    with bench("dos_filter", tmp_path) as each:
        source = tmp_path / "syn"
        source.write_bytes(bytes(ETHER / IP(src=CLIENT, dst=SERVER) / TCP(flags="S") / Raw(b"x" * 20)))
        program = str(each.kernel.programs["xdp_filter"]["id"])
        bpftool("prog", "run", "id", program, "data_in", str(source), "repeat", "50")
        (row,) = [row["value"] for row in each.dump("sources")]
        assert row["passed"] + row["dropped"] == 50
        assert 11 <= row["passed"] < 50
        assert each.totals("dropped") == {number(CLIENT): row["dropped"]}
        other = ETHER / IP(src="203.0.113.5", dst=SERVER) / TCP(flags="A")
        assert each.verdict(other, "xdp_filter") == PASS


def dns(question: str, *, answers: int = 0, qtype: str = "A", ident: int = 7, response: bool = False) -> Packet:
    """A DNS message from the client to the server, or back."""
    records = [DNSRR(rrname=question, type="TXT", rdata=b"y" * 200) for _ in range(answers)]
    message = DNS(id=ident, qr=int(response), qd=[DNSQR(qname=question, qtype=qtype)], an=records)
    if response:
        return ETHER / IP(src=SERVER, dst=CLIENT) / UDP(sport=53, dport=4000) / message
    return ETHER / IP(src=CLIENT, dst=SERVER) / UDP(sport=4000, dport=53) / message


def test_dns_answers_pass_once_for_each_question(tmp_path: Path) -> None:
    """dns_amp.c lets one answer to a question pass and drops the rest."""
    with bench("dns_amp", tmp_path) as each:
        answer = dns("example.org", answers=1, response=True)
        assert each.verdict(answer, "xdp_dns") == DROP
        assert each.verdict(dns("example.org"), "xdp_dns") == PASS
        assert each.verdict(answer, "xdp_dns") == PASS
        assert each.verdict(answer, "xdp_dns") == DROP
        assert each.totals("outcomes") == {1: 1, 2: 1, 4: 2}


def test_dns_answers_that_amplify_are_dropped(tmp_path: Path) -> None:
    """Large answers and answers to ANY are dropped though they were asked for."""
    with bench("dns_amp", tmp_path) as each:
        each.verdict(dns("example.org"), "xdp_dns")
        assert each.verdict(dns("example.org", answers=7, response=True), "xdp_dns") == DROP
        each.verdict(dns("a.b.example.org", qtype="ALL"), "xdp_dns")
        assert each.verdict(dns("a.b.example.org", qtype="ALL", answers=1, response=True), "xdp_dns") == DROP
        assert each.totals("outcomes") == {1: 2, 5: 1, 6: 1}


def test_the_parser_finds_what_frames_carry(tmp_path: Path) -> None:
    """parser.c looks through tags and extension headers and counts by protocol."""
    six = IPv6(src="2001:db8::1", dst="2001:db8::2")
    frames = [
        ETHER / IP() / TCP(),
        ETHER / Dot1Q(vlan=1) / IP() / UDP(),
        ETHER / Dot1AD(vlan=1) / Dot1Q(vlan=2) / six / UDP(),
        ETHER / six / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(),
        ETHER / six / IPv6ExtHdrFragment(offset=100, nh=17) / Raw(b"z" * 40),
        ETHER / six / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / TCP(),
        ETHER / ARP(),
        Raw(bytes(ETHER / six / TCP())[:50]),
    ]  # fmt: skip
    with bench("parser", tmp_path) as each:
        assert {each.verdict(frame, "xdp_parse") for frame in frames} == {PASS}
        assert each.totals("protocols", "packets") == {6: 2, 17: 3, 256: 3}
        assert each.totals("events") == {0: 1, 1: 2, 2: 1, 3: 1}
        swapped = {0x0008: 2, 0xDD86: 5, 0x0608: 1}
        assert each.totals("ethertypes") == swapped


@pytest.mark.parametrize("length", [0, 1, 57, 1000])
def test_the_reflector_repairs_its_checksums(tmp_path: Path, length: int) -> None:
    """reflector.c sends pings and datagrams back with right checksums and everything swapped."""
    with bench("reflector", tmp_path) as each:
        ping = ETHER / IP(src=CLIENT, dst=SERVER, ttl=33) / ICMP(id=5, seq=length) / Raw(b"q" * length)
        verdict, frame = each.run(ping, "xdp_reflect")
        answer = Ether(frame)
        assert verdict == TX
        assert frame == repaired(frame)
        assert (answer.src, answer[IP].src, answer[IP].ttl, answer[ICMP].type) == (ETHER.dst, SERVER, 64, 0)
        datagram = ETHER / IP(src=CLIENT, dst=SERVER) / UDP(sport=5000, dport=7) / Raw(b"q" * length)
        verdict, frame = each.run(datagram, "xdp_reflect")
        assert verdict == TX
        assert frame == repaired(frame)
        assert (Ether(frame)[UDP].sport, Ether(frame)[UDP].dport) == (7, 5000)


@pytest.mark.parametrize(
    "packet",
    [
        ETHER / IP() / TCP() / Raw(b"x" * 20),
        ETHER / IP() / ICMP(type=0),
        ETHER / IP(flags="MF") / UDP(sport=1, dport=2),
        ETHER / IP() / UDP(sport=7, dport=7),
        ETHER / IP(dst="224.0.0.1") / UDP(sport=1, dport=2),
        Ether(dst="ff:ff:ff:ff:ff:ff") / IP() / ICMP(),
        ETHER / IPv6() / UDP(),
    ],
)
def test_the_reflector_leaves_the_rest_alone(tmp_path: Path, packet: Packet) -> None:
    """What is no ping or datagram for one host passes unchanged."""
    with bench("reflector", tmp_path) as each:
        assert each.run(packet, "xdp_reflect") == (PASS, bytes(packet))


@pytest.mark.parametrize("inner", [IP(src=CLIENT, dst=SERVER) / TCP(), IPv6() / UDP() / Raw(b"abc")])
def test_the_tunnel_wraps_packets(tmp_path: Path, inner: Packet) -> None:
    """ipip_encap.c puts a right header around each packet, with the ends that the map says."""
    with bench("ipip_encap", tmp_path) as each:
        verdict, frame = each.run(ETHER / inner, "xdp_encap")
        outer = Ether(frame)[IP]
        assert verdict == TX
        assert frame == repaired(frame)
        assert (outer.src, outer.dst, outer.ttl) == ("192.0.2.1", "198.51.100.1", 64)
        assert bytes(outer.payload) == bytes(inner)
        assert outer.len == len(inner) + 20
        hop = bytes.fromhex("02aabbccddee")
        each.update("tunnel", bytes(4), address("10.1.1.1") + address("10.2.2.2") + hop + bytes([4, 9]))
        configured = Ether(each.run(ETHER / inner, "xdp_encap")[1])
        assert (configured[IP].src, configured[IP].dst, configured[IP].tos, configured[IP].ttl) == (
            "10.1.1.1",
            "10.2.2.2",
            4,
            9,
        )
        assert configured.dst == "02:aa:bb:cc:dd:ee"
        assert each.verdict(ETHER / ARP(), "xdp_encap") == PASS


def test_the_dispatcher_calls_a_program_for_each_protocol(tmp_path: Path) -> None:
    """dispatcher.c reaches its handlers by tail calls, and goes on where there is none."""
    packets = [
        (ETHER / IP() / ICMP(), PASS),
        (ETHER / IP() / ICMP() / Raw(b"x" * 1200), DROP),
        (ETHER / IP() / TCP(flags="S"), PASS),
        (ETHER / IP() / TCP(flags=""), DROP),
        (ETHER / IP() / TCP(flags="SF"), DROP),
        (ETHER / IP() / TCP(flags="FPU"), DROP),
        (ETHER / IP() / UDP(sport=1, dport=2), PASS),
        (ETHER / IP() / UDP(sport=0, dport=2), DROP),
        (ETHER / IP(proto=132) / Raw(b"x" * 20), PASS),
        (ETHER / IP(frag=100) / UDP(), PASS),
        (ETHER / ARP(), PASS),
    ]
    with bench("dispatcher", tmp_path) as each:
        assert [each.verdict(packet, "xdp_dispatch") for packet, _ in packets] == [verdict for _, verdict in packets]
        assert each.totals("tallies", "passed") == {0: 1, 1: 1, 2: 1, 4: 3}
        assert each.totals("tallies", "dropped") == {0: 1, 1: 3, 2: 1}


@pytest.mark.parametrize(("name", "program"), [("hash_lookup", "xdp_hash"), ("lpm_lookup", "xdp_lpm")])
def test_lookups_miss_in_an_empty_table(tmp_path: Path, name: str, program: str) -> None:
    """The measuring programs drop what they do not find."""
    with bench(name, tmp_path) as each:
        assert each.verdict(ETHER / IP() / TCP(), program) == DROP


def test_keys_to_look_up_are_those_that_the_head_of_the_file_names(tmp_path: Path) -> None:
    """With all the prefixes of the comment, every address is found; the hash's first keys are of its form."""
    with bench("lpm_lookup", tmp_path) as each:
        table = each.map_id("routes")
        for route in range(0, 10000, 500):
            key = [24, 0, 0, 0, 10, route >> 8, route & 255, 0]
            each.update("routes", bytes(key), bytes(4))
        assert len(each.dump("routes")) == 20
        assert table
        key = bytes([8, 0, 0, 0, 10, 0, 0, 0])
        each.update("routes", key, bytes(4))
        assert {each.verdict(ETHER / IP() / TCP(), "xdp_lpm") for _ in range(20)} == {PASS}
    with bench("hash_lookup", tmp_path) as each:
        state = 0
        for _ in range(10):
            state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
            key = ((state >> 16) * 0x9E3779B1) & 0xFFFFFFFF
            each.update("table", key.to_bytes(4, "little"), bytes(8))
        assert {each.verdict(ETHER / IP() / TCP(), "xdp_hash") for _ in range(10)} == {PASS}


def test_committed_objects_are_what_the_compiler_makes() -> None:
    """`make -C examples check` finds no difference between the objects and their sources."""
    version = subprocess.run([tool("clang-19"), "--version"], capture_output=True, text=True, check=True).stdout
    if "19.1.7" not in version:
        pytest.skip("the committed objects were made by clang 19.1.7")
    tool("llvm-strip-19")
    done = subprocess.run(["make", "-C", str(EXAMPLES), "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
