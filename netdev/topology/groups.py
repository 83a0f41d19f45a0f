"""Multicast groups that sockets joined on the lower interface, joined on the upper one as well.

A socket with IP_MULTICAST_ALL (the default) receives every group that the host has joined anywhere, so a membership
that this process holds on the upper interface is enough for it; one that switched it off must join there itself.
Memberships end with the process: no journal needed.
Not here: the groups that the kernel joins by itself (all nodes, solicited nodes).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

from netdev.topology.links import find_link

__all__ = ["HeldGroups", "hold_groups"]

_EACH: Final = 16  # memberships a socket; the kernel's default limit is 20 for IPv4


@final
@dataclass(frozen=True, slots=True)
class HeldGroups:
    """Sockets that hold memberships, and the groups (as text) that were joined."""

    sockets: tuple[socket.socket, ...]
    groups: tuple[str, ...]

    def close(self) -> None:
        """Leave the groups."""
        for each in self.sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _v4(name: str) -> list[bytes]:
    found: list[bytes] = []
    inside = False
    for line in Path("/proc/thread-self/net/igmp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if not line.startswith("\t"):
            inside = words[1].rstrip(":") == name
        elif inside:
            found.append(struct.pack("=I", int(words[0], 16)))
    return [group for group in found if group != bytes((224, 0, 0, 1))]


def _v6(name: str) -> list[bytes]:
    with contextlib.suppress(OSError), Path("/proc/thread-self/net/igmp6").open(encoding="ascii") as rows:
        words = [row.split() for row in rows]
        groups = [bytes.fromhex(row[2]) for row in words if row[1] == name]
        own = (
            bytes.fromhex("ff02" + "00" * 9 + "01ff"),
            bytes.fromhex("ff02" + "00" * 13 + "01"),
            bytes.fromhex("ff01" + "00" * 13 + "01"),
        )
        return [group for group in groups if not group.startswith(own)]
    return []


def hold_groups(lower: str, upper: str) -> HeldGroups:
    """Join the groups of `lower` on `upper`; what cannot be joined is left out."""
    index = find_link(upper).index
    sockets: list[socket.socket] = []
    joined: list[str] = []
    families = (
        (socket.AF_INET, socket.IPPROTO_IP, 35, _v4(lower)),  # IP_ADD_MEMBERSHIP with struct ip_mreqn
        (socket.AF_INET6, socket.IPPROTO_IPV6, 20, _v6(lower)),  # IPV6_ADD_MEMBERSHIP with struct ipv6_mreq
    )
    for family, level, option, groups in families:
        for start in range(0, len(groups), _EACH):
            holder = socket.socket(family, socket.SOCK_DGRAM)
            sockets.append(holder)
            for group in groups[start : start + _EACH]:
                tail = struct.pack("=4si", bytes(4), index) if family == socket.AF_INET else struct.pack("=I", index)
                with contextlib.suppress(OSError):
                    holder.setsockopt(level, option, group + tail)
                    joined.append(socket.inet_ntop(family, group))
    return HeldGroups(sockets=tuple(sockets), groups=tuple(joined))
