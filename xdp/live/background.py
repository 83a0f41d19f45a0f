"""Work that goes on when the command has returned: a process of its own session that reports once whether it works.

Not here: the work (keeper.py).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, final

from runtime.errors import DeviceError

__all__ = ["Reporter", "in_background"]

_INTERNAL: Final = 70


@final
class Reporter:
    """The started process's end: lines of JSON to whoever started it. `done` says that it works, or why not."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def note(self, message: str) -> None:
        """A remark for the user."""
        self._send({"note": message})

    def done(self, document: Mapping[str, Any]) -> None:
        """The result, after which nobody listens any more. Raises DeviceError when nobody did."""
        self._send(document)
        os.close(self._fd)
        self._fd = -1

    def _send(self, document: Mapping[str, Any]) -> None:
        line = json.dumps(document, default=str).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            raise DeviceError("who started this does not listen any more") from error


def in_background(work: Callable[[Reporter], int], log: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """Fork; the child runs `work` in a session of its own, its output going to `log`; returns what it reports as done.

    The child ends with the code that `work` returns. Who interrupts the wait ends the child, too. To be called before
    any thread is started. Raises DeviceError when the child ends without a report.
    """
    ours, theirs = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _become(work, theirs, log)
    os.close(theirs)
    try:
        return _heard(ours, child, log, note)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        raise


def _heard(ours: int, child: int, log: Path, note: Callable[[str], None]) -> dict[str, Any]:
    with os.fdopen(ours) as lines:
        for line in lines:
            document: dict[str, Any] = json.loads(line)
            if "note" not in document:
                return document
            note(str(document["note"]))
    with suppress(ChildProcessError):
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        raise DeviceError(f"the keeper ended {how} before it worked; {log} has what it said")
    raise DeviceError(f"the keeper ended before it worked; {log} has what it said")


def _become(work: Callable[[Reporter], int], report: int, log: Path) -> NoReturn:
    """The child: nothing of the terminal, nothing of open files but the report."""
    code = _INTERNAL
    try:
        os.setsid()
        moved = os.dup2(report, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 1024)
        os.set_inheritable(moved, False)
        null = os.open(os.devnull, os.O_RDWR)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for target, source in ((0, null), (1, out), (2, out)):
            os.dup2(source, target)
        os.close(null)
        os.close(out)
        os.umask(0o077)
        code = work(Reporter(moved))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else _INTERNAL
    except BaseException:  # noqa: BLE001  the last line of defence of a process: what it was goes into the log
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
