"""pcap and pcapng: the headers around records, from bytes and to bytes.

Not here: records themselves, which are walked and written in loops (kernels.py), and files (files.py, writers.py).
Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from netdev.capture.linktypes import ETHERNET

__all__ = [
    "BLOCK_HEADER",
    "MAX_CAPLEN",
    "PACKET_HEADER",
    "PCAP_HEADER",
    "RECORD_HEADER",
    "Block",
    "FormatError",
    "Interface",
    "PcapHeader",
    "block_head",
    "interface_block",
    "interface_of",
    "pcap_header",
    "pcap_header_of",
    "section_block",
    "section_order_of",
]

PCAP_HEADER: Final = 24
RECORD_HEADER: Final = 16
BLOCK_HEADER: Final = 8
PACKET_HEADER: Final = 28
"""From the start of an enhanced packet block to its frame."""
MAX_CAPLEN: Final = 262_144
"""The longest frame that is believed: what libpcap and Wireshark allow for most link types."""

_PCAP_MICRO: Final = 0xA1B2C3D4
_PCAP_NANO: Final = 0xA1B23C4D
_PCAP_STRANGE: Final = {0xA1B2CD34: "Kuznetzov's", 0xA1E2CB12: "Navtel's", 0xA1B234CD: "Nokia's"}
_BYTE_ORDER: Final = 0x1A2B3C4D
_LINK_TYPE: Final = 0x03FF_FFFF  # above: whether and how many bytes of frame check sequence follow
_MICROSECONDS: Final = 6
_NANOSECONDS: Final = 9
_BINARY: Final = 0x80

_MAX_OPTION: Final = 0xFFFF


class Block(IntEnum):
    """Types of pcapng blocks that mean something here; PACKET is the obsolete one."""

    SECTION = 0x0A0D0D0A
    INTERFACE = 1
    PACKET = 2
    SIMPLE_PACKET = 3
    ENHANCED_PACKET = 6


class _Option(IntEnum):
    """Codes of options; those of the blocks are numbered apart, hence the names."""

    END = 0
    IF_NAME = 2
    IF_DESCRIPTION = 3
    IF_TSRESOL = 9
    IF_TSOFFSET = 14
    SHB_USERAPPL = 4


class FormatError(Exception):
    """Bytes that are no header; the message says why, the caller says where."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Where frames were captured.

    `snaplen` 0 is no limit. `resolution` is pcapng's if_tsresol: the unit of timestamps is 10**-resolution seconds, or
    2**-(resolution - 128) when the top bit is set. `offset` is in seconds, added to each timestamp.
    """

    name: str = ""
    description: str = ""
    link_type: int = ETHERNET
    snaplen: int = 0
    resolution: int = _NANOSECONDS
    offset: int = 0

    @property
    def binary(self) -> bool:
        """Whether the unit is a power of two."""
        return bool(self.resolution & _BINARY)

    @property
    def exponent(self) -> int:
        """The unit's exponent, 0 to 127."""
        return self.resolution & ~_BINARY


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PcapHeader:
    """A classic file's header: byte order, and its one interface."""

    big: bool
    interface: Interface

    @property
    def fraction_ns(self) -> int:
        """How many nanoseconds the second word of a timestamp counts."""
        return 1 if self.interface.resolution == _NANOSECONDS else 1000


def pcap_header_of(data: bytes) -> PcapHeader | None:
    """The header of a classic file, or None when this is something else; raises FormatError."""
    for order, big in (("<", False), (">", True)):
        if len(data) < 4:
            break
        (magic,) = struct.unpack_from(order + "I", data)
        if magic in _PCAP_STRANGE:
            raise FormatError(f"{_PCAP_STRANGE[magic]} variant of pcap is not supported; convert it with editcap")
        if magic not in (_PCAP_MICRO, _PCAP_NANO):
            continue
        if len(data) < PCAP_HEADER:
            raise FormatError(f"the file header is cut: {len(data)} of {PCAP_HEADER} bytes")
        major, minor, _, _, snaplen, link_type = struct.unpack_from(order + "HHiIII", data, 4)
        if (major, minor) != (2, 4):
            raise FormatError(f"pcap version {major}.{minor} is not supported, only 2.4")
        resolution = _NANOSECONDS if magic == _PCAP_NANO else _MICROSECONDS
        interface = Interface(link_type=link_type & _LINK_TYPE, snaplen=snaplen, resolution=resolution)
        return PcapHeader(big=big, interface=interface)
    return None


