"""A rehearsal before a filter enforces: what it would do to the packets that keep a host reachable.

A small built-in set of frames (RFC 826, 4861, 2131, 8415, 1035, 792; the TCP packets of the SSH session that the command is
typed in) goes through a program that was loaded for this alone, so no live map is touched.

Not here: asking the user (xdp.cli) and the attachment.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, final

from xdp.verdict import Verdict

if TYPE_CHECKING:
    from xdp.hooks.xdp import Runnable

__all__ = ["Finding", "Judgement", "Session", "frames", "judge", "rehearse", "session"]

Address = IPv4Address | IPv6Address

_TCP, _UDP, _ICMP, _ICMP6 = 6, 17, 1, 58
_BROADCAST: Final = b"\xff" * 6
_NEIGHBOUR: Final = bytes.fromhex("02005e000002")
_ALL_NODES: Final = IPv6Address("ff02::1")
_ALL_ROUTERS: Final = IPv6Address("ff02::2")
_OURS: Final = IPv4Address("192.0.2.1")
_THEIRS: Final = IPv4Address("192.0.2.2")
_OURS6: Final = IPv6Address("fe80::1")
_THEIRS6: Final = IPv6Address("fe80::2")
_SYN_ACK, _PUSH_ACK = 0x12, 0x18
_SHORTEST: Final = 60  # bytes of an Ethernet frame without its checksum


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The TCP connection under a terminal, as this host sees it."""

    client: Address
    client_port: int
    server: Address
    server_port: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one frame. `ssh`: it belongs to the terminal's own session."""

    name: str
    verdict: Verdict
    ssh: bool = False

    @property
    def arrives(self) -> bool:
        """Whether it goes on to where it was going."""
        return self.verdict is Verdict.XDP_PASS

    @property
    def fate(self) -> str:
        """What happens to it, in words."""
        match self.verdict:
            case Verdict.XDP_PASS:
                return "passes"
            case Verdict.XDP_TX:
                return "is sent back"
            case Verdict.XDP_REDIRECT:
                return "is redirected"
            case Verdict.XDP_DROP | Verdict.XDP_ABORTED:
                return "is dropped"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`warnings` name what would not arrive; `certain` says why the attachment locks its user out, or is empty."""

    warnings: tuple[str, ...]
    certain: str = ""


def session(environment: Mapping[str, str]) -> Session | None:
    """The SSH session of SSH_CONNECTION ("client port server port"); None without one or where it cannot be read."""
    match environment.get("SSH_CONNECTION", "").split():
        case [client, client_port, server, server_port] if client_port.isdigit() and server_port.isdigit():
            try:
                return Session(
                    client=_plain(client),
                    client_port=int(client_port),
                    server=_plain(server),
                    server_port=int(server_port),
                )
            except ValueError:
                return None
        case _:
            return None


def rehearse(program: Runnable, *, mac: bytes, ifindex: int = 1, ssh: Session | None = None) -> tuple[Finding, ...]:
    """Run the built-in frames, as they would arrive at the interface with this hardware address.

    `program` must be one that nobody else uses: its maps change.
    """
    from netdev.port import pack
    from xdp.hooks.xdp import Hook
    from xdp.verdict import verdict_of

    made = tuple(frames(mac, ssh))
    hook = Hook(program, ifindex=ifindex, origins=True)  # what the link will run, so that it is compiled once
    try:
        batch = pack([frame for _, frame, _ in made], timestamps=[time.monotonic_ns()] * len(made))
        returned = [int(each) for each in hook.run(batch).returned]
    finally:
        hook.close()
    return tuple(
        Finding(name=name, verdict=verdict_of(value), ssh=of_ssh)
        for (name, _, of_ssh), value in zip(made, returned, strict=True)
    )


def judge(findings: Sequence[Finding], *, mode: str, ssh_here: bool) -> Judgement:
    """What to say of it. `ssh_here`: the SSH session runs over the interface itself."""
    lost = [each for each in findings if not each.arrives]
    warnings = tuple(f"{each.name} {each.fate}" for each in lost)
    if lost and len(lost) == len(findings):
        return Judgement(warnings=warnings, certain="nothing of what keeps a host reachable would arrive")
    if mode == "host" and ssh_here and (gone := [each for each in lost if each.ssh]):
        return Judgement(
            warnings=warnings, certain=f"the session that you type in would end: {gone[0].name} {gone[0].fate}"
        )
    return Judgement(warnings=warnings)


def frames(mac: bytes, ssh: Session | None = None) -> Iterator[tuple[str, bytes, bool]]:
    """The set: (name, frame, whether it is of the SSH session), each as it arrives from the wire, checksums right."""
    for name, frame in (*_neighbours(mac), *_configuration(mac), *_questions(mac)):
        yield name, frame.ljust(_SHORTEST, b"\0"), False
    if ssh is not None:
        for name, flags, payload in (
            ("SSH: the answer to a connection", _SYN_ACK, b""),
            ("SSH: data", _PUSH_ACK, b"\0" * 36),
        ):
            segment = struct.pack("!HHIIBBHHH", ssh.client_port, ssh.server_port, 1, 1, 5 << 4, flags, 0xFFFF, 0, 0)
            yield name, _packet(mac, ssh.client, ssh.server, _TCP, segment + payload, 16).ljust(_SHORTEST, b"\0"), True


def _neighbours(mac: bytes) -> Iterator[tuple[str, bytes]]:
    def arp(operation: int, target: bytes) -> bytes:
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
        return head + _NEIGHBOUR + _THEIRS.packed + target + _OURS.packed

    solicited = IPv6Address(b"\xff\x02" + b"\0" * 9 + b"\x01\xff" + _OURS6.packed[13:])
    source = b"\x01\x01" + _NEIGHBOUR
    target = b"\x02\x01" + _NEIGHBOUR
    advertised = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    yield "ARP request", _BROADCAST + _NEIGHBOUR + b"\x08\x06" + arp(1, b"\0" * 6)
    yield "ARP reply", mac + _NEIGHBOUR + b"\x08\x06" + arp(2, mac)
    yield "IPv6 neighbour solicitation", _icmp6(mac, solicited, b"\x87" + b"\0" * 7 + _OURS6.packed + source)
    yield (
        "IPv6 neighbour advertisement",
        _icmp6(mac, _OURS6, b"\x88\0\0\0\x60\0\0\0" + _THEIRS6.packed + target),
    )
    yield "IPv6 router solicitation", _icmp6(mac, _ALL_ROUTERS, b"\x85" + b"\0" * 7 + source)
    yield "IPv6 router advertisement", _icmp6(mac, _ALL_NODES, advertised + source)


def _configuration(mac: bytes) -> Iterator[tuple[str, bytes]]:
    head = struct.pack("!BBBBIHH", 2, 1, 6, 0, 0x3903F326, 0, 0) + b"\0" * 4 + _OURS.packed + _THEIRS.packed + b"\0" * 4
    fields = head + mac.ljust(16, b"\0") + b"\0" * 192 + b"\x63\x82\x53\x63"
    for name, kind in (("DHCP offer", 2), ("DHCP acknowledgement", 5)):
        options = bytes((53, 1, kind, 54, 4)) + _THEIRS.packed + b"\x33\x04\0\0\x0e\x10\xff"
        yield name, _udp(mac, _THEIRS, _OURS, 67, 68, fields + options)
    client = b"\0\x01\0\x0a\0\x03\0\x01" + mac
    for name, kind in (("DHCPv6 advertisement", 2), ("DHCPv6 reply", 7)):
        message = bytes((kind, 1, 2, 3)) + client + b"\0\x02\0\x0a\0\x03\0\x01" + _NEIGHBOUR
        yield name, _udp(mac, _THEIRS6, _OURS6, 547, 546, message)


def _questions(mac: bytes) -> Iterator[tuple[str, bytes]]:
    question = b"\x07example\x03com\0\0\x01\0\x01"
    answer = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04" + _THEIRS.packed
    reply = struct.pack("!6H", 0x1234, 0x8180, 1, 1, 0, 0) + question + answer
    yield "DNS reply", _udp(mac, _THEIRS, _OURS, 53, 40000, reply)
    for name, kind in (("ICMP echo request", 8), ("ICMP echo reply", 0)):
        message = struct.pack("!BBHHH", kind, 0, 0, 1, 1) + b"abcdefghijklmnop"
        yield name, _packet(mac, _THEIRS, _OURS, _ICMP, message, 2)


def _icmp6(mac: bytes, to: IPv6Address, message: bytes) -> bytes:
    return _packet(mac, _THEIRS6, to, _ICMP6, message, 2)


def _udp(mac: bytes, source: Address, to: Address, source_port: int, port: int, payload: bytes) -> bytes:
    datagram = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    return _packet(mac, source, to, _UDP, datagram, 6)


def _packet(mac: bytes, source: Address, to: Address, protocol: int, payload: bytes, checksum_at: int) -> bytes:
    """Ethernet, IP and a payload whose own checksum lies at `checksum_at`."""
    pseudo = b"" if protocol == _ICMP else source.packed + to.packed + struct.pack("!II", len(payload), protocol)
    total = _checksum(pseudo + payload)
    payload = payload[:checksum_at] + struct.pack("!H", total or 0xFFFF) + payload[checksum_at + 2 :]
    if isinstance(to, IPv4Address):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0)
        total = _checksum(head + source.packed + to.packed)
        return mac + _NEIGHBOUR + b"\x08\0" + head[:10] + struct.pack("!H", total) + source.packed + to.packed + payload
    hops = 255 if protocol == _ICMP6 else 64
    there = b"\x33\x33" + to.packed[12:] if to.is_multicast else mac
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops)
    return there + _NEIGHBOUR + b"\x86\xdd" + head + source.packed + to.packed + payload


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    words: tuple[int, ...] = struct.unpack(f"!{(len(data) + 1) // 2}H", data.ljust((len(data) + 1) // 2 * 2, b"\0"))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _plain(text: str) -> Address:
    """An address without its scope; IPv4 in IPv6 as IPv4. Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
