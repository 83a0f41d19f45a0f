"""The guard: a small process that waits for the death of another, and restores what its journal says.

    python -m netdev.topology.guard FOLDER NAME PID

It has a session of its own and ignores what a terminal or a service manager's polite stop sends; it ends when the
journal is gone, or the process is. What it restored or could not goes to guard.log in the folder.
Not here: how it is started and looked after (guarding).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final

from netdev.errors import InterfaceError
from netdev.topology.journal import Journal

__all__ = ["main"]

_LOOK: Final = 5.0  # seconds between looks at whether the journal is still there
_ATTEMPTS: Final = 5


def _watch(pidfd: int, journal: Journal) -> bool:
    """Wait; True when the process died, False when its journal went first."""
    waiting = [pidfd, 0]
    while True:
        ready, _, _ = select.select(waiting, [], [], _LOOK)
        if pidfd in ready:
            return True
        if not journal.path.exists():
            return False
        if 0 in ready and not os.read(0, 64):
            waiting.remove(0)


def _restore(folder: Path, name: str) -> list[str]:
    """Undo the journal; what fails is tried again a few times, as an interface may be in the middle of something."""
    sentences: list[str] = []
    for attempt in range(_ATTEMPTS):
        if not (folder / f"{name}.journal").exists():
            break
        reversal = Journal.open(folder, name).revert()
        sentences += reversal.restored
        if not reversal.problems:
            break
        if attempt == _ATTEMPTS - 1:
            sentences += [f"not restored: {problem}" for problem in reversal.problems]
        time.sleep(0.2 * (attempt + 1))
    return sentences


def main(words: list[str]) -> int:
    """Guard the journal NAME in FOLDER for the process PID; exit status 1 when it cannot."""
    folder, name, pid = Path(words[0]), words[1], int(words[2])
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(each, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000", encoding="ascii")
    os.chdir("/")
    try:
        journal = Journal.open(folder, name)
        # the process may die, and its number go to another, before it is opened: then its start time tells
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            if journal.pid != pid:
                raise InterfaceError(f"{journal.path} is not of process {pid}")  # noqa: TRY301 - one way out
            os.write(1, b"ready\n")
            os.close(1)
            if journal.owner_lives() and not _watch(pidfd, journal):
                return 0
        sentences = _restore(folder, name)
    except InterfaceError as error:
        sentences = [f"not restored: {error}"]
    _note(folder, name, sentences)
    return int(any(sentence.startswith("not restored") for sentence in sentences))


def _note(folder: Path, name: str, sentences: list[str]) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError), (folder / "guard.log").open("a", encoding="utf-8") as log:
        log.writelines(f"{stamp} {name}: {sentence}\n" for sentence in sentences)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
