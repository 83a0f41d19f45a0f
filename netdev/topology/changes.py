"""The changes by name: each planned from what is there, written to a journal, and done.

Not here: what they are made of (operations, block, edge).
"""

from __future__ import annotations

import shutil

from netdev.topology.block import IngressBlock, NftablesBlock, NoClassifierError
from netdev.topology.edge import HostEdge
from netdev.topology.journal import Journal
from netdev.topology.operations import LinkFlag, Offloads, Sysctl

__all__ = ["block_ingress", "disable_offloads", "move_host_edge", "set_promisc", "set_sysctl", "set_up"]

# What hands a receiver frames that were never on the wire, or takes the tag off those that were.
_MERGING = ("generic-receive-offload", "large-receive-offload")


def block_ingress(journal: Journal, name: str) -> None:
    """Keep every frame that comes in at `name` from the host's stack; packet sockets go on seeing them.

    By tc's cls_bpf, or by nftables where the kernel has none. InterfaceError when neither can.
    """
    try:
        journal.perform(IngressBlock.plan(name))
    except NoClassifierError:
        if shutil.which("nft") is None:
            raise
        journal.perform(NftablesBlock.plan(name))


def set_promisc(journal: Journal, name: str) -> None:
    """Take in frames for other stations too."""
    journal.perform(LinkFlag.promiscuous(name))


def set_up(journal: Journal, name: str, *, up: bool = True) -> None:
    """Set the link up (or down: IPv6 addresses and routes of a link that goes down are not brought back)."""
    journal.perform(LinkFlag.up(name, value=up))


def set_sysctl(journal: Journal, name: str, group: str, key: str, value: str) -> None:
    """Set an interface's `key` in `group`, one of net/ipv4/conf, net/ipv6/conf, net/ipv4/neigh, net/ipv6/neigh."""
    journal.perform(Sysctl.plan(name, group, key, value))


def disable_offloads(journal: Journal, name: str, *, off: tuple[str, ...] = _MERGING) -> None:
    """Switch offloads off (ethtool's long names, `FEATURES`); those the device does not have are left out."""
    journal.perform(Offloads.plan(name, off))


def move_host_edge(journal: Journal, lower: str, upper: str) -> None:
    """Move the host's addresses and routes from `lower` to `upper`; neighbours, rules and settings are copied.

    `upper` has the MAC and MTU of `lower` and is nobody else's: addresses that it has are removed. Block the ingress
    of `lower` first, or it goes on answering for the host.
    """
    journal.perform(HostEdge.plan(lower, upper))
