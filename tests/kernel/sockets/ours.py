"""Runs a scenario under our supervisor, with the same objects as the kernel's.

Not here: the kernel's side (records.py), and what is compared with what.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import runtime
from netdev.interpose import REFERENCE, Child, InterposeLoops, Supervisor
from tests.kernel.sockets.records import OBJECTS, command, record
from tests.kernel.sockets.scenarios import Scenario
from tests.support.wires import Namespace
from xdp.extension import default_registry
from xdp.natives import INTERPOSE
from xdp.sockets import Attachments, Rules, SocketPolicy

__all__ = ["KINDS", "Ours", "under_supervision"]

_SECONDS = 30
KINDS: dict[str, tuple[InterposeLoops, str]] = {
    "native": (INTERPOSE, "jit"),
    "python": (REFERENCE, "jit"),
    "interpreted": (REFERENCE, "interpreter"),
}
"""Loops over calls and engines of programs."""


class Ours:
    """The maps of an object of ours: records.Maps."""

    def __init__(self, obj: runtime.LoadedObject) -> None:
        self._maps = obj.maps

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Store an element."""
        self._maps[name].update(key, value)

    def rows(self, name: str) -> dict[bytes, bytes]:
        """Keys and values."""
        return dict(self._maps[name].items())


@contextmanager
def _supervised(scenario: Scenario, kind: str, rules: Rules) -> Iterator[tuple[Supervisor, Ours]]:
    loops, engine = KINDS[kind]
    with ExitStack() as stack:
        path = OBJECTS / f"{scenario.object}.o"
        obj = stack.enter_context(runtime.load(path, registry=default_registry(), engine=engine))
        maps = Ours(obj)
        for row in scenario.maps:
            maps.update(*row)
        attachments = Attachments(rules=rules)
        for words in scenario.attach:
            attachments.attach(obj.bare_programs[words.partition(":")[0]])
        policy = stack.enter_context(SocketPolicy(attachments, engine=engine))
        yield stack.enter_context(Supervisor(policy, loops=loops)), maps


def under_supervision(scenario: Scenario, client: Namespace, kind: str, *, rules: Rules = Rules.LINUX) -> list[str]:
    """The record of a scenario under one of KINDS."""
    with (
        _supervised(scenario, kind, rules) as (supervisor, maps),
        tempfile.TemporaryFile("w+") as script,
        tempfile.TemporaryFile("w+") as told,
        tempfile.TemporaryFile("w+") as complaints,
    ):
        script.write(scenario.script)
        script.seek(0)
        child: Child = supervisor.run(command(client), stdin=script, stdout=told, stderr=complaints)
        code = child.wait(_SECONDS)
        complaints.seek(0)
        assert code == 0, complaints.read()
        assert supervisor.wait_for_all(_SECONDS)
        assert not supervisor.failures
        told.seek(0)
        return record(scenario, told.read(), maps)
