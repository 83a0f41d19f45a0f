"""A host with everything that an interface's edge can have, an upper edge for it, and processes that die on the way.

Not here: the namespaces (wires).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pkgutil
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from netdev.topology import Journal, block_ingress, disable_offloads, move_host_edge, set_promisc, set_sysctl
from tests.support.wires import Namespace, Pair, pair, wire

__all__ = ["Kill", "attach", "in_a_fork", "rich_pair", "settle", "tap"]

_TUNSETIFF = 0x400454CA
_SIOCSIFHWADDR = 0x8924


def tap(name: str, mac: bytes) -> int:
    """The descriptor of a new TAP with this hardware address; the TAP goes when it is closed."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFHWADDR, struct.pack("16sH6s16x", name.encode(), 1, mac))
    return fd


def settle(namespace: Namespace, interface: str) -> None:
    """Wait until IPv6 has made its link-local address, so that two snapshots can be compared."""
    for _ in range(200):
        text = namespace.ip("-6", "address", "show", "dev", interface)
        if "fe80::" in text and "tentative" not in text:
            return
        time.sleep(0.01)
    raise AssertionError(f"{interface} has no link-local address")


_COMMANDS = """
address add 10.9.0.7/24 dev eth0
address add 10.9.0.8/24 dev eth0 label eth0:web
address add 192.0.2.1/32 dev eth0 noprefixroute
address add 198.51.100.1 peer 198.51.100.2/32 dev eth0 metric 77
address add 203.0.113.5/24 broadcast 203.0.113.255 dev eth0 valid_lft 3600 preferred_lft 1800 scope site
-6 address add fd09::7/64 dev eth0 nodad valid_lft 7200 preferred_lft 3600
-6 address add fd0a::1/64 dev eth0 noprefixroute nodad
-6 address add fd0b::1/128 dev eth0 preferred_lft 0 nodad
route add default via 10.9.0.1 metric 50
route add default via 10.9.0.9 metric 60 src 10.9.0.7 mtu 1400 advmss 1300
route add 172.16.0.0/16 via 10.9.0.1 proto static initcwnd 20
route add 172.17.0.0/16 dev eth0 scope link
route add 172.18.0.0/16 via 192.168.77.1 dev eth0 onlink
route add 172.19.0.0/16 tos 0x10 via 10.9.0.1
route add 172.20.0.0/16 nexthop via 10.9.0.1 weight 3 nexthop via 10.8.0.1 weight 2
route add 172.21.0.0/16 dev other0 src 10.9.0.7
route add local 172.22.0.1 dev eth0
route add 172.23.0.0/16 via inet6 fd09::1 dev eth0
route add default via 10.9.0.1 table 100
route add 172.24.0.0/16 via 10.9.0.1 table 1000
-6 route add default via fd09::1 metric 1024
-6 route add fd10::/64 via fe80::1 dev eth0 proto ra expires 3600
-6 route add fd11::/64 via fd09::1 table 100 metric 5
-6 route add fd12::/64 nexthop via fd09::1 nexthop via fd08::9 weight 4
-6 route add fd13::/64 dev eth0 src fd09::7
rule add iif eth0 table 100 priority 1000
-6 rule add oif eth0 table 100 priority 1001
neighbour add 10.9.0.50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent
neighbour add 10.9.0.51 lladdr 02:00:00:00:00:51 dev eth0 nud stale
-6 neighbour add fd09::50 lladdr 02:00:00:00:00:50 dev eth0 nud permanent
neighbour add proxy 10.9.0.60 dev eth0
"""


@contextlib.contextmanager
def rich_pair() -> Iterator[Pair]:
    """A pair whose host has what there is in addresses, routes, rules, neighbours and settings."""
    with pair() as ends:
        host = ends.host
        wire(host, "other0", host, "other1")
        host.address("other0", "10.8.0.2/24", "fd08::2/64")
        host.sysctl("net.ipv4.conf.eth0.rp_filter", 2)
        host.sysctl("net.ipv4.conf.eth0.forwarding", 1)
        host.sysctl("net.ipv4.neigh.eth0.base_reachable_time_ms", 40000)
        for interface in ("eth0", "other0"):
            settle(host, interface)
        for line in _COMMANDS.strip().splitlines():
            host.ip(*line.split())
        yield ends


def attach(journal: Journal, mac: bytes, upper: str = "up0") -> int:
    """What host mode does to the interface eth0 of this thread's namespace; returns the TAP's descriptor."""
    fd = tap(upper, mac)
    block_ingress(journal, "eth0")
    set_promisc(journal, "eth0")
    disable_offloads(journal, "eth0", off=("tx-checksumming", "generic-receive-offload"))
    set_sysctl(journal, "eth0", "net/ipv4/conf", "log_martians", "1")
    move_host_edge(journal, "eth0", upper)
    return fd


class Kill:
    """Counts the steps in which a change reaches the kernel or a file; kills its own process at one of them.

    An fsync is no step: what a killed process wrote is in the kernel's cache with or without it.
    """

    def __init__(self, at: int | None, *, after: bool = False) -> None:
        self.steps = 0
        self._at = at
        self._after = after

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self.steps += 1
            here = self.steps == self._at
            if here and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **options)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wrap every function by which the package writes."""
        for name in (
            "netlink.Netlink.request",
            "journal.Path.replace",
            "journal.Path.unlink",
            "links.fcntl.ioctl",
            "operations.Path.write_text",
        ):
            target = f"netdev.topology.{name}"
            module, _, attribute = target.rpartition(".")
            owner = pkgutil.resolve_name(_colon(module))
            monkeypatch.setattr(owner, attribute, self._wrap(getattr(owner, attribute)))


def _colon(name: str) -> str:
    """netdev.topology.links.fcntl → netdev.topology.links:fcntl, as pkgutil wants it."""
    words = name.split(".")
    return ".".join(words[:3]) + ":" + ".".join(words[3:])


def in_a_fork(work: Callable[[], object], inside: AbstractContextManager[None] | None = None) -> int:
    """Run `work` in a forked process; returns the signal that ended it, or 0."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with inside or contextlib.nullcontext():
                work()
            status = 0
        except BaseException as error:  # noqa: BLE001 - a fork must not come back into the test
            Path(f"/tmp/fork-{os.getpid()}.txt").write_text(repr(error))
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    note = Path(f"/tmp/fork-{pid}.txt")
    if os.WEXITSTATUS(status):
        text = note.read_text()
        note.unlink()
        raise AssertionError(text)
    return 0
