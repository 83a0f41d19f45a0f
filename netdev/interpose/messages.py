"""struct msghdr and its parts, in the caller's memory and in ours.

Not here: what becomes of a message (sending, receiving).
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from dataclasses import dataclass, replace
from typing import Final, final

from netdev.interpose.held import Held, RefusedError
from netdev.interpose.record import SOCKADDR_SIZE

__all__ = ["HEADER_SIZE", "MMSG_SIZE", "OwnMessage", "TheirMessage", "control_messages", "source_of", "with_source"]

HEADER_SIZE: Final = 56
MMSG_SIZE: Final = 64
_HEADER: Final = struct.Struct("=QI4xQQQQi4x")
_MOST_PIECES: Final = 1024
_MOST_CONTROL: Final = 1 << 20
_LONGEST: Final = 0x7FFF_F000
_CMSG: Final = struct.Struct("=QII")
_IPV6_PKTINFO: Final = 50
_IP_PKTINFO: Final = 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TheirMessage:
    """A message as the caller describes it: addresses and sizes in its memory."""

    at: int
    name: int
    name_length: int
    pieces: tuple[tuple[int, int], ...]
    control: int
    control_length: int

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(length for _, length in self.pieces)

    @classmethod
    def read(cls, call: Held, at: int) -> TheirMessage:
        """From the struct msghdr at an address of the caller."""
        name, length, vectors, count, control, control_length, _ = _HEADER.unpack(call.read([(at, HEADER_SIZE)]))
        if count > _MOST_PIECES:
            raise RefusedError(-errno.EMSGSIZE)
        if name and length >> 31:
            raise RefusedError(-errno.EINVAL)
        if control_length > _MOST_CONTROL:
            raise RefusedError(-errno.ENOBUFS)
        flat = struct.unpack(f"={2 * count}Q", call.read([(vectors, 16 * count)]))
        pieces, room = [], _LONGEST
        for base, size in zip(flat[::2], flat[1::2], strict=True):
            if size >> 63:
                raise RefusedError(-errno.EINVAL)
            pieces.append((base, min(size, room)))
            room -= pieces[-1][1]
        return cls(
            at=at,
            name=name,
            name_length=min(length, SOCKADDR_SIZE) if name else 0,
            pieces=tuple(pieces),
            control=control,
            control_length=control_length,
        )

    def part(self, start: int, size: int) -> list[tuple[int, int]]:
        """The pieces of `size` bytes from `start` on."""
        found = []
        for base, length in self.pieces:
            skipped = min(start, length)
            start -= skipped
            taken = min(size, length - skipped)
            if taken:
                found.append((base + skipped, taken))
                size -= taken
        return found

    def without_name(self) -> TheirMessage:
        """The same, going to where the socket is connected."""
        return replace(self, name=0, name_length=0)


@final
class OwnMessage:
    """A struct msghdr in our memory with buffers behind it; `address` is what system calls take."""

    __slots__ = ("_buffers", "_header", "address", "control", "data", "name")

    def __init__(self, *, name: bytes, data: ctypes.Array[ctypes.c_char], control: bytes) -> None:
        """Buffers of these contents; to receive, contents only say how much room there is."""
        self.name = ctypes.create_string_buffer(name, len(name) or 1)
        self.control = ctypes.create_string_buffer(control, len(control) or 1)
        self.data = data
        vector = struct.pack("=QQ", ctypes.addressof(data), len(data))
        self._buffers = ctypes.create_string_buffer(vector, 16)
        header = _HEADER.pack(
            ctypes.addressof(self.name) if name else 0,
            len(name),
            ctypes.addressof(self._buffers),
            1,
            ctypes.addressof(self.control) if control else 0,
            len(control),
            0,
        )
        self._header = ctypes.create_string_buffer(header, HEADER_SIZE)
        self.address = ctypes.addressof(self._header)

    def received(self, header: bytes | None = None) -> tuple[bytes, int, bytes, int]:
        """After receiving: the name, its full length, the control data and the flags; `header`: where that stands instead."""
        _, length, _, _, _, control_length, flags = _HEADER.unpack(header or self._header.raw)
        return self.name.raw[: min(length, len(self.name))], length, self.control.raw[:control_length], flags

    @property
    def header(self) -> bytes:
        """The struct msghdr."""
        return self._header.raw


def control_messages(control: bytes) -> list[tuple[int, int, bytes]]:
    """Level, type and data of each control message, as far as they are whole."""
    found = []
    at = 0
    while at + _CMSG.size <= len(control):
        size, level, kind = _CMSG.unpack_from(control, at)
        if size < _CMSG.size or at + size > len(control):
            break
        found.append((level, kind, control[at + _CMSG.size : at + size]))
        at += (size + 7) & ~7
    return found


def packed(messages: list[tuple[int, int, bytes]]) -> bytes:
    """The control data of these messages."""
    return b"".join(
        _CMSG.pack(_CMSG.size + len(data), level, kind) + data + bytes(-len(data) % 8) for level, kind, data in messages
    )


def source_of(control: bytes) -> bytes:
    """The address of the own end that control data names (IP_PKTINFO, IPV6_PKTINFO), as a socket address; or nothing."""
    for level, kind, data in control_messages(control):
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= 12:
            return struct.pack("=HH4s8x", socket.AF_INET, 0, data[4:8])
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) >= 20:
            return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, data[:16], 0)
    return b""


def with_source(control: bytes, source: bytes) -> bytes:
    """Control data that names another address of the own end."""
    four = int.from_bytes(source[:2], "little") == socket.AF_INET
    level, kind = (socket.IPPROTO_IP, _IP_PKTINFO) if four else (socket.IPPROTO_IPV6, _IPV6_PKTINFO)
    others = [message for message in control_messages(control) if message[:2] != (level, kind)]
    index = next((m[2] for m in control_messages(control) if m[:2] == (level, kind)), bytes(20))
    if four:
        data = struct.pack("=4s4s4s", index[:4], source[4:8], source[4:8])
    else:
        data = struct.pack("=16s4s", source[8:24], index[16:20])
    return packed([*others, (level, kind, data)])
