"""Attachments as a user makes them, in processes of their own, with load on the wire and a neighbour who writes into the maps.

Not here: what is asserted about them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from tests.support.commands import ROOT, environment
from tests.support.senders import RingSender
from tests.support.wires import Namespace
from xdp.live.registry import State

_WRITER = """
import itertools, sys
import xdp
from pathlib import Path
from xdp.live.registry import State

name, folder = sys.argv[1:]
with xdp.open_map(name, state=State(Path(folder))) as found:
    size = found.spec.key_size
    print("ready", flush=True)
    for number in itertools.count():
        key = (number % 512 << 8 | 17).to_bytes(size, "little")
        found.update(key, bytes(found.spec.value_size))
        assert found.lookup(key) is not None
        found.delete(key)
        if number % 100 == 0:
            print(number, flush=True)
"""


def until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait; fails with what did not come to pass."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in {seconds:g} s: {what}"
        time.sleep(0.02)


@final
@dataclass(frozen=True, slots=True)
class Attached:
    """xdpsim in one namespace over a state folder of its own."""

    namespace: Namespace
    folder: Path

    @property
    def state(self) -> State:
        """The records."""
        return State(self.folder)

    def xdpsim(self, *words: str, code: int | None = 0) -> str:
        """Run the command; its output, both kinds, without a traceback in it."""
        command = [sys.executable, "-m", "xdp.cli", *words]
        done = self.namespace.run(command, check=False, env=environment(XDPSIM_RUN=str(self.folder)), timeout=120)
        text: str = done.stdout + done.stderr
        assert code in (None, done.returncode), text
        assert "Traceback" not in text, text
        return text

    def start(self, *words: str) -> subprocess.Popen[Any]:
        """The command in the foreground, running; stderr and stdout are pipes."""
        command = [sys.executable, "-m", "xdp.cli", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return self.namespace.popen(command, env=environment(XDPSIM_RUN=str(self.folder)), **pipes)

    def keepers(self) -> list[int]:
        """Processes that hold attachments."""
        return [record.pid for record in self.state.all() if record.alive]

    def guards(self) -> list[int]:
        """Processes that would restore what these change."""
        wanted = f"netdev.topology.guard\0{self.state.journals}\0".encode()
        return [pid for pid, words in _commands() if wanted in words]

    def clean(self) -> bool:
        """Whether no journal is left."""
        return not list(self.state.journals.glob("*.journal"))

    def stats(self) -> dict[str, Any]:
        """What the only attachment counted so far."""
        from xdp.live.control import ask

        (record,) = self.state.all()
        return ask(self.state.attachments / f"{record.id}.sock", "stats")

    def stop(self) -> None:
        """End what is left."""
        for record in self.state.all():
            self.xdpsim("net", "detach", "dev", record.interface, code=None)
        until(lambda: not self.state.all(), "a keeper ends")


def _commands() -> Iterator[tuple[int, bytes]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes()
        except OSError:  # it ended in this moment
            continue


@final
@dataclass(slots=True)
class Load:
    """Frames sent while the block runs."""

    sent: int = 0
    _over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def loaded(namespace: Namespace, interface: str, frames: list[bytes], rate: float) -> Iterator[Load]:
    """Frames at that rate from a thread, until the block ends; `sent` is exact afterwards."""
    load = Load()
    with namespace.entered():
        sender = RingSender(interface, frames, slots=1024)

    def work() -> None:
        while not load._over.is_set():
            load.sent += sender.paced(rate, 0.05)

    thread = threading.Thread(target=work)
    with sender:
        thread.start()
        try:
            yield load
        finally:
            load._over.set()
            thread.join()


@final
class Writer:
    """Another process that updates, reads and deletes entries of a live map without end."""

    def __init__(self, attached: Attached, name: str) -> None:
        words = [sys.executable, "-c", _WRITER, name, str(attached.folder)]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        os.set_blocking(self.process.stdout.fileno(), False)

    def advances(self) -> None:
        """Fails when the writer is stuck, or ended."""
        assert self.process.stdout is not None
        self._drain()
        until(self._drain, "the writer gets on with it", 10.0)

    def _drain(self) -> bool:
        assert self.process.stdout is not None
        assert self.process.poll() is None, self.process.communicate()[1]
        try:
            return bool(os.read(self.process.stdout.fileno(), 1 << 16))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate()
