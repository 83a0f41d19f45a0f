"""Addresses and neighbours of an interface as the kernel's own messages, moved to another interface and back.

Lifetimes go on while an address is elsewhere; an address that the kernel would have dropped meanwhile stays dropped.
IPv6 addresses are added without duplicate address detection (they were in use a moment ago) and keep no trace of it.
A temporary (privacy) address comes back as an ordinary one with its lifetimes, and a stable-privacy one without that
mark: the kernel takes these flags from nobody.
Not here: routes, which need the addresses first.
"""

from __future__ import annotations

import errno
import struct
from typing import Final

from netdev.topology.netlink import Flag, Netlink, Request, pack_attributes, unpack_attributes

__all__ = [
    "add_address",
    "add_neighbour",
    "address_key",
    "delete_address",
    "is_link_local",
    "neighbour_key",
    "read_addresses",
    "read_neighbours",
    "retarget_address",
    "retarget_neighbour",
    "skips_detection",
]

_ADDRESS: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 3, 6, 8
_LIFETIMES: Final = struct.Struct("=IIII")  # preferred, valid, created, changed
_FOREVER: Final = 0xFFFFFFFF
_NODAD: Final = 0x02
_INET6: Final = 10
_SCOPE_LINK: Final = 253
# what the kernel takes from a user: no DAD, home address, managed temporaries, no prefix route, multicast auto-join
_SETTABLE: Final = 0x02 | 0x10 | 0x100 | 0x200 | 0x400

_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_NDA_DST, _NDA_LLADDR = 1, 2
_NDA_KEPT: Final = frozenset({1, 2, 12, 15})  # destination, link address, protocol, further flags
_REACHABLE, _STALE, _PERMANENT = 0x02, 0x04, 0x80
_KNOWN: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_PROXY: Final = 0x08


def read_addresses(netlink: Netlink, index: int) -> tuple[bytes, ...]:
    """The addresses of interface `index`, in the kernel's order (primaries before their secondaries)."""
    dumped = netlink.dump(Request.GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0))
    return tuple(message.body for message in dumped if _ADDRESS.unpack_from(message.body)[4] == index)


def address_key(body: bytes) -> tuple[int, int, bytes, bytes]:
    """What makes an address of one interface the same: family, prefix length, local and peer address."""
    family, length, *_ = _ADDRESS.unpack_from(body)
    values = dict(unpack_attributes(body[_ADDRESS.size :]))
    peer = values.get(_IFA_ADDRESS, b"")
    return family, length, values.get(_IFA_LOCAL, peer), peer


def retarget_address(
    body: bytes, index: int, *, label: tuple[str, str] | None = None, elapsed: int = 0
) -> bytes | None:
    """The same address for interface `index`; None when `elapsed` seconds have ended its life.

    `label` replaces the beginning of an IPv4 label (eth0 in eth0:1) by another name.
    """
    family, length, _, scope, _ = _ADDRESS.unpack_from(body)
    attributes = []
    for kind, found in unpack_attributes(body[_ADDRESS.size :]):
        value = found
        if kind == _IFA_CACHEINFO:
            preferred, valid, _, _ = _LIFETIMES.unpack(value)
            if valid != _FOREVER:
                if valid <= elapsed:
                    return None
                valid -= elapsed
            if preferred != _FOREVER:
                preferred = max(0, preferred - elapsed)
            value = _LIFETIMES.pack(preferred, valid, 0, 0)
        elif kind == _IFA_FLAGS:
            value = struct.pack("=I", struct.unpack("=I", value)[0] & _SETTABLE)
        elif kind == _IFA_LABEL and label is not None:
            text = value.rstrip(b"\0").decode()
            if text == label[0] or text.startswith(label[0] + ":"):
                value = (label[1] + text.removeprefix(label[0])).encode()[:15] + b"\0"
        attributes.append((kind, value))
    return _ADDRESS.pack(family, length, 0, scope, index) + pack_attributes(attributes)


