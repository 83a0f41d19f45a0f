"""Frames to measure with: what each example is meant to meet, from many sources, with a fixed seed.

Not here: captures; these are built in memory, so that sizes and mixes are known.
"""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address

from netdev.port import FrameBatch, pack

__all__ = ["frames_for"]

_COUNT = 16_384
_STEP_NS = 20_000


def _ethernet(kind: int, payload: bytes) -> bytes:
    frame = bytes.fromhex("02000000000102000000000a") + struct.pack("!H", kind) + payload
    return frame.ljust(60, b"\0")


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ipv4(source: int, protocol: int, payload: bytes) -> bytes:
    target = int(IPv4Address("192.0.2.80"))
    head = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0, source, target)
    return _ethernet(0x0800, head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + payload)


def _udp(source: int, ports: tuple[int, int], payload: bytes) -> bytes:
    return _ipv4(source, 17, struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload)


def _tcp(source: int, port: int, flags: int) -> bytes:
    return _ipv4(source, 6, struct.pack("!HHIIBBHHH", port, 80, 1, 0, 0x50, flags, 65535, 0, 0))


def _ping(source: int, number: int) -> bytes:
    body = struct.pack("!BBHHH", 8, 0, 0, 77, number & 0xFFFF) + bytes(range(32))
    return _ipv4(source, 1, body[:2] + struct.pack("!H", _checksum(body)) + body[4:])


def _dns(source: int, number: int, *, answer: bool) -> bytes:
    head = struct.pack("!HHHHHH", number & 0xFFFF, 0x8180 if answer else 0x0100, 1, int(answer), 0, 0)
    question = b"\7example\3org\0" + struct.pack("!HH", 1, 1)
    ports = (53, 40_000 + number % 1000) if answer else (40_000 + number % 1000, 53)
    return _udp(source, ports, head + question + (bytes(160) if answer else b""))


def frames_for(example: str) -> FrameBatch:
    """16,384 frames of the example's trade, 20 µs apart."""
    rng = random.Random(7)
    sources = [int(IPv4Address("198.18.0.0")) + rng.randrange(1 << 16) for _ in range(512)]
    frames = []
    for number in range(_COUNT):
        source = rng.choice(sources)
        match example:
            case "dns_amp":
                frames.append(_dns(source, number, answer=number % 4 != 0))
            case "reflector":
                frames.append(_ping(source, number) if number % 2 else _udp(source, (4000, 7), bytes(64)))
            case "dos_filter":
                frames.append(_tcp(source, 1024 + number % 5000, 2 if number % 4 else 16))
            case _:
                kind = number % 3
                frames.append(
                    _tcp(source, 1024 + number % 5000, 16)
                    if kind == 0
                    else _ping(source, number)
                    if kind == 1
                    else _udp(source, (5000, 6000), bytes(40))
                )
    return pack(frames, timestamps=[(1_700_000_000 * 10**9) + n * _STEP_NS for n in range(_COUNT)])
