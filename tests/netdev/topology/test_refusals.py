"""Hosts that are unlike the usual one: restored all the same, or refused by one line before anything changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netdev.errors import InterfaceError
from netdev.topology import Journal, block_ingress, move_host_edge, snapshot
from tests.support.hosts import attach, settle, tap
from tests.support.wires import Pair, pair, privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root and iproute2: namespaces")]

HOSTS = {
    "no IPv6": ["sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1"],
    "no addresses": ["ip address flush dev eth0"],
    "no link-local address": [
        "sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=1",
        "ip -6 address flush dev eth0 scope link",
    ],
    "down": ["ip link set dev eth0 down"],
    "secondaries move up": [
        "sysctl -qw net.ipv4.conf.eth0.promote_secondaries=1",
        "ip address add 10.9.0.3/24 dev eth0",
        "ip address add 10.9.0.4/24 dev eth0",
    ],
    "a deleted prefix route": ["ip route del 10.9.0.0/24 dev eth0"],
    "filters of its own": [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress pref 7 protocol ip u32 match u32 0 0 flowid 1:1",
    ],
    "an ingress qdisc": ["tc qdisc add dev eth0 ingress"],
    "promiscuous": ["ip link set dev eth0 promisc on"],
    "jumbo frames": ["ip link set dev eth0 mtu 9000"],
}

REFUSED = {
    "a filter that is first": (
        [
            "tc qdisc add dev eth0 clsact",
            "tc filter add dev eth0 ingress pref 1 protocol ip u32 match u32 0 0 flowid 1:1",
        ],
        "tc ingress filter of priority 1",
    ),
    "a bridge's port": (
        ["ip link add name br0 type bridge", "ip link set dev eth0 master br0"],
        "eth0 is a port of another interface",
    ),
    "a VLAN above it": (
        ["ip link add link eth0 name eth0.5 type vlan id 5"],
        r"eth0 carries eth0\.5 \(vlan\)",
    ),
    "nexthop objects": (
        ["ip nexthop add id 5 via 10.9.0.1 dev eth0", "ip route add 172.16.0.0/16 nhid 5"],
        "nexthop objects",
    ),
}


def _prepare(ends: Pair, commands: list[str]) -> None:
    settle(ends.host, "eth0")
    for command in commands:
        done = ends.host.run(command.split(), check=False)
        if "Unknown device type" in done.stderr or "not found" in done.stderr:
            pytest.skip(f"no such device here: {command}")
        assert not done.returncode, done.stderr


def _attach(journal: Journal, *, block: bool) -> None:
    if block:
        block_ingress(journal, "eth0")
    else:
        move_host_edge(journal, "eth0", "up0")


@pytest.mark.parametrize("commands", HOSTS.values(), ids=HOSTS)
def test_an_unusual_host_is_restored(tmp_path: Path, commands: list[str]) -> None:
    """Attaching and taking back end in an equal snapshot."""
    with pair() as ends, ends.host.entered():
        _prepare(ends, commands)
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        fd = attach(journal, ends.host.mac("eth0"))
        reversal = journal.revert()
        os.close(fd)
        assert not before.difference(snapshot("eth0"))
        assert not reversal.problems


@pytest.mark.parametrize(("commands", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_moved_is_refused(tmp_path: Path, commands: list[str], sentence: str) -> None:
    """One line says why, and nothing was changed or written."""
    with pair() as ends, ends.host.entered():
        _prepare(ends, commands)
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        fd = tap("up0", ends.host.mac("eth0"))
        with pytest.raises(InterfaceError, match=sentence):
            _attach(journal, block="filter" in sentence)
        os.close(fd)
        assert not journal.operations
        assert not before.difference(snapshot("eth0"))
