"""Packets and capture files out of bytes, for make_captures.py.

Not here: what is in the captures. Nothing of the package is used, so that tests of the package can trust the captures.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

ETH_IPV4, ETH_ARP, ETH_VLAN, ETH_QINQ, ETH_IPV6 = 0x0800, 0x0806, 0x8100, 0x88A8, 0x86DD
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_MINIMUM: Final = 60


def mac(number: int) -> bytes:
    """A locally administered address."""
    return b"\x02\x00" + number.to_bytes(4, "big")


def address(text: str) -> bytes:
    """An IPv4 or IPv6 address."""
    return ip_address(text).packed


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(source: bytes, destination: bytes, kind: int, payload: bytes, *, pad: bool = True) -> bytes:
    """An Ethernet frame, padded as a wire would have it, without a check sequence."""
    frame = destination + source + struct.pack("!H", kind) + payload
    return frame.ljust(_MINIMUM, b"\0") if pad else frame


def tag(vlan: int, kind: int, payload: bytes, *, priority: int = 0) -> bytes:
    """What follows the EtherType of a VLAN tag."""
    return struct.pack("!HH", priority << 13 | vlan, kind) + payload


def ipv4(
    source: str,
    destination: str,
    protocol: int,
    payload: bytes,
    *,
    number: int = 0,
    ttl: int = 64,
    offset: int = 0,
    more: bool = False,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet or fragment; `offset` in bytes."""
    words = 5 + len(options) // 4
    flags = (0x2000 if more else 0) | offset // 8
    size = words * 4 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, size, number, flags, ttl, protocol, 0)
    head += address(source) + address(destination) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source: str, destination: str, following: int, payload: bytes, *, hops: int = 64) -> bytes:
    """An IPv6 packet; extension headers are part of the payload."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, hops)
    return head + address(source) + address(destination) + payload


def _transport(source: str, destination: str, protocol: int, segment: bytes, at: int) -> bytes:
    """The segment with its checksum, which lies at byte `at`, filled in."""
    pseudo = address(source) + address(destination) + struct.pack("!II", len(segment), protocol)
    value = checksum(pseudo + segment)
    if protocol == UDP and value == 0:
        value = 0xFFFF
    return segment[:at] + struct.pack("!H", value) + segment[at + 2 :]


def udp(source: str, source_port: int, destination: str, destination_port: int, payload: bytes) -> bytes:
    """A UDP datagram."""
    segment = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    return _transport(source, destination, UDP, segment, 6)


def tcp(
    source: str,
    source_port: int,
    destination: str,
    destination_port: int,
    flags: int,
    sequence: int,
    acknowledged: int,
    payload: bytes = b"",
    *,
    window: int = 64240,
) -> bytes:
    """A TCP segment; a SYN has a maximum segment size of 1,460."""
    options = b"\x02\x04\x05\xb4" if flags & SYN else b""
    words = 5 + len(options) // 4
    segment = struct.pack(
        "!HHIIBBHHH",
        source_port,
        destination_port,
        sequence % (1 << 32),
        acknowledged % (1 << 32),
        words << 4,
        flags,
        window,
        0,
        0,
    )
    return _transport(source, destination, TCP, segment + options + payload, 16)


def icmp(kind: int, number: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP message with an identifier."""
    message = struct.pack("!BBHHH", kind, 0, 0, number, sequence) + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmpv6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """An ICMPv6 message: `body` is what follows the checksum."""
    return _transport(source, destination, ICMPV6, struct.pack("!BBH", kind, 0, 0) + body, 2)


def arp(operation: int, sender: bytes, sender_ip: str, target: bytes, target_ip: str) -> bytes:
    """An ARP message over Ethernet for IPv4."""
    head = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, operation)
    return head + sender + address(sender_ip) + target + address(target_ip)


Frame = tuple[int, bytes]
"""A time in nanoseconds since the epoch, and the bytes."""


def pcap(frames: Iterable[Frame], *, nanoseconds: bool = False) -> bytes:
    """A classic capture file of frames, in order of time."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)]
    for time, frame in sorted(frames, key=lambda each: each[0]):
        seconds, rest = divmod(time, 10**9)
        fraction = rest if nanoseconds else rest // 1000
        out.append(struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame)
    return b"".join(out)


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def pcapng(interfaces: Iterable[tuple[str, int]], frames: Iterable[tuple[int, int, str, bytes]]) -> bytes:
    """A pcapng file: interfaces are a name and the exponent of the unit, frames (interface, time, comment, bytes)."""
    described = tuple(interfaces)
    out = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for name, exponent in described:
        options = _option(2, name.encode()) + _option(9, bytes([exponent])) + bytes(4)
        out.append(_block(1, struct.pack("<HHI", 1, 0, 262_144) + options))
    for number, time, comment, frame in sorted(frames, key=lambda each: each[1]):
        units = time // 10 ** (9 - described[number][1])
        head = struct.pack("<IIIII", number, units >> 32, units & 0xFFFF_FFFF, len(frame), len(frame))
        options = _option(1, comment.encode()) + bytes(4) if comment else b""
        out.append(_block(6, head + frame + bytes(-len(frame) % 4) + options))
    return b"".join(out)