def pcap_header(link_type: int, snaplen: int, *, nanoseconds: bool) -> bytes:
    """The header of a classic file, little-endian."""
    magic = _PCAP_NANO if nanoseconds else _PCAP_MICRO
    return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, link_type)


def section_order_of(block: bytes) -> bool | None:
    """Whether the section that this block begins is big-endian, or None when it begins none."""
    if len(block) < 12 or struct.unpack_from("<I", block)[0] != Block.SECTION:
        return None
    if struct.unpack_from("<I", block, 8)[0] == _BYTE_ORDER:
        return False
    return True if struct.unpack_from(">I", block, 8)[0] == _BYTE_ORDER else None


def block_head(data: memoryview, at: int, *, big: bool) -> tuple[int, int]:
    """The type and total length of the whole block at `at`; raises FormatError when it does not hold together.

    A section header is read in its own byte order, whatever `big` says.
    """
    left = len(data) - at
    if left < 12:
        raise FormatError("the block is cut")
    own = section_order_of(bytes(data[at : at + 12]))
    order = ">" if (big if own is None else own) else "<"
    kind, length = struct.unpack_from(order + "II", data, at)
    if kind == Block.SECTION:
        if own is None:
            raise FormatError("a section header without a byte-order magic")
        if length < 28:
            raise FormatError(f"a section header of {length} bytes")
    if length < 12 or length % 4:
        raise FormatError(f"a block of {length} bytes")
    if length > left:
        raise FormatError(f"a block of {length} bytes is cut after {left}")
    if struct.unpack_from(order + "I", data, at + length - 4)[0] != length:
        raise FormatError(f"a block of {length} bytes that ends with another length")
    if kind == Block.SECTION and struct.unpack_from(order + "H", data, at + 12)[0] != 1:
        raise FormatError("a section of an unknown pcapng version")
    return kind, length


def _options(body: memoryview, order: str) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == _Option.END:
            return
        if at + 4 + length > len(body):
            raise FormatError(f"option {code} of {length} bytes runs past its block")
        yield code, bytes(body[at + 4 : at + 4 + length])
        at += 4 + length + -length % 4


def interface_of(block: memoryview, *, big: bool) -> Interface:
    """The interface that a whole interface description block describes; raises FormatError."""
    order = ">" if big else "<"
    if len(block) < 20:
        raise FormatError(f"an interface description of {len(block)} bytes")
    link_type, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    name = description = ""
    resolution, offset = _MICROSECONDS, 0
    for code, value in _options(block[16:-4], order):
        match code:
            case _Option.IF_NAME:
                name = value.decode("utf-8", "replace")
            case _Option.IF_DESCRIPTION:
                description = value.decode("utf-8", "replace")
            case _Option.IF_TSRESOL if len(value) == 1:
                resolution = value[0]
            case _Option.IF_TSOFFSET if len(value) == 8:
                offset = struct.unpack(order + "q", value)[0]
            case _Option.IF_TSRESOL | _Option.IF_TSOFFSET:
                raise FormatError(f"interface option {code} of {len(value)} bytes")
            case _:
                pass
    return Interface(
        name=name,
        description=description,
        link_type=link_type,
        snaplen=snaplen,
        resolution=resolution,
        offset=offset,
    )


def _option(code: int, value: bytes) -> bytes:
    value = value[:_MAX_OPTION]
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: Block, body: bytes) -> bytes:
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def section_block(application: str) -> bytes:
    """A section header, little-endian, of unknown length, that names who wrote it."""
    options = _option(_Option.SHB_USERAPPL, application.encode()) + _option(_Option.END, b"")
    return _block(Block.SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1) + options)


def interface_block(interface: Interface) -> bytes:
    """An interface description, little-endian, with the same resolution and offset."""
    options = b""
    if interface.name:
        options += _option(_Option.IF_NAME, interface.name.encode())
    if interface.description:
        options += _option(_Option.IF_DESCRIPTION, interface.description.encode())
    options += _option(_Option.IF_TSRESOL, bytes([interface.resolution]))
    if interface.offset:
        options += _option(_Option.IF_TSOFFSET, struct.pack("<q", interface.offset))
    options += _option(_Option.END, b"")
    return _block(Block.INTERFACE, struct.pack("<HHI", interface.link_type, 0, interface.snaplen) + options)
