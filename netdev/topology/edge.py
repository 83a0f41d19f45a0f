"""The host's edge, moved from a lower interface to an upper one (a TAP of the same address and MTU) and back.

Addresses and routes go over; neighbours, rules and settings are copied, so that the lower interface keeps its own. It
stays up without addresses, and gets no new ones by itself. Undoing needs the lower interface only: the upper one, a
TAP that lives with its process, may be gone.
Refused: ports of a bridge or bond, an interface that carries others (VLAN, macvlan), which the ingress block would cut
off, and routes through nexthop objects. Not moved: sockets bound to the lower interface's name. Groups that sockets joined on the lower interface stay there; `hold_groups` (groups) joins them on the upper one.
Not here: the ingress block, without which the lower interface would still take part.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

from netdev.errors import InterfaceError
from netdev.topology.addresses import (
    add_address,
    add_neighbour,
    address_key,
    delete_address,
    is_link_local,
    neighbour_key,
    read_addresses,
    read_neighbours,
    retarget_address,
    retarget_neighbour,
    skips_detection,
)
from netdev.topology.links import Link, LinkGoneError, find_link, flags, present, refuse_entangled, set_flags
from netdev.topology.netlink import Netlink
from netdev.topology.operations import read_sysctl, write_sysctl
from netdev.topology.routes import (
    add_rule,
    delete_route,
    delete_rule,
    delete_same_base,
    is_multipath,
    make_routes,
    mentions,
    read_routes,
    read_rules,
    redirect_route,
    redirect_rule,
    source,
    uses_nexthop_object,
)

__all__ = ["HostEdge"]

_UP: Final = 0x1
_GROUPS: Final = ("net/ipv4/conf", "net/ipv6/conf", "net/ipv4/neigh", "net/ipv6/neigh")
_V6: Final = "net/ipv6/conf"
_MODE: Final = "addr_gen_mode"
_NO_ADDRESSES: Final = "1"
# addr_gen_mode: the upper one makes no address of its own; mtu: of the device; the others are identities or secrets
_NOT_COPIED: Final = frozenset({_MODE, "ioam6_id", "ioam6_id_wide", "mtu", "stable_secret"})


def _now() -> int:
    """Seconds since the machine's start, sleep included, as address lifetimes count."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


def _mode(name: str) -> str:
    """How an interface makes its link-local address; empty without IPv6."""
    try:
        return read_sysctl(_V6, name, _MODE)
    except InterfaceError:
        return ""


def _copy_settings(lower: str, upper: str) -> None:
    """Give the upper interface the lower one's settings; what cannot be read or written stays as it is."""
    for group in _GROUPS:
        folder = Path("/proc/sys", group, lower)
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name not in _NOT_COPIED:
                with contextlib.suppress(InterfaceError):
                    value = read_sysctl(group, lower, path.name)
                    if read_sysctl(group, upper, path.name) != value:
                        write_sysctl(group, upper, path.name, value)


