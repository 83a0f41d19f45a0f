"""Changes of interfaces, addresses and routes that are always taken back.

    journal = Journal.begin(folder, "eth0")
    guard = start_guard(folder, "eth0", os.getpid())
    block_ingress(journal, "eth0")
    move_host_edge(journal, "eth0", tap)
    ...
    journal.revert()
    guard.release()

Every change is on disk with its inverse before it is made. It is taken back by `revert`, by the guard when the process
dies, and by `recover` when both did. All of it is about the network namespace of the calling thread.
Not here: frames (backends).
"""

from netdev.topology.changes import (
    block_ingress,
    disable_offloads,
    move_host_edge,
    set_promisc,
    set_sysctl,
    set_up,
)
from netdev.topology.groups import HeldGroups, hold_groups
from netdev.topology.guarding import Guard, start_guard
from netdev.topology.journal import Journal, Reversal, journals, recover
from netdev.topology.links import Link, LinkGoneError, features, find_link, link_by_index, links, namespace_inode
from netdev.topology.namespaces import inside
from netdev.topology.processes import boot, start_time
from netdev.topology.snapshot import InterfaceSnapshot, snapshot

__all__ = [
    "Guard",
    "HeldGroups",
    "InterfaceSnapshot",
    "Journal",
    "Link",
    "LinkGoneError",
    "Reversal",
    "block_ingress",
    "boot",
    "disable_offloads",
    "features",
    "find_link",
    "hold_groups",
    "inside",
    "journals",
    "link_by_index",
    "links",
    "move_host_edge",
    "namespace_inode",
    "recover",
    "set_promisc",
    "set_sysctl",
    "set_up",
    "snapshot",
    "start_guard",
    "start_time",
]
