"""The keeper's side of the guard: starting it, asking whether it lives, letting it go.

Not here: what the guard does (guard).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from netdev.errors import InterfaceError

__all__ = ["Guard", "start_guard"]

_PATIENCE: Final = 20.0  # seconds for a start on a busy machine
_PARTING: Final = 3.0


@final
@dataclass(frozen=True, slots=True)
class Guard:
    """A guard process of this process."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The guard's process number."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether it still watches; start another when not."""
        return self.process.poll() is None

    def fileno(self) -> int:
        """A descriptor for poll and select that is readable when the guard is dead; the caller closes it."""
        return os.pidfd_open(self.process.pid)

    def release(self) -> None:
        """Let it go after the journal was reverted and wait for its end; where the journal is left, so is the guard."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.write(b"done")
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_PARTING)


def start_guard(folder: Path, name: str, pid: int) -> Guard:
    """Start the guard of the journal `name` for process `pid`, in this thread's network namespace.

    Returns when it watches; InterfaceError when it does not get so far.
    """
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "netdev.topology.guard", str(folder.resolve()), name, str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
        bufsize=0,
    )
    assert process.stdout is not None
    with process.stdout as said:
        ready = select.select([said], [], [], _PATIENCE)[0]
        if ready and said.read(6) == b"ready\n":
            return Guard(process)
    process.kill()
    process.wait()
    raise InterfaceError(f"the guard of {folder / name} did not start; see {folder / 'guard.log'}")
