"""Frames for filters to judge: mixed and reproducible, all from one hardware address that nothing else uses.

Not here: sending and capturing them.
"""

from __future__ import annotations

import random
from typing import Final

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

MARK: Final = bytes.fromhex("02feedbeef01")
TARGET: Final = bytes.fromhex("02feedbeef02")
PORTS: Final = (22, 53, 80, 123, 443, 8080)


def _text(mac: bytes) -> str:
    return mac.hex(":")


def _transport(rng: random.Random) -> Packet:
    port, source = rng.choice(PORTS), rng.randrange(1024, 65536)
    body = Raw(rng.randbytes(rng.choice((0, 1, 18, 64, 700, 1300))))
    match rng.randrange(4):
        case 0:
            return UDP(sport=source, dport=port) / body
        case 1:
            return ICMP(type=8, id=source, seq=port) / body
        case 2:
            return TCP(sport=source, dport=port, flags="S", options=[("MSS", 1460)])
        case _:
            return TCP(sport=source, dport=port, flags="PA", seq=rng.randrange(1 << 32)) / body


def _network(rng: random.Random) -> Packet:
    kind = rng.randrange(10)
    if kind == 0:
        return IPv6(src=f"fd09::{rng.randrange(1, 9)}", dst="fd09::2") / UDP(dport=rng.choice(PORTS)) / Raw(bytes(40))
    source, ident = f"198.51.100.{rng.randrange(1, 6)}", rng.randrange(1, 1 << 16)
    if kind == 1:
        return IP(src=source, dst="192.0.2.2", id=ident, frag=40, proto=17) / Raw(rng.randbytes(64))
    if kind == 2:
        return IP(src=source, dst="192.0.2.2", id=ident, options=[b"\x94\x04\0\0"]) / _transport(rng)
    return IP(src=source, dst="192.0.2.2", id=ident, ttl=rng.randrange(1, 256)) / _transport(rng)


def mixed(count: int, seed: int = 4) -> list[bytes]:
    """IPv4 and IPv6, tags, fragments, options, and frames that are nothing: all of at least 60 bytes, all checksums whole."""
    rng = random.Random(seed)
    frames = []
    for _ in range(count):
        head = Ether(src=_text(MARK), dst=_text(TARGET))
        match rng.randrange(12):
            case 0:
                frame = bytes(head / Dot1Q(vlan=rng.randrange(4096), prio=rng.randrange(8)) / _network(rng))
            case 1:
                frame = bytes(head / Dot1AD(vlan=7) / Dot1Q(vlan=rng.randrange(4096)) / _network(rng))
            case 2:
                frame = TARGET + MARK + b"\x88\xb5" + rng.randbytes(rng.randrange(46, 1000))
            case 3:
                frame = bytes(head / _network(rng))[: rng.randrange(20, 60)]
            case _:
                frame = bytes(head / _network(rng))
        frames.append(frame.ljust(60, b"\0"))
    return frames
