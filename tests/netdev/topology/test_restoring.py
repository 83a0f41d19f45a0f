"""Every change taken back leaves the interface as it was: orderly, in any order, and killed at any step."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdev.errors import InterfaceError
from netdev.topology import (
    Journal,
    block_ingress,
    disable_offloads,
    journals,
    move_host_edge,
    recover,
    set_promisc,
    set_sysctl,
    set_up,
    snapshot,
)
from tests.support.hosts import Kill, attach, in_a_fork, rich_pair, settle, tap
from tests.support.wires import Pair, pair, privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root and iproute2: namespaces")]

CHANGES: dict[str, Callable[[Journal], None]] = {
    "block": lambda journal: block_ingress(journal, "eth0"),
    "promisc": lambda journal: set_promisc(journal, "eth0"),
    "offloads": lambda journal: disable_offloads(
        journal, "eth0", off=("tx-checksumming", "scatter-gather", "tcp-segmentation-offload")
    ),
    "merging": lambda journal: disable_offloads(journal, "eth0"),
    "martians": lambda journal: set_sysctl(journal, "eth0", "net/ipv4/conf", "log_martians", "1"),
    "quiet": lambda journal: set_sysctl(journal, "eth0", "net/ipv6/conf", "accept_ra", "0"),
    "up": lambda journal: set_up(journal, "eth0"),
    "edge": lambda journal: move_host_edge(journal, "eth0", "up0"),
}


@pytest.fixture(scope="module")
def rich() -> Iterator[Pair]:
    """One rich host for all tests of this file: each of them leaves it as it was."""
    with rich_pair() as ends:
        yield ends


def _mac(ends: Pair) -> bytes:
    return ends.host.mac("eth0")


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_taken_back_leaves_nothing(rich: Pair, tmp_path: Path, name: str) -> None:
    """Do and undo of each kind end in an equal snapshot, and the journal is gone."""
    with rich.host.entered():
        fd = tap("up0", _mac(rich))
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        CHANGES[name](journal)
        reversal = journal.revert()
        after = snapshot("eth0")
        os.close(fd)
    assert not reversal.problems
    assert not before.difference(after)
    assert not journals(tmp_path)


def test_the_edge_is_above_while_it_is_moved(rich: Pair, tmp_path: Path) -> None:
    """The upper edge has the addresses, routes, rules and permanent neighbours; the lower has none and is up."""
    host = rich.host
    with host.entered():
        journal = Journal.begin(tmp_path, "eth0")
        routes = len(host.ip("route", "show", "table", "all").splitlines())
        addresses = len(host.ip("-o", "address", "show", "dev", "eth0").splitlines())
        fd = attach(journal, _mac(rich))
        lower, upper = snapshot("eth0"), snapshot("up0")
        tc_said = host.run(["tc", "filter", "show", "dev", "eth0", "ingress"]).stdout
        assert len(host.ip("-o", "address", "show", "dev", "up0").splitlines()) == addresses
        assert len(host.ip("route", "show", "table", "all").splitlines()) == routes + 1  # ff00::/8
        journal.revert()
        os.close(fd)
    assert not [
        line
        for line in lower.lines
        if line.startswith("address") or (line.startswith("route") and "type 5" not in line)
    ]
    assert "direct-action" in tc_said
    assert any("eth0:web".replace("eth0", "up0") in line for line in upper.lines)
    assert sum(line.startswith("rule") for line in upper.lines) == 2
    assert sum(line.startswith("neighbour permanent") for line in upper.lines) == 2
    assert any("sysctl net/ipv4/conf rp_filter = 2" in line for line in upper.lines)
    assert any("172.20.0.0" in line and "via" in line for line in upper.lines)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from([name for name in CHANGES if name != "block"]), max_size=6), block=st.booleans())
def test_any_sequence_is_taken_back(
    rich: Pair, tmp_path_factory: pytest.TempPathFactory, names: list[str], block: bool
) -> None:
    """Changes in any order and number, the edge moved once, end in an equal snapshot."""
    once = list(dict.fromkeys(names)) if "edge" in names else names
    with rich.host.entered():
        fd = tap("up0", _mac(rich))
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path_factory.mktemp("journal"), "eth0")
        for name in [*once, *(["block"] if block else [])]:
            CHANGES[name](journal)
        problems = journal.revert().problems
        after = snapshot("eth0")
        os.close(fd)
    assert not problems
    assert not before.difference(after)


def _steps(ends: Pair, folder: Path) -> int:
    """How many steps attaching and reverting have."""
    with pytest.MonkeyPatch.context() as patch:
        kill = Kill(None)
        kill.install(patch)
        with ends.host.entered():
            journal = Journal.begin(folder, "eth0")
            fd = attach(journal, _mac(ends))
            journal.revert()
            os.close(fd)
    return kill.steps


def test_killed_at_every_step_and_recovered(rich: Pair, tmp_path: Path) -> None:
    """A process killed after each of its system calls that change something leaves what recover restores."""
    mac = _mac(rich)
    total = _steps(rich, tmp_path)
    with rich.host.entered():
        before = snapshot("eth0")

    def live(at: int) -> None:
        patch = pytest.MonkeyPatch()
        Kill(at, after=True).install(patch)
        journal = Journal.begin(tmp_path, "eth0")
        attach(journal, mac)
        journal.revert()

    assert total > 90
    for at in range(1, total + 1):
        assert in_a_fork(lambda at=at: live(at), rich.host.entered()) == 9, at
        with rich.host.entered():
            sentences = recover(tmp_path)
            difference = before.difference(snapshot("eth0"))
        assert not difference, (at, sentences)
        assert not journals(tmp_path), (at, sentences)


def test_killed_while_recovering(rich: Pair, tmp_path: Path) -> None:
    """Recovering that is itself killed at a step is finished by the next one."""
    mac = _mac(rich)
    with rich.host.entered():
        before = snapshot("eth0")

    def die() -> None:
        attach(Journal.begin(tmp_path, "eth0"), mac)
        os.kill(os.getpid(), 9)

    def half(at: int) -> None:
        Kill(at).install(pytest.MonkeyPatch())
        recover(tmp_path)

    at = 1
    while True:
        if not journals(tmp_path):
            assert in_a_fork(die, rich.host.entered()) == 9
        if in_a_fork(lambda at=at: half(at), rich.host.entered()) == 0:
            break
        with rich.host.entered():
            recover(tmp_path)
            assert not before.difference(snapshot("eth0")), at
        at += 3
    with rich.host.entered():
        assert not before.difference(snapshot("eth0"))
    assert at > 30


def test_a_link_that_flapped_is_restored(rich: Pair, tmp_path: Path) -> None:
    """A lower link that went down and up again gets no address by itself, and everything back in the end."""
    host = rich.host
    with host.entered():
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        fd = attach(journal, _mac(rich))
        host.ip("link", "set", "dev", "eth0", "down")
        host.ip("link", "set", "dev", "eth0", "up")
        assert not host.ip("-o", "address", "show", "dev", "eth0")
        assert not journal.revert().problems
        os.close(fd)
        assert not before.difference(snapshot("eth0"))


def test_undoing_twice_changes_nothing(rich: Pair, tmp_path: Path) -> None:
    """An operation undone again, as after a crash between the undoing and its record, leaves the same."""
    with rich.host.entered():
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        fd = attach(journal, _mac(rich))
        operations = journal.operations
        journal.revert()
        for operation in reversed(operations):
            operation.undo()
        os.close(fd)
        assert not before.difference(snapshot("eth0"))


def test_a_full_disk_is_no_reason_not_to_restore(rich: Pair, tmp_path: Path) -> None:
    """What cannot be struck out of the journal is undone all the same, and nothing of the journal stays."""
    with rich.host.entered():
        fd = tap("up0", _mac(rich))
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        for name in ("promisc", "offloads", "edge"):
            CHANGES[name](journal)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            problems = journal.revert().problems
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        after = snapshot("eth0")
        os.close(fd)
    assert not problems
    assert not before.difference(after)
    assert [each.name for each in tmp_path.iterdir()] == [".lock"]


def test_a_change_that_fails_is_taken_back_at_once(rich: Pair, tmp_path: Path) -> None:
    """A refused change raises one line, and neither the interface nor the journal keeps any of it."""
    with rich.host.entered():
        before = snapshot("eth0")
        journal = Journal.begin(tmp_path, "eth0")
        with pytest.raises(InterfaceError, match="accept_local"):
            set_sysctl(journal, "eth0", "net/ipv4/conf", "accept_local", "nonsense")
        assert not journal.operations
        assert not before.difference(snapshot("eth0"))
        journal.revert()


def test_a_renamed_interface_is_found(tmp_path: Path) -> None:
    """An interface that got another name meanwhile is restored under it."""
    with pair() as ends, ends.host.entered():
        settle(ends.host, "eth0")
        addresses = ends.host.ip("-o", "address", "show", "dev", "eth0").count("inet")
        journal = Journal.begin(tmp_path, "eth0")
        fd = attach(journal, ends.host.mac("eth0"))
        ends.host.ip("link", "set", "dev", "eth0", "name", "wan0")
        reversal = journal.revert()
        os.close(fd)
        assert not reversal.problems
        assert "wan0 takes in frames as before" in reversal.restored
        assert ends.host.ip("-o", "address", "show", "dev", "wan0").count("inet") == addresses
        assert "bpf" not in ends.host.run(["tc", "filter", "show", "dev", "wan0", "ingress"]).stdout


def test_an_interface_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    """Nothing is done to another interface of the same name; the journal ends with a sentence."""
    with pair() as ends, ends.host.entered():
        journal = Journal.begin(tmp_path, "eth0")
        fd = attach(journal, ends.host.mac("eth0"))
        ends.host.ip("link", "del", "dev", "eth0")
        ends.host.ip("link", "add", "name", "eth0", "type", "veth", "peer", "name", "x0")
        before = snapshot("eth0")
        reversal = journal.revert()
        os.close(fd)
        assert not before.difference(snapshot("eth0"))
    assert not reversal.problems
    assert len(reversal.restored) == 1
    assert "eth0 (number 2" in reversal.restored[0]
    assert "is gone: there is nothing to restore on it" in reversal.restored[0]
    assert not journals(tmp_path)


def test_the_stack_sees_nothing_and_packet_sockets_everything(tmp_path: Path) -> None:
    """Behind the block nothing answers; after the undoing it does."""
    with pair() as ends, ends.host.entered():
        ends.client.run(["ping", "-c1", "-W2", "10.9.0.2"])
        journal = Journal.begin(tmp_path, "eth0")
        block_ingress(journal, "eth0")
        assert ends.client.run(["ping", "-c1", "-W1", "10.9.0.2"], check=False).returncode
        assert not journal.revert().problems
        ends.client.run(["ping", "-c1", "-W2", "10.9.0.2"])
