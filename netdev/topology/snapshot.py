"""Everything about an interface that a change could leave different, as lines to be compared and printed.

Decoded by pyroute2, while changes and their undoing speak to the kernel in bytes (netlink): two readings of one state.
What changes by itself is left out: counters, ages, the seconds of lifetimes, whether a learnt neighbour is stale.
Not here: repairing what differs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from netdev.errors import InterfaceError
from netdev.topology.links import features, flags

__all__ = ["InterfaceSnapshot", "snapshot"]

_GROUPS: Final = ("net/ipv4/conf", "net/ipv6/conf", "net/ipv4/neigh", "net/ipv6/neigh")
_LINK: Final = ("IFLA_ADDRESS", "IFLA_MTU", "IFLA_TXQLEN", "IFLA_MASTER", "IFLA_GROUP")
_USER_FLAGS: Final = 0x1 | 0x80 | 0x100 | 0x200 | 0x1000  # up, noarp, promiscuous, all multicast, multicast
_ONLINK: Final = 0x4
_FOREVER: Final = 0xFFFFFFFF
_KNOWN: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_PERMANENT: Final = 0x80


@final
@dataclass(frozen=True, slots=True)
class InterfaceSnapshot:
    """Sorted lines, each beginning with what it is about (link, address, route, …)."""

    name: str
    lines: tuple[str, ...]

    def difference(self, later: InterfaceSnapshot) -> str:
        """What `later` lacks ("- …") and what it has too much ("+ …"), a line each; empty when they are equal."""
        before, after = set(self.lines), set(later.lines)
        rows = [*(f"- {line}" for line in before - after), *(f"+ {line}" for line in after - before)]
        return "\n".join(sorted(rows, key=lambda row: (row[2:], row)))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = {key: each for key, each in value.items() if key not in {"header", "attrs"}}
        return "{" + " ".join([*(f"{k}={_value(v)}" for k, v in sorted(inner.items())), *_attributes(value)]) + "}"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_value(each) for each in value) + "]"
    return str(value)


def _attributes(message: Any, leave: Iterable[str] = ()) -> list[str]:
    """The attributes of a message but those to leave out, sorted by name."""
    left = set(leave)
    return [f"{key}={_value(value)}" for key, value in sorted(message.get("attrs", ()), key=str) if key not in left]


def _addresses(ipr: Any, index: int) -> Iterator[str]:
    for message in ipr.get_addr(index=index):
        life = message.get_attr("IFA_CACHEINFO") or {}
        lives = "forever" if life.get("ifa_valid", _FOREVER) == _FOREVER else "for a time"
        used = "preferred" if life.get("ifa_preferred", _FOREVER) else "deprecated"
        head = f"address {message['family']} /{message['prefixlen']} scope {message['scope']} {lives} {used}"
        yield " ".join([head, *_attributes(message, ["IFA_CACHEINFO"])])


def _routes(ipr: Any, index: int) -> Iterator[str]:
    for message in ipr.get_routes():
        hops = message.get_attr("RTA_MULTIPATH") or []
        if message.get_attr("RTA_OIF") != index and all(hop["oif"] != index for hop in hops):
            continue
        expires = (message.get_attr("RTA_CACHEINFO") or {}).get("rta_expires", 0)
        fields = ("family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type")
        head = " ".join(f"{key} {message[key]}" for key in fields)
        flag = f"flags {message['flags'] & _ONLINK}" + (" expires" if expires else "")
        paths = [
            f"via oif={hop['oif']} hops={hop['hops']} flags={hop['flags'] & _ONLINK} {' '.join(_attributes(hop))}"
            for hop in hops
        ]
        yield " ".join(["route", head, flag, *_attributes(message, ["RTA_CACHEINFO", "RTA_MULTIPATH"]), *paths])


def _neighbours(ipr: Any, index: int) -> Iterator[str]:
    for message in ipr.get_neighbours(ifindex=index):
        if message["ifindex"] == index and message["state"] & _KNOWN:
            kind = "permanent" if message["state"] & _PERMANENT else "learnt"
            found = (message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR"))
            yield f"neighbour {kind} {found[0]} {found[1]} flags {message['flags'] & ~0x02}"


def _rules(ipr: Any, name: str) -> Iterator[str]:
    for family in (2, 10):
        for message in ipr.get_rules(family=family):
            if name in {message.get_attr("FRA_IIFNAME"), message.get_attr("FRA_OIFNAME")}:
                head = " ".join(f"{key} {message[key]}" for key in ("family", "dst_len", "src_len", "tos", "action"))
                yield " ".join(["rule", head, *_attributes(message)])


def _tc(ipr: Any, index: int) -> Iterator[str]:
    for message in ipr.get_qdiscs(index=index):
        if message["index"] == index:
            yield f"qdisc {message.get_attr('TCA_KIND')} {message['handle']:x} parent {message['parent']:x}"
            if message.get_attr("TCA_KIND") in {"clsact", "ingress"}:
                for parent in (0xFFFFFFF2, 0xFFFFFFF3):
                    for row in ipr.get_filters(index=index, parent=parent):
                        yield f"filter {row.get_attr('TCA_KIND')} {parent:x} {row['info']:x} {row['handle']:x}"


def _settings(name: str) -> Iterator[str]:
    for group in _GROUPS:
        folder = Path("/proc/sys", group, name)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            try:
                yield f"sysctl {group} {path.name} = {path.read_text(encoding='ascii').strip()}"
            except OSError:
                continue


def _groups(name: str) -> Iterator[str]:
    """Multicast groups, by the kernel's files: igmp (host order in hexadecimal) and igmp6."""
    inside = False
    for line in Path("/proc/thread-self/net/igmp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if not line.startswith("\t"):
            inside = words[1].rstrip(":") == name
        elif inside:
            yield "group " + ".".join(map(str, struct.pack("=I", int(words[0], 16))))
    with Path("/proc/thread-self/net/igmp6").open(encoding="ascii") as rows:
        for row in rows:
            words = row.split()
            if words[1] == name:
                yield f"group {words[2]}"


def snapshot(name: str) -> InterfaceSnapshot:
    """What is to be said of an interface of this thread's namespace; InterfaceError when there is none."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as ipr:
            found = ipr.link_lookup(ifname=name)
            if not found:
                raise InterfaceError(f"there is no interface {name}")
            index = found[0]
            link = next(iter(ipr.get_links(index)))
            lines = [
                f"link {index} {' '.join(f'{key}={link.get_attr(key)}' for key in _LINK)}",
                f"link flags {flags(name) & _USER_FLAGS:x}",
                *_addresses(ipr, index),
                *_routes(ipr, index),
                *_neighbours(ipr, index),
                *_rules(ipr, name),
                *_tc(ipr, index),
            ]
    except NetlinkError as error:
        raise InterfaceError(f"{name} cannot be read: {error}") from None
    lines += _settings(name)
    lines += _groups(name)
    lines += [f"offload {key} {'on' if on else 'off'}" for key, on in features(name).items()]
    return InterfaceSnapshot(name=name, lines=tuple(sorted(lines)))
