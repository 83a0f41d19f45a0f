"""The guard restores when its keeper dies; recover does when both did; neither touches what a living process holds."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netdev.errors import InterfaceError
from netdev.topology import (
    Journal,
    block_ingress,
    find_link,
    journals,
    recover,
    set_promisc,
    set_up,
    snapshot,
    start_guard,
)
from tests.support.commands import environment
from tests.support.hosts import attach, in_a_fork, settle
from tests.support.wires import Namespace, Pair, pair, privileged

as_root = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root and iproute2: namespaces")]


@pytest.fixture
def ends() -> Iterator[Pair]:
    """A pair whose host has settled."""
    with pair() as made:
        settle(made.host, "eth0")
        yield made


def _until(condition: Callable[[], bool]) -> bool:
    for _ in range(3000):
        if condition():
            return True
        time.sleep(0.01)
    return False


def _keep(folder: Path, mac: bytes) -> None:
    """Be a keeper that dies by kill -9; the guard's number is left in the folder."""
    journal = Journal.begin(folder, "eth0")
    guard = start_guard(folder, "eth0", os.getpid())
    (folder / "guard.pid").write_text(str(guard.pid))
    attach(journal, mac)
    os.kill(os.getpid(), signal.SIGKILL)


class TestGuard:
    """In a namespace."""

    pytestmark = as_root

    def test_a_killed_keeper_is_cleaned_up_after(self, ends: Pair, tmp_path: Path) -> None:
        """When the keeper is killed its guard restores the interface and says so in the log."""
        mac = ends.host.mac("eth0")
        with ends.host.entered():
            before = snapshot("eth0")
        assert in_a_fork(lambda: _keep(tmp_path, mac), ends.host.entered()) == 9
        assert _until(lambda: not journals(tmp_path))
        with ends.host.entered():
            assert not before.difference(snapshot("eth0"))
        assert _until(lambda: "routes and neighbours as before" in _log(tmp_path))
        assert "not restored" not in _log(tmp_path)

    def test_both_killed_and_recovered(self, ends: Pair, tmp_path: Path) -> None:
        """When guard and keeper are killed recover restores, here from outside the namespace."""
        mac = ends.host.mac("eth0")

        def both() -> None:
            journal = Journal.begin(tmp_path, "eth0")
            guard = start_guard(tmp_path, "eth0", os.getpid())
            attach(journal, mac)
            os.kill(guard.pid, signal.SIGKILL)
            guard.process.wait()
            os.kill(os.getpid(), signal.SIGKILL)

        with ends.host.entered():
            before = snapshot("eth0")
        assert in_a_fork(both, ends.host.entered()) == 9
        assert journals(tmp_path) == ("eth0",)
        sentences = recover(tmp_path)
        with ends.host.entered():
            assert not before.difference(snapshot("eth0"))
        assert "eth0: eth0 has its addresses, routes and neighbours as before" in sentences
        assert not journals(tmp_path)

    def test_polite_signals_do_not_end_it(self, ends: Pair, tmp_path: Path) -> None:
        """A terminal's and a service manager's signals leave the guard watching; reverting lets it go."""
        with ends.host.entered():
            journal = Journal.begin(tmp_path, "eth0")
            guard = start_guard(tmp_path, "eth0", os.getpid())
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(guard.pid, each)
            time.sleep(0.1)
            assert guard.alive()
            block_ingress(journal, "eth0")
            journal.revert()
            guard.release()
        assert guard.process.returncode == 0
        assert not _log(tmp_path)

    def test_a_guard_can_be_replaced(self, ends: Pair, tmp_path: Path) -> None:
        """A guard that was killed is seen to be dead, and a new one takes over."""
        with ends.host.entered():
            journal = Journal.begin(tmp_path, "eth0")
            first = start_guard(tmp_path, "eth0", os.getpid())
            os.kill(first.pid, signal.SIGKILL)
            assert _until(lambda: not first.alive())
            second = start_guard(tmp_path, "eth0", os.getpid())
            assert second.alive()
            journal.revert()
            second.release()

    def test_a_living_keeper_is_left_alone(self, ends: Pair, tmp_path: Path) -> None:
        """Recover does nothing about a journal whose process lives."""
        with ends.host.entered():
            journal = Journal.begin(tmp_path, "eth0")
            block_ingress(journal, "eth0")
            during = snapshot("eth0")
            assert recover(tmp_path) == []
            assert not during.difference(snapshot("eth0"))
            journal.revert()

    def test_a_namespace_that_is_gone(self, tmp_path: Path) -> None:
        """A journal of a namespace that is no more ends with a sentence."""

        def die() -> None:
            block_ingress(Journal.begin(tmp_path, "lo"), "lo")
            os.kill(os.getpid(), signal.SIGKILL)

        with Namespace() as namespace:
            assert in_a_fork(die, namespace.entered()) == 9
        assert _until(lambda: _recovered_as_gone(tmp_path))

    def test_another_start_of_the_machine(self, ends: Pair, tmp_path: Path) -> None:
        """After a power cut nothing is undone to the interfaces of the new start; the journal ends with a sentence."""
        with ends.host.entered():
            journal = Journal.begin(tmp_path, "eth0")
            block_ingress(journal, "eth0")
            said = json.loads(journal.path.read_text())
            journal.path.write_text(json.dumps({**said, "boot": "another"}))
            during = snapshot("eth0")
            sentences = recover(tmp_path)
            assert not during.difference(snapshot("eth0"))
        assert sentences == ["eth0: the machine was started anew since, nothing of it is left to restore"]
        assert not journals(tmp_path)

    def test_another_namespace_is_refused(self, ends: Pair, tmp_path: Path) -> None:
        """A thread in another namespace can neither change nor revert by the journal."""
        journal = Journal.begin(tmp_path, "eth0")
        with ends.host.entered():
            with pytest.raises(InterfaceError, match="another network namespace"):
                set_up(journal, "eth0")
            with pytest.raises(InterfaceError, match="another network namespace"):
                journal.revert()


