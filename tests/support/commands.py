"""The command line in a process of its own, and the files that its tests hand to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.captures import OWN, ROOT

EXAMPLES: Final = ROOT / "examples"
FILTER: Final = str(EXAMPLES / "dos_filter.o")
PASS: Final = str(EXAMPLES / "pass.o")
PARSER: Final = str(EXAMPLES / "parser.o")
DISPATCHER: Final = str(EXAMPLES / "dispatcher.o")
FLOOD: Final = str(OWN / "syn-flood-mixed.pcap")
MIXED: Final = str(OWN / "mixed.pcapng")


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, changed, in which the project can be imported from anywhere."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def run(*words: str, cwd: Path = ROOT, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command with these words; `changes` are variables of its environment."""
    return subprocess.run(
        [sys.executable, "-m", "xdp.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(**changes),
        timeout=120,
    )


def run_json(*words: str, cwd: Path = ROOT, code: int = 0) -> Any:
    """The document that the command prints with -j, on one line, with nothing on stderr."""
    done = run("-j", *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)
