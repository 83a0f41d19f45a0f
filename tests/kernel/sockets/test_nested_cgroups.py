"""Programs on a cgroup and on the one around it, by the kernel and by us: which are asked, in which order, about whose calls."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

import runtime
from netdev.interpose import Supervisor
from tests.kernel.sockets.ours import KINDS, Ours
from tests.kernel.sockets.records import OBJECTS, command, line, record
from tests.kernel.sockets.scenarios import SCENARIOS
from tests.support.cgroups import Cgroup, hooked
from tests.support.wires import Pair, privileged
from xdp.extension import default_registry
from xdp.sockets import Attachments, Parameter, SocketPolicy

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged() or os.geteuid() != 0, reason="needs root: bpf(2), network namespaces"),
]

SCENARIO = next(each for each in SCENARIOS if each.name == "run programs in order")
ON_OUTER, ON_INNER = ("first", "third"), ("second",)


@contextmanager
def _nested() -> Iterator[dict[str, Cgroup]]:
    """A cgroup, and one inside it."""
    with Cgroup() as outer:
        inner = Cgroup()
        inner.folder = outer.folder / "inner"
        inner.folder.mkdir()
        inner.descriptor = os.open(inner.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield {"outer": outer, "inner": inner}
        finally:
            os.close(inner.descriptor)
            for _ in range(200):
                with suppress(OSError):
                    inner.folder.rmdir()
                    break
                threading.Event().wait(0.02)


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    """A client, and a peer that answers."""
    with line() as made:
        yield made


def _by_the_kernel(groups: dict[str, Cgroup], caller: str, words: list[str]) -> list[str]:
    with hooked(OBJECTS / f"{SCENARIO.object}.o") as kernel:
        for row in SCENARIO.maps:
            kernel.update(*row)
        for group, names in (("outer", ON_OUTER), ("inner", ON_INNER)):
            for name in names:
                kernel.attach(groups[group], name, "connect4")
        done = groups[caller].run(words, input=SCENARIO.script, timeout=30)
        assert done.returncode == 0, done.stderr
        return record(SCENARIO, done.stdout, kernel)


def _by_us(groups: dict[str, Cgroup], caller: str, words: list[str], kind: str) -> list[str]:
    loops, engine = KINDS[kind]
    with runtime.load(OBJECTS / f"{SCENARIO.object}.o", registry=default_registry(), engine=engine) as obj:
        maps = Ours(obj)
        for row in SCENARIO.maps:
            maps.update(*row)
        attachments = Attachments()
        for group, names in (("outer", ON_OUTER), ("inner", ON_INNER)):
            for name in names:
                place = Parameter.cgroup_of(groups[group].folder)
                attachments.attach(obj.bare_programs[name], parameter=place)
        with SocketPolicy(attachments, engine=engine) as policy, Supervisor(policy, loops=loops) as supervisor:
            enter = f'echo $$ > {groups[caller].folder}/cgroup.procs; exec "$@"'
            child = supervisor.run(["sh", "-c", enter, "sh", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            told = child.process.communicate(SCENARIO.script.encode(), timeout=30)[0].decode()
            assert child.wait(30) == 0
            assert supervisor.wait_for_all(30)
        return record(SCENARIO, told, maps)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("caller", "asked"), [("inner", "213"), ("outer", "13")])
def test_programs_around_a_cgroup_are_asked_as_by_the_kernel(caller: str, asked: str, kind: str, ends: Pair) -> None:
    """From the inside out; a call from the outer cgroup does not lead to the inner one's program."""
    with _nested() as groups:
        ours = _by_us(groups, caller, command(ends.client), kind)
        kernel = _by_the_kernel(groups, caller, command(ends.client))
    assert ours == kernel
    assert "".join(each.split()[3] for each in kernel if each.startswith("steps")) == asked
