"""The soak test, a third of a minute of it; `python -m benchmarks.soak --minutes 60` is the whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.wires import privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]


def test_everything_is_accounted_for() -> None:
    """Mixed load, map updates from another process and a replacement every second: every frame is counted, memory is flat."""
    words = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.33", "--rate", "20000"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
