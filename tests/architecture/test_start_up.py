"""What a command imports before it works is a feature: start-up must stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"numba", "llvmlite", "scapy", "numpy", "rich", "elftools", "zstandard"}


def _imported(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{statement}\nprint(' '.join({{m.split('.')[0] for m in sys.modules}}))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import xdp.cli", set()),
        ("import runtime, netdev, xdp", set()),
        ("import runtime.isa, runtime.spec", set()),
        ("import runtime.verifier", set()),
        ("import runtime.object", {"elftools"}),
        ("import xdp.extension", set()),
        ("import xdp.cli.verify", {"elftools"}),
    ],
)
def test_an_import_brings_nothing_heavy(statement: str, allowed: set[str]) -> None:
    """Importing a part of the project imports no compiler, no array library and no terminal toolkit."""
    assert not _imported(statement) & (HEAVY - allowed)