@contextlib.contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """One step of undoing, whose failure does not hold up the next."""
    try:
        yield
    except InterfaceError as error:
        problems.append(str(error))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HostEdge:
    """What `lower` had at `clock` (seconds since the machine's start), as messages in hexadecimal; `up`: its link.

    `others` are routes by other interfaces whose source address is one of `addresses`: the kernel drops them with it.
    """

    lower: Link
    upper: Link
    clock: int
    up: bool
    mode: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    others: tuple[str, ...]
    neighbours: tuple[str, ...]
    proxies: tuple[str, ...]
    rules: tuple[str, ...]

    @classmethod
    def plan(cls, lower: str, upper: str) -> Self:
        """Take down what `lower` has; InterfaceError when it cannot be moved to `upper`."""
        below, above = find_link(lower), find_link(upper)
        if below.index == above.index:
            raise InterfaceError(f"{lower} cannot be its own upper edge")
        refuse_entangled(lower)
        with Netlink() as netlink:
            addresses = read_addresses(netlink, below.index)
            sources = {address_key(body)[2] for body in addresses}
            every = read_routes(netlink)
            routes = [body for body in every if mentions(body, below.index)]
            if any(map(uses_nexthop_object, routes)):
                raise InterfaceError(f"{lower} has routes through nexthop objects (ip nexthop), which cannot be moved")
            others = [body for body in every if source(body) in sources and not mentions(body, below.index)]
            return cls(
                lower=below,
                upper=above,
                clock=_now(),
                up=bool(flags(lower) & _UP),
                mode=_mode(lower),
                addresses=tuple(body.hex() for body in addresses),
                routes=tuple(body.hex() for body in routes),
                others=tuple(body.hex() for body in others),
                neighbours=tuple(body.hex() for body in read_neighbours(netlink, below.index)),
                proxies=tuple(body.hex() for body in read_neighbours(netlink, below.index, proxies=True)),
                rules=tuple(body.hex() for body in read_rules(netlink, lower)),
            )

    def do(self) -> None:
        """Move: the upper one has the addresses before the lower one loses them, and the routes at once after."""
        lower, upper = present(self.lower), present(self.upper)
        elapsed = _now() - self.clock
        with Netlink() as netlink:
            if self.mode:
                write_sysctl(_V6, upper.name, _MODE, _NO_ADDRESSES)
            for body in read_addresses(netlink, upper.index):
                delete_address(netlink, body, upper.index)
            _copy_settings(lower.name, upper.name)
            set_flags(upper.name, _UP, _UP)
            if self.mode:
                write_sysctl(_V6, lower.name, _MODE, _NO_ADDRESSES)
            for body in map(bytes.fromhex, self.addresses):
                label = (self.lower.name, upper.name)
                moved = retarget_address(body, upper.index, label=label, elapsed=elapsed)
                if moved is not None:
                    add_address(netlink, moved)
            routes = tuple(map(bytes.fromhex, self.routes))
            self._leave(netlink, lower.index)
            moved_routes = [redirect_route(body, lower.index, upper.index, elapsed=elapsed) for body in routes]
            problems = make_routes(netlink, upper.index, [body for body in moved_routes if body is not None])
            for body in map(bytes.fromhex, self.neighbours + self.proxies):
                with contextlib.suppress(InterfaceError):  # the upper one can learn it anew
                    add_neighbour(netlink, retarget_neighbour(body, upper.index))
            for body in map(bytes.fromhex, self.rules):
                add_rule(netlink, redirect_rule(body, self.lower.name, upper.name))
        if problems:
            raise InterfaceError(f"{len(problems)} routes of {lower.name} cannot be moved: {problems[0]}")

    def _leave(self, netlink: Netlink, index: int) -> None:
        """Take routes and addresses from the lower interface; secondary addresses before their primaries."""
        for body in map(bytes.fromhex, self.routes):
            delete_route(netlink, body)
        for text in reversed(self.addresses):
            delete_address(netlink, bytes.fromhex(text), index)

    def undo(self) -> str:
        """Give the lower interface back what it had, then take it from the upper one if that is still there."""
        problems: list[str] = []
        with Netlink() as netlink:
            for body in map(bytes.fromhex, self.rules):
                with _collected(problems):
                    delete_rule(netlink, redirect_rule(body, self.lower.name, self.upper.name))
            try:
                lower = present(self.lower)
            except LinkGoneError:
                self._clear_upper(netlink, [])
                raise
            up = bool(flags(lower.name) & _UP)
            self._return_addresses(netlink, lower.index, problems)
            self._clear_upper(netlink, problems)
            if up:
                self._return_routes(netlink, lower.index, problems)
            self._return_neighbours(netlink, lower.index, problems)
            with _collected(problems):
                # last, as the kernel would make the link-local address anew, with duplicate address detection
                if self.mode and _mode(lower.name) != self.mode:
                    write_sysctl(_V6, lower.name, _MODE, self.mode)
                if up == self.up:
                    self._drop_new(netlink, lower.index)
        if problems:
            raise InterfaceError(f"{lower.name}: {'; '.join(dict.fromkeys(problems))}")
        without = "" if up else ", but for its routes: it is down"
        return f"{lower.name} has its addresses, routes and neighbours as before{without}"

    def _return_addresses(self, netlink: Netlink, index: int, problems: list[str]) -> None:
        elapsed = _now() - self.clock
        there = {address_key(body): body for body in read_addresses(netlink, index)}
        for body in map(bytes.fromhex, self.addresses):
            moved = retarget_address(body, index, elapsed=elapsed)
            if moved is not None and skips_detection(there.get(address_key(body))) != skips_detection(body):
                with _collected(problems):
                    add_address(netlink, moved)

    def _drop_new(self, netlink: Netlink, index: int) -> None:
        """Remove the link-local address that the kernel makes as its way of making them is set back."""
        known = {address_key(bytes.fromhex(text)) for text in self.addresses}
        for body in read_addresses(netlink, index):
            if is_link_local(body) and address_key(body) not in known:
                delete_address(netlink, body, index)

    def _clear_upper(self, netlink: Netlink, problems: list[str]) -> None:
        """Nothing of the host stays on the upper interface; it may be gone, and then the kernel did this."""
        for body in map(bytes.fromhex, self.routes):
            if is_multipath(body):
                with _collected(problems):
                    delete_same_base(netlink, body)
        try:
            upper = present(self.upper)
        except LinkGoneError:
            return
        with _collected(problems):
            for body in read_routes(netlink):
                if mentions(body, upper.index):
                    delete_route(netlink, body)
            for body in reversed(read_addresses(netlink, upper.index)):
                delete_address(netlink, body, upper.index)

    def _return_routes(self, netlink: Netlink, index: int, problems: list[str]) -> None:
        elapsed = _now() - self.clock
        wanted = [redirect_route(bytes.fromhex(text), 0, 0, elapsed=elapsed) for text in self.routes + self.others]
        with _collected(problems):
            problems += make_routes(netlink, index, [body for body in wanted if body is not None])

    def _return_neighbours(self, netlink: Netlink, index: int, problems: list[str]) -> None:
        present_now = {neighbour_key(body) for body in read_neighbours(netlink, index)}
        for body in map(bytes.fromhex, self.neighbours):
            if neighbour_key(body) not in present_now:
                with _collected(problems):
                    add_neighbour(netlink, retarget_neighbour(body, index))
