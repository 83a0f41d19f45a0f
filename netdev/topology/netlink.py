"""Routing messages as the kernel speaks them (RFC 3549): requests, dumps and attributes as bytes, nothing lost.

Moving an address or a route means sending the kernel's own message back with another interface's number in it, so
the messages stay bytes here, and restoring after a crash needs nothing but the standard library.
Not here: what the messages mean (edge, block), nor their decoding for people (snapshot).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self, final

from netdev.errors import InterfaceError

__all__ = ["Attributes", "Flag", "Message", "Netlink", "Request", "pack_attributes", "unpack_attributes"]

Attributes = tuple[tuple[int, bytes], ...]

_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = 2
_DONE: Final = 3
_NESTED: Final = 0x8000
_SOL_NETLINK: Final = 270
_EXT_ACK: Final = 11
_CAP_ACK: Final = 10


class Request(IntEnum):
    """Message types (linux/rtnetlink.h)."""

    NEW_LINK = 16
    GET_LINK = 18
    NEW_ADDRESS = 20
    DELETE_ADDRESS = 21
    GET_ADDRESS = 22
    NEW_ROUTE = 24
    DELETE_ROUTE = 25
    GET_ROUTE = 26
    NEW_NEIGHBOUR = 28
    DELETE_NEIGHBOUR = 29
    GET_NEIGHBOUR = 30
    NEW_RULE = 32
    DELETE_RULE = 33
    GET_RULE = 34
    NEW_QDISC = 36
    DELETE_QDISC = 37
    GET_QDISC = 38
    NEW_FILTER = 44
    DELETE_FILTER = 45
    GET_FILTER = 46


class Flag(IntEnum):
    """Header flags (linux/netlink.h)."""

    REQUEST = 0x1
    ACK = 0x4
    DUMP_INTERRUPTED = 0x10
    REPLACE = 0x100
    EXCLUSIVE = 0x200
    DUMP = 0x300
    CREATE = 0x400
    APPEND = 0x800


@final
@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dump: its type and all bytes after the header."""

    type: int
    body: bytes


def unpack_attributes(data: bytes) -> Attributes:
    """The attributes in `data`, in their order; the bit that says "nested" is taken off the type."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        found.append((kind & ~_NESTED, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return tuple(found)


def pack_attributes(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """The reverse of `unpack_attributes`."""
    parts = bytearray()
    for kind, value in attributes:
        parts += _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)
    return bytes(parts)


def _reason(number: int, payload: bytes) -> str:
    """The error's name with what the kernel says about it (NLMSGERR_ATTR_MSG)."""
    said = b""
    # with NETLINK_CAP_ACK only the header of the request comes back before the attributes
    for kind, value in unpack_attributes(payload[4 + _HEADER.size :]):
        if kind == 1:
            said = value.rstrip(b"\0")
    return os.strerror(number) + (f" ({said.decode(errors='replace')})" if said else "")


@final
class Netlink:
    """A NETLINK_ROUTE socket in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags | Flag.REQUEST, self._sequence, 0)
        self._socket.sendto(header + body, (0, 0))

    def _replies(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            data = self._socket.recv(1 << 20)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
                if sequence == self._sequence:
                    yield kind, flags, data[at + _HEADER.size : at + length]
                at += (length + 3) & ~3

    def request(self, kind: Request, body: bytes, *, flags: int = 0, allowed: Iterable[int] = ()) -> bool:
        """Ask for a change and wait for the answer.

        Returns True when it was made, False when it failed with one of the error numbers `allowed`; raises
        InterfaceError for any other.
        """
        self._send(kind, flags | Flag.ACK, body)
        for answer, _, payload in self._replies():
            if answer == _ERROR:
                number = -int(struct.unpack_from("=i", payload)[0])
                if number == 0:
                    return True
                if number in allowed:
                    return False
                if number in {errno.EPERM, errno.EACCES}:
                    raise InterfaceError("changing interfaces needs CAP_NET_ADMIN: run as root")
                raise InterfaceError(f"{kind.name.lower().replace('_', ' ')}: {_reason(number, payload)}")
        raise AssertionError("a netlink socket does not end")

    def dump(self, kind: Request, body: bytes, *, missing: Iterable[int] = ()) -> list[Message]:
        """Every message of a dump; taken again while it changes meanwhile; empty for the error numbers `missing`."""
        for _ in range(50):
            found: list[Message] = []
            interrupted = False
            self._send(kind, Flag.DUMP, body)
            for answer, flags, payload in self._replies():
                interrupted |= bool(flags & Flag.DUMP_INTERRUPTED)
                if answer in {_DONE, _ERROR}:
                    number = -int(struct.unpack_from("=i", payload)[0])
                    if number and number not in missing:
                        raise InterfaceError(f"{kind.name.lower().replace('_', ' ')}: {os.strerror(number)}")
                    break
                found.append(Message(answer, payload))
            if not interrupted:
                return found
        raise InterfaceError(f"{kind.name.lower().replace('_', ' ')}: the tables change too fast to be read")
