"""What a rehearsal wants to know of an interface: its hardware address and its IP addresses.

Not here: changing interfaces (netdev.topology).
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from netdev.errors import InterfaceError

__all__ = ["addresses", "hardware_address"]

_SIOCGIFCONF: Final = 0x8912
_SIOCGIFHWADDR: Final = 0x8927
_REQUEST: Final = 40  # bytes of a struct ifreq
_MOST: Final = 4096


def hardware_address(interface: str) -> bytes:
    """Six bytes; zeroes where the interface has none. Raises InterfaceError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            answer = fcntl.ioctl(control, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
        except OSError as error:
            raise InterfaceError(f"{interface}: {error.strerror}") from error
    return answer[18:24]


def addresses(interface: str) -> frozenset[IPv4Address | IPv6Address]:
    """The interface's own addresses in this thread's network namespace."""
    return frozenset((*_addresses4(interface), *_addresses6(interface)))


def _addresses4(interface: str) -> list[IPv4Address]:
    room = array.array("B", bytes(_REQUEST * _MOST))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFCONF, struct.pack("iP", len(room), room.buffer_info()[0]))
    used = struct.unpack_from("i", answer)[0]
    requests = [room[at : at + _REQUEST].tobytes() for at in range(0, used, _REQUEST)]
    return [
        IPv4Address(each[20:24])
        for each in requests
        if each[:16].split(b"\0")[0].partition(b":")[0] == interface.encode()
    ]


def _addresses6(interface: str) -> list[IPv6Address]:
    try:
        lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:  # no IPv6 in this kernel
        return []
    rows = [line.split() for line in lines]
    return [IPv6Address(bytes.fromhex(row[0])) for row in rows if row[5] == interface]
