"""A process that holds an object's maps as a keeper does, with a record of an attachment and no interface."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.loader import load
from tests.support.commands import ROOT, environment
from xdp.extension import default_registry
from xdp.live.maps import arena_folder
from xdp.live.registry import Attachment, LiveMap, LiveProgram, State, namespace, start_time


def hold(source: str, folder: str, interface: str) -> None:
    """Load the object, write the record, say so, and stay until stdin ends."""
    state = State(Path(folder))
    state.prepare()
    with load(Path(source), registry=default_registry(), folder=arena_folder(state)) as loaded:
        first = state.new_id(1 + len(loaded.maps) + len(loaded.bare_programs))
        pid = os.getpid()
        maps = tuple(
            LiveMap(id=first + 1 + at, name=each.name, kind=each.kind.name, path=f"/proc/{pid}/fd/{each.arena.fd}")
            for at, each in enumerate(loaded.maps.values())
        )
        programs = tuple(
            LiveProgram(
                id=first + 1 + len(maps) + at,
                name=name,
                tag=hashlib.sha256(name.encode()).hexdigest()[:16],
                priority=50,
                object=source,
                maps=tuple(each.id for each in maps),
                loaded_at=time.time(),
            )
            for at, name in enumerate(loaded.bare_programs)
        )
        state.write(
            Attachment(
                id=first,
                pid=pid,
                started=start_time(pid),
                netns=namespace(),
                interface=interface,
                ifindex=first,
                mode="host",
                programs=programs,
                maps=maps,
            )
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


@contextmanager
def held(source: Path, folder: Path, interface: str = "eth7") -> Iterator[subprocess.Popen[str]]:
    """A holder of the object's maps; it ends with the block, or before if the block ends it."""
    command = [sys.executable, "-m", "tests.support.holder", str(source), str(folder), interface]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    hold(*sys.argv[1:4])
