"""Which interface is meant, however it is called by now, and the settings that ioctls read and write.

Not here: addresses and routes (edge) and the ingress block (block).
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from netdev.errors import InterfaceError
from netdev.topology.netlink import Netlink, Request, unpack_attributes

__all__ = [
    "FEATURES",
    "Link",
    "LinkGoneError",
    "features",
    "find_link",
    "flags",
    "link_by_index",
    "links",
    "namespace_inode",
    "present",
    "refuse_entangled",
    "set_feature",
    "set_flags",
]

_IFINFO: Final = struct.Struct("=BxHiII")
_IFLA_ADDRESS: Final = 1
_IFLA_IFNAME: Final = 3
_IFLA_LINK: Final = 5
_IFLA_MASTER: Final = 10
_IFLA_LINKINFO: Final = 18
_CARRIED: Final = frozenset({b"ipvlan", b"ipvtap", b"macsec", b"macvlan", b"macvtap", b"vlan"})
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_SIOCETHTOOL: Final = 0x8946


class LinkGoneError(InterfaceError):
    """The interface that a record is about does not exist any more: there is nothing to restore on it."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface of one namespace: `index` and `mac` (hexadecimal) identify it, `name` is what it was called."""

    name: str
    index: int
    mac: str


def namespace_inode() -> int:
    """The inode of this thread's network namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def links() -> tuple[Link, ...]:
    """Every interface of this thread's namespace."""
    found = []
    with Netlink() as netlink:
        for message in netlink.dump(Request.GET_LINK, _IFINFO.pack(0, 0, 0, 0, 0)):
            index = _IFINFO.unpack_from(message.body)[2]
            values = dict(unpack_attributes(message.body[_IFINFO.size :]))
            name = values[_IFLA_IFNAME].rstrip(b"\0").decode()
            found.append(Link(name=name, index=index, mac=values.get(_IFLA_ADDRESS, b"").hex()))
    return tuple(found)


def find_link(name: str) -> Link:
    """The interface of this name; InterfaceError with the names that there are."""
    known = links()
    for link in known:
        if link.name == name:
            return link
    raise InterfaceError(f"there is no interface {name}; there are {', '.join(link.name for link in known)}")


def link_by_index(index: int) -> Link | None:
    """The interface of this number, or None."""
    return next((link for link in links() if link.index == index), None)


def present(link: Link) -> Link:
    """The same interface under its present name; LinkGoneError when it is gone or another one has its number."""
    now = link_by_index(link.index)
    if now is None or now.mac != link.mac:
        raise LinkGoneError(
            f"{link.name} (number {link.index}, {':'.join(link.mac[i : i + 2] for i in range(0, len(link.mac), 2))})"
            " is gone: there is nothing to restore on it"
        )
    return now


def refuse_entangled(name: str) -> None:
    """InterfaceError when `name` is part of another interface, or others of this namespace are carried by it."""
    index = find_link(name).index
    with Netlink() as netlink:
        for message in netlink.dump(Request.GET_LINK, _IFINFO.pack(0, 0, 0, 0, 0)):
            values = dict(unpack_attributes(message.body[_IFINFO.size :]))
            if _IFINFO.unpack_from(message.body)[2] == index and _IFLA_MASTER in values:
                raise InterfaceError(f"{name} is a port of another interface (bridge, bond): the host's edge is there")
            below = struct.unpack("=i", values.get(_IFLA_LINK, bytes(4)))[0]
            kind = dict(unpack_attributes(values.get(_IFLA_LINKINFO, b""))).get(1, b"").rstrip(b"\0")
            if below == index and kind in _CARRIED:
                other = values[_IFLA_IFNAME].rstrip(b"\0").decode()
                raise InterfaceError(f"{name} carries {other} ({kind.decode()}), which the ingress block would cut off")


@contextlib.contextmanager
def _ioctl_socket(name: str) -> Iterator[socket.socket]:
    """A socket for ioctls on `name`, whose errors become one clear line."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            yield control
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES}:
            raise InterfaceError(f"{name}: changing interfaces needs CAP_NET_ADMIN: run as root") from None
        raise InterfaceError(f"{name}: {os.strerror(error.errno or 0)}") from None


def flags(name: str) -> int:
    """The interface's flags as a user sets them (IFF_…)."""
    with _ioctl_socket(name) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
    return int(struct.unpack_from("16sH", answer)[1])


def set_flags(name: str, mask: int, value: int) -> None:
    """Change the flags in `mask` to those of `value`; nothing is done when they are so."""
    before = flags(name)
    after = before & ~mask | value & mask
    if after != before:
        with _ioctl_socket(name) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), after))


# Offloads by ethtool's names: the command that reads, the command that sets, the bit (0: the whole value).
# The order is the one in which they can be switched on again: segmentation needs scatter-gather and checksums.
FEATURES: Final[tuple[tuple[str, int, int, int], ...]] = (
    ("rx-checksumming", 0x14, 0x15, 0),
    ("tx-checksumming", 0x16, 0x17, 0),
    ("scatter-gather", 0x18, 0x19, 0),
    ("tcp-segmentation-offload", 0x1E, 0x1F, 0),
    ("generic-segmentation-offload", 0x23, 0x24, 0),
    ("generic-receive-offload", 0x2B, 0x2C, 0),
    ("large-receive-offload", 0x25, 0x26, 1 << 15),
    ("rx-vlan-offload", 0x25, 0x26, 1 << 8),
    ("tx-vlan-offload", 0x25, 0x26, 1 << 7),
)


def _ethtool(control: socket.socket, name: str, command: int, value: int = 0) -> int:
    data = array.array("I", (command, value))
    fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sQ16x", name.encode(), data.buffer_info()[0]))
    return data[1]


def features(name: str) -> dict[str, bool]:
    """The offloads that the interface knows, and whether they are on."""
    found = {}
    with _ioctl_socket(name) as control:
        for feature, read, _, bit in FEATURES:
            with contextlib.suppress(OSError):
                value = _ethtool(control, name, read)
                found[feature] = bool(value & bit if bit else value)
    return found


def set_feature(name: str, feature: str, *, on: bool) -> None:
    """Switch an offload; InterfaceError where the device cannot."""
    _, read, write, bit = next(row for row in FEATURES if row[0] == feature)
    with _ioctl_socket(name) as control:
        before = _ethtool(control, name, read)
        after = (before | bit if on else before & ~bit) if bit else int(on)
        if after != before:
            _ethtool(control, name, write, after)