def _recovered_as_gone(folder: Path) -> bool:
    """Whether recover found no namespace; the kernel removes one a little after its name."""
    return recover(folder) == ["lo: its network namespace is gone, nothing of it is left to restore"]


def _log(folder: Path) -> str:
    path = folder / "guard.log"
    return path.read_text() if path.exists() else ""


def test_a_second_journal_of_a_name_is_refused(tmp_path: Path) -> None:
    """What one journal holds must be restored before another begins."""
    Journal.begin(tmp_path, "eth0")
    with pytest.raises(InterfaceError, match="net repair"):
        Journal.begin(tmp_path, "eth0")


@pytest.mark.parametrize("name", ["", "../x", ".x", "a/b", "x" * 101])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    """A journal's name cannot leave its folder."""
    with pytest.raises(InterfaceError, match="cannot be the name"):
        Journal.begin(tmp_path, name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"version": 9}', '{"version": 1, "pid": "x"}'])
def test_a_damaged_journal_is_one_sentence(tmp_path: Path, text: str) -> None:
    """A file that is no journal is named, kept, and does not hold up the others."""
    (tmp_path / "eth0.journal").write_text(text)
    sentences = recover(tmp_path)
    assert len(sentences) == 1
    assert "eth0.journal is" in sentences[0]
    assert journals(tmp_path) == ("eth0",)


def test_an_unknown_interface_is_one_sentence() -> None:
    """A name that is not there is answered with those that are."""
    with pytest.raises(InterfaceError, match="there is no interface nowhere0; there are lo"):
        find_link("nowhere0")


def _drop_capabilities() -> None:
    """Be root by number only, as in a container that was given nothing (capset, version 3)."""
    header = struct.pack("=Ii", 0x20080522, 0)
    assert ctypes.CDLL(None).capset(header, bytes(24)) == 0


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root to give capabilities up")
def test_without_capabilities_there_is_one_line(tmp_path: Path) -> None:
    """Without the capability each change is refused by one clear line, and nothing stays in the journal."""

    def work() -> None:
        _drop_capabilities()
        journal = Journal.begin(tmp_path, "lo")
        for change in (block_ingress, set_promisc):
            with pytest.raises(InterfaceError, match=r"changing interfaces needs CAP_NET_ADMIN.*: run as root"):
                change(journal, "lo")
        assert not journal.operations

    assert in_a_fork(work) == 0


def test_nothing_heavy_is_imported() -> None:
    """The guard's imports are the standard library's: it starts fast and stays small."""
    code = "import sys, netdev.topology.guard as g; print({'numpy', 'pyroute2', 'rich', 'asyncio'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.strip() == "set()"
