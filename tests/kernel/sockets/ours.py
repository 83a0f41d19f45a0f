"""Runs a scenario under our supervisor, with the same objects as the kernel's.

Not here: the kernel's side (records.py), and what is compared with what.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import runtime
from netdev.interpose import REFERENCE, InterposeLoops, Supervisor
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
def _attached(scenario: Scenario, kind: str, rules: Rules) -> Iterator[tuple[SocketPolicy, Ours]]:
    engine = KINDS[kind][1]
    path = OBJECTS / f"{scenario.object}.o"
    with runtime.load(path, registry=default_registry(), engine=engine) as obj:
        maps = Ours(obj)
        for row in scenario.maps:
            maps.update(*row)
        attachments = Attachments(rules=rules)
        for words in scenario.attach:
            attachments.attach(obj.bare_programs[words.partition(":")[0]])
        with SocketPolicy(attachments, engine=engine) as policy:
            yield policy, maps


def under_supervision(scenario: Scenario, client: Namespace, kind: str, *, rules: Rules = Rules.LINUX) -> list[str]:
    """The record of a scenario under one of KINDS."""
    with _attached(scenario, kind, rules) as (policy, maps):
        with Supervisor(policy, loops=KINDS[kind][0]) as supervisor:
            told = _told(supervisor, scenario.script, command(client))
        return record(scenario, told, maps)


def _told(supervisor: Supervisor, text: str, words: list[str]) -> str:
    with (
        tempfile.TemporaryFile("w+") as script,
        tempfile.TemporaryFile("w+") as told,
        tempfile.TemporaryFile("w+") as complaints,
    ):
        script.write(text)
        script.seek(0)
        code = supervisor.run(words, stdin=script, stdout=told, stderr=complaints).wait(_SECONDS)
        complaints.seek(0)
        assert code == 0, complaints.read()
        assert supervisor.wait_for_all(_SECONDS)
        assert not supervisor.failures
        told.seek(0)
        return told.read()
