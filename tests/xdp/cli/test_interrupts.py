"""SIGINT at any moment from the first line of ours to the last: exit code 130, one line, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import FILTER, environment

INTERRUPTED = 130

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(99)]"

INSIDE_EXEC = f"""
import xdp.cli.entry
xdp.cli.entry.run = lambda argv: exec({KILL!r})
"""
WHILE_IMPORTING = f"""
import importlib.abc
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "xdp.cli.commands":
            {KILL}
sys.meta_path.insert(0, Finder())
"""
WHILE_TELLING = f"""
import xdp.cli.output
def error(self, message, **fields):
    {KILL}
xdp.cli.output.Output.error = error
import xdp.cli.verify
def interrupted(arguments, output):
    {KILL}
xdp.cli.verify.run = interrupted
"""
AFTERWARDS = f"""
import atexit
def late():
    {KILL}
atexit.register(late)
"""


def _run(folder: Path, before: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as `python -m` runs it, after some lines of our own."""
    text = f"import sys\n{before}\nfrom xdp.cli import main\nsys.exit(main())\n"
    (folder / "command.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "command", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(),
        timeout=60,
    )


@pytest.mark.parametrize("before", [INSIDE_EXEC, WHILE_IMPORTING, WHILE_TELLING])
def test_an_interrupt_has_its_exit_code(before: str, tmp_path: Path) -> None:
    """Inside exec() of text, while modules are imported, and a second time while the first is told."""
    done = _run(tmp_path, before, "verify", FILTER)
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == "xdpsim: interrupted\n"


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    """An interrupt after the command has ended changes nothing any more."""
    done = _run(tmp_path, AFTERWARDS, "verify", FILTER)
    assert (done.returncode, done.stderr) == (0, "")


def test_who_ignores_interrupts_goes_on_doing_so(tmp_path: Path) -> None:
    """A command started with SIGINT ignored, as shells do in the background, is not ended by it."""
    text = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{WHILE_IMPORTING}"
    assert _run(tmp_path, text, "verify", FILTER).returncode == 0


def test_a_caller_gets_its_handler_back() -> None:
    """`main` with words, inside another program, leaves that program's way with interrupts as it was."""
    from xdp.cli import main

    before = signal.getsignal(signal.SIGINT)
    assert main(["verify", FILTER]) == 0
    assert signal.getsignal(signal.SIGINT) is before