def is_link_local(body: bytes) -> bool:
    """Whether it is an IPv6 address of scope link, such as the kernel makes by itself."""
    family, _, _, scope, _ = _ADDRESS.unpack_from(body)
    return bool(family == _INET6 and scope == _SCOPE_LINK)


def skips_detection(body: bytes | None) -> bool | None:
    """Whether an address has the flag "nodad"; None of no address."""
    if body is None:
        return None
    flags = dict(unpack_attributes(body[_ADDRESS.size :])).get(_IFA_FLAGS, bytes(4))
    return bool(struct.unpack("=I", flags)[0] & _NODAD)


def add_address(netlink: Netlink, body: bytes) -> None:
    """Add what `retarget_address` made; an address that is there is left as it is."""
    if body[0] != _INET6:
        netlink.request(Request.NEW_ADDRESS, body, flags=Flag.CREATE | Flag.EXCLUSIVE, allowed=(errno.EEXIST,))
        return
    attributes = unpack_attributes(body[_ADDRESS.size :])
    flags = struct.unpack("=I", dict(attributes).get(_IFA_FLAGS, bytes(4)))[0]
    others = [(kind, value) for kind, value in attributes if kind != _IFA_FLAGS]
    quiet, plain = (
        body[: _ADDRESS.size] + pack_attributes([*others, (_IFA_FLAGS, struct.pack("=I", each))])
        for each in (flags | _NODAD, flags)
    )
    # a stop between the two would leave the flag "nodad" behind, so the second one is sent for an existing address too
    netlink.request(Request.NEW_ADDRESS, quiet, flags=Flag.CREATE | Flag.EXCLUSIVE, allowed=(errno.EEXIST,))
    netlink.request(Request.NEW_ADDRESS, plain, flags=Flag.REPLACE)


def delete_address(netlink: Netlink, body: bytes, index: int) -> None:
    """Remove an address from interface `index`; one that is not there is no error."""
    family, length, local, peer = address_key(body)
    attributes = pack_attributes([(_IFA_LOCAL, local), (_IFA_ADDRESS, peer)])
    netlink.request(
        Request.DELETE_ADDRESS,
        _ADDRESS.pack(family, length, 0, 0, index) + attributes,
        allowed=(errno.EADDRNOTAVAIL, errno.ENODEV),
    )


def read_neighbours(netlink: Netlink, index: int, *, proxies: bool = False) -> tuple[bytes, ...]:
    """The neighbours of `index` whose link address is known (or the addresses it answers for as a proxy)."""
    found = []
    for message in netlink.dump(Request.GET_NEIGHBOUR, _NEIGHBOUR.pack(0, 0, 0, _PROXY if proxies else 0, 0)):
        _, at, state, flags, _ = _NEIGHBOUR.unpack_from(message.body)
        if at == index and (flags & _PROXY if proxies else state & _KNOWN):
            found.append(message.body)
    return tuple(found)


def neighbour_key(body: bytes) -> tuple[int, bytes, bytes, bool]:
    """What makes a neighbour of one interface the same: family, address, link address, whether it is permanent."""
    family, _, state, _, _ = _NEIGHBOUR.unpack_from(body)
    values = dict(unpack_attributes(body[_NEIGHBOUR.size :]))
    return family, values.get(_NDA_DST, b""), values.get(_NDA_LLADDR, b""), bool(state & _PERMANENT)


def retarget_neighbour(body: bytes, index: int) -> bytes:
    """The same neighbour for interface `index`; one that was being asked about is to be asked again."""
    family, _, state, flags, kind = _NEIGHBOUR.unpack_from(body)
    if state not in {_REACHABLE, _PERMANENT} and not flags & _PROXY:
        state = _STALE
    kept = [(each, value) for each, value in unpack_attributes(body[_NEIGHBOUR.size :]) if each in _NDA_KEPT]
    return _NEIGHBOUR.pack(family, index, state, flags, kind) + pack_attributes(kept)


def add_neighbour(netlink: Netlink, body: bytes) -> None:
    """Add or replace what `retarget_neighbour` made."""
    netlink.request(Request.NEW_NEIGHBOUR, body, flags=Flag.CREATE | Flag.REPLACE)
