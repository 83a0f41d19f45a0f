"""Routes and rules that name an interface, as the kernel's own messages, moved to another interface and back.

All tables, metrics, gateways, on-link and multipath routes; an expiry of IPv6 goes on. Left out: what the kernel makes
by itself of an address or a link (table local), and routes through nexthop objects, which are refused (edge).
Not here: addresses and neighbours.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Final

from netdev.errors import InterfaceError
from netdev.topology.netlink import Flag, Netlink, Request, pack_attributes, unpack_attributes

__all__ = [
    "add_rule",
    "base_key",
    "delete_route",
    "delete_rule",
    "delete_same_base",
    "is_multipath",
    "make_routes",
    "mentions",
    "read_routes",
    "read_rules",
    "redirect_route",
    "redirect_rule",
    "route_key",
    "source",
    "uses_nexthop_object",
]

_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst, src, tos, table, protocol, scope, type, flags
_NEXTHOP: Final = struct.Struct("=HBBi")  # rtnexthop: length, flags, hops, index
_DST, _OIF, _PRIORITY, _PREFSRC, _MULTIPATH, _CACHEINFO, _TABLE, _EXPIRES, _NH_ID = 1, 4, 6, 7, 9, 12, 15, 23, 30
_CLONED: Final = 0x200
_ONLINK: Final = 0x4
_KERNEL: Final = 2
_UNICAST: Final = 1
_LOCAL_TABLE: Final = 255
_TICKS: Final = 100  # USER_HZ

_RULE: Final = struct.Struct("=BBBBBBBBI")  # fib_rule_hdr: family, …, action, flags
_IIFNAME, _OIFNAME = 3, 17
_FAMILIES: Final = frozenset({2, 10})
_DETACHED: Final = 0x8 | 0x10


def _nexthops(value: bytes) -> list[tuple[int, int, int, bytes]]:
    """(flags, hops, interface, attributes) of each nexthop of a multipath route."""
    found = []
    at = 0
    while at + _NEXTHOP.size <= len(value):
        length, flags, hops, index = _NEXTHOP.unpack_from(value, at)
        if length < _NEXTHOP.size:
            break
        found.append((flags, hops, index, value[at + _NEXTHOP.size : at + length]))
        at += (length + 3) & ~3
    return found


def _pack_nexthops(hops: Iterable[tuple[int, int, int, bytes]]) -> bytes:
    return b"".join(
        _NEXTHOP.pack(_NEXTHOP.size + len(rest), flags, weight, index) + rest + bytes(-len(rest) % 4)
        for flags, weight, index, rest in hops
    )


def _plain(body: bytes) -> bytes:
    """The message as one that can be sent: without what the kernel tells of the route's state."""
    *head, flags = _ROUTE.unpack_from(body)
    attributes = []
    for kind, value in unpack_attributes(body[_ROUTE.size :]):
        if kind == _CACHEINFO:
            expires = struct.unpack_from("=i", value, 8)[0]
            if expires > 0:
                attributes.append((_EXPIRES, struct.pack("=I", max(1, expires // _TICKS))))
        elif kind == _MULTIPATH:
            hops = [(state & _ONLINK, *rest) for state, *rest in _nexthops(value)]
            attributes.append((kind, _pack_nexthops(hops)))  # type: ignore[arg-type]
        else:
            attributes.append((kind, value))
    return _ROUTE.pack(*head, flags & _ONLINK) + pack_attributes(attributes)


def read_routes(netlink: Netlink) -> tuple[bytes, ...]:
    """Every IPv4 and IPv6 route but those that the kernel makes in table local, fit to be sent again."""
    found = []
    for message in netlink.dump(Request.GET_ROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, _, _, _, table, protocol, _, _, flags = _ROUTE.unpack_from(message.body)
        made = table == _LOCAL_TABLE and protocol == _KERNEL
        if family in _FAMILIES and not flags & _CLONED and not made:
            found.append(_plain(message.body))
    return tuple(found)


def mentions(body: bytes, index: int) -> bool:
    """Whether a route leaves by interface `index`, alone or among others."""
    values = dict(unpack_attributes(body[_ROUTE.size :]))
    if struct.unpack("=i", values.get(_OIF, bytes(4)))[0] == index:
        return True
    return any(at == index for _, _, at, _ in _nexthops(values.get(_MULTIPATH, b"")))


def is_multipath(body: bytes) -> bool:
    """Whether the route has several nexthops."""
    return any(kind == _MULTIPATH for kind, _ in unpack_attributes(body[_ROUTE.size :]))


def uses_nexthop_object(body: bytes) -> bool:
    """Whether the route goes through an object of `ip nexthop`."""
    return any(kind == _NH_ID for kind, _ in unpack_attributes(body[_ROUTE.size :]))


def source(body: bytes) -> bytes:
    """The preferred source address, or b""."""
    return dict(unpack_attributes(body[_ROUTE.size :])).get(_PREFSRC, b"")


def redirect_route(body: bytes, before: int, after: int, *, elapsed: int = 0) -> bytes | None:
    """The same route with interface `after` wherever it said `before`; None when `elapsed` seconds have ended it."""
    attributes = []
    for kind, found in unpack_attributes(body[_ROUTE.size :]):
        value = found
        if kind == _OIF and struct.unpack("=i", value)[0] == before:
            value = struct.pack("=i", after)
        elif kind == _MULTIPATH:
            hops = _nexthops(value)
            value = _pack_nexthops((f, w, after if at == before else at, rest) for f, w, at, rest in hops)
        elif kind == _EXPIRES:
            seconds = struct.unpack("=I", value)[0] - elapsed
            if seconds <= 0:
                return None
            value = struct.pack("=I", seconds)
        attributes.append((kind, value))
    return body[: _ROUTE.size] + pack_attributes(attributes)


def route_key(body: bytes) -> tuple[bytes, tuple[tuple[int, bytes], ...]]:
    """What makes a route the same: everything, but of its expiry only whether there is one."""
    attributes = unpack_attributes(body[_ROUTE.size :])
    return body[: _ROUTE.size], tuple(sorted((kind, b"" if kind == _EXPIRES else value) for kind, value in attributes))


def base_key(body: bytes) -> tuple[int, int, int, bytes, bytes, bytes]:
    """What the kernel looks routes up by: family, lengths, service, destination, priority and table."""
    family, length, _, tos, table, *_ = _ROUTE.unpack_from(body)
    values = dict(unpack_attributes(body[_ROUTE.size :]))
    number = values.get(_TABLE, struct.pack("=I", table))
    return family, length, tos, values.get(_DST, b""), values.get(_PRIORITY, bytes(4)), number


def delete_route(netlink: Netlink, body: bytes) -> None:
    """Remove a route; one that is not there is no error."""
    gone = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.ENETDOWN, errno.EINVAL)
    netlink.request(Request.DELETE_ROUTE, body, allowed=gone)


def delete_same_base(netlink: Netlink, wanted: bytes) -> None:
    """Remove what stands in the place of a multipath route, if it is not that route."""
    present = [body for body in read_routes(netlink) if base_key(body) == base_key(wanted)]
    if not present or route_key(wanted) in map(route_key, present):
        return
    *head, _ = _ROUTE.unpack_from(wanted)
    kept = [each for each in unpack_attributes(wanted[_ROUTE.size :]) if each[0] in {_DST, _PRIORITY, _TABLE}]
    delete_route(netlink, _ROUTE.pack(*head, 0) + pack_attributes(kept))


def make_routes(netlink: Netlink, index: int, wanted: Iterable[bytes]) -> tuple[str, ...]:
    """Add the routes of `wanted` that are missing; remove those the kernel made for `index` that are not wanted.

    Returns why some could not be added.
    """
    goals = {route_key(body): body for body in wanted}
    present = {route_key(body): body for body in read_routes(netlink)}
    for key, body in present.items():
        _, _, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(body)
        if key not in goals and protocol == _KERNEL and kind == _UNICAST and mentions(body, index):
            delete_route(netlink, body)
    missing = [body for key, body in goals.items() if key not in present]
    problems: list[str] = []
    while missing:  # a gateway is accepted only when the route to it is there, so in as many rounds as needed
        later: list[bytes] = []
        problems = []
        for body in missing:
            try:
                netlink.request(Request.NEW_ROUTE, body, flags=Flag.CREATE | Flag.APPEND, allowed=(errno.EEXIST,))
            except InterfaceError as error:
                later.append(body)
                problems.append(str(error))
        if len(later) == len(missing):
            break
        missing = later
    return tuple(problems)


def read_rules(netlink: Netlink, name: str) -> tuple[bytes, ...]:
    """The policy rules (IPv4, IPv6) that name an interface as their input or output."""
    found = []
    wanted = name.encode() + b"\0"
    for message in netlink.dump(Request.GET_RULE, _RULE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
        attributes = unpack_attributes(message.body[_RULE.size :])
        named = any(kind in {_IIFNAME, _OIFNAME} and value == wanted for kind, value in attributes)
        if message.body[0] in _FAMILIES and named:
            found.append(message.body)
    return tuple(found)


def redirect_rule(body: bytes, before: str, after: str) -> bytes:
    """The same rule with another interface's name."""
    *head, flags = _RULE.unpack_from(body)
    old, new = (name.encode() + b"\0" for name in (before, after))
    attributes = [
        (kind, new if kind in {_IIFNAME, _OIFNAME} and value == old else value)
        for kind, value in unpack_attributes(body[_RULE.size :])
    ]
    return _RULE.pack(*head, flags & ~_DETACHED) + pack_attributes(attributes)


def add_rule(netlink: Netlink, body: bytes) -> None:
    """Add a rule; the same one twice is no error."""
    netlink.request(Request.NEW_RULE, body, flags=Flag.CREATE | Flag.EXCLUSIVE, allowed=(errno.EEXIST,))


def delete_rule(netlink: Netlink, body: bytes) -> None:
    """Remove a rule; one that is not there is no error."""
    netlink.request(Request.DELETE_RULE, body, allowed=(errno.ENOENT, errno.ESRCH))
