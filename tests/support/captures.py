"""Captures made byte by byte, the captures on disk, and tshark to ask about them.

Not here: anything that uses the code under test.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import pytest

ROOT: Final = Path(__file__).parents[2]
SHARED: Final = ROOT.parent / "shared" / "pcaps"
OWN: Final = ROOT / "pcaps"
ON_DISK: Final = (
    *sorted(OWN.glob("*.pcap*")),
    *sorted(SHARED.glob("*.pcap*")),
    *sorted(SHARED.glob("hostile/*.pcap*")),
)

_SHALLOW: Final = ("--disable-protocol", "eth", "--disable-protocol", "eth_maybefcs")  # frames are enough

needs_shared: Final = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared captures are not there")
needs_tshark: Final = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A frame as tshark sees it; the time is in nanoseconds modulo 2**64."""

    length: int
    caplen: int
    timestamp: int


def fields(path: Path, *names: str) -> list[list[str]]:
    """The fields of each frame, in tshark's words; what it makes of a damaged end is not its exit code."""
    words = ["tshark", "-n", *_SHALLOW, "-r", str(path), "-T", "fields", *(w for name in names for w in ("-e", name))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    return [line.split("\t") for line in done.stdout.splitlines()]


def seen_by_tshark(path: Path) -> list[Seen]:
    """Every frame of a file."""
    return [
        Seen(length=int(length), caplen=int(caplen), timestamp=_nanoseconds(time))
        for length, caplen, time in fields(path, "frame.len", "frame.cap_len", "frame.time_epoch")
    ]


def _nanoseconds(time: str) -> int:
    seconds, _, fraction = time.partition(".")
    value = int(seconds or "0") * 10**9
    rest = int(fraction.ljust(9, "0") or "0")
    return (value - rest if seconds.startswith("-") else value + rest) % (1 << 64)


def pcap(*records: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1) -> bytes:
    """A classic file of records from `record`."""
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type) + b"".join(records)


def record(
    data: bytes,
    *,
    seconds: int = 1,
    fraction: int = 0,
    length: int | None = None,
    caplen: int | None = None,
    order: str = "<",
) -> bytes:
    """A classic record; `caplen` may lie."""
    caplen = len(data) if caplen is None else caplen
    return struct.pack(order + "IIII", seconds, fraction, caplen, len(data) if length is None else length) + data


def block(kind: int, body: bytes, order: str = "<", *, length: int | None = None, trailer: int | None = None) -> bytes:
    """A pcapng block; its two lengths may lie."""
    body += bytes(-len(body) % 4)
    total = len(body) + 12 if length is None else length
    return (
        struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total if trailer is None else trailer)
    )


def section(order: str = "<") -> bytes:
    """A section header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """An option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(order: str = "<", *options: bytes, link_type: int = 1, snaplen: int = 0) -> bytes:
    """An interface description."""
    return block(1, struct.pack(order + "HHI", link_type, 0, snaplen) + b"".join(options), order)


def enhanced(
    data: bytes,
    order: str = "<",
    *,
    number: int = 0,
    time: int = 0,
    length: int | None = None,
    options: bytes = b"",
    caplen: int | None = None,
) -> bytes:
    """An enhanced packet block; `time` in units, `caplen` may lie."""
    caplen = len(data) if caplen is None else caplen
    head = struct.pack(
        order + "IIIII", number, time >> 32, time & 0xFFFF_FFFF, caplen, len(data) if length is None else length
    )
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def simple(data: bytes, order: str = "<", *, length: int | None = None) -> bytes:
    """A simple packet block."""
    return block(3, struct.pack(order + "I", len(data) if length is None else length) + data, order)


def obsolete(data: bytes, order: str = "<", *, number: int = 0, drops: int = 0, time: int = 0) -> bytes:
    """An obsolete packet block."""
    head = struct.pack(order + "HHIIII", number, drops, time >> 32, time & 0xFFFF_FFFF, len(data), len(data))
    return block(2, head + data, order)
