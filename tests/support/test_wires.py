"""The builders of namespaces: what they build works, and nothing stays."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import environment
from tests.support.wires import Namespace, bump, pair, privileged, sweep

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root and iproute2: namespaces")]


def _here() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def test_a_pair_can_ping() -> None:
    """Both families cross a pair at once, and the namespaces go with the block."""
    with pair() as ends:
        ends.client.run(["ping", "-c1", "-W2", "10.9.0.2"])
        ends.client.run(["ping", "-6", "-c1", "-W2", "fd09::2"])
        names = (ends.client.name, ends.host.name)
    assert not any(Path("/run/netns", name).exists() for name in names)


def test_nothing_crosses_an_empty_bump() -> None:
    """Nothing forwards between the middle's ends, and its own IPv6 is quiet."""
    with bump() as line:
        assert line.client.run(["ping", "-c1", "-W1", "10.9.0.2"], check=False).returncode
        assert "inet6" not in line.middle.ip("address", "show", "dev", "a")


def test_a_function_runs_inside() -> None:
    """A call sees the namespace, and this thread stays where it was."""
    here = _here()
    with Namespace() as namespace:
        there = namespace.call(_here)
        assert f"net:[{namespace.path.stat().st_ino}]" == there
    assert _here() == here != there


def test_an_error_removes_everything() -> None:
    """A block that raises leaves neither namespace nor process."""
    namespace = Namespace()
    process = None
    with contextlib.suppress(ZeroDivisionError), namespace:
        process = namespace.popen(["sleep", "60"])
        raise ZeroDivisionError
    assert process is not None
    assert process.returncode == -9
    assert not namespace.path.exists()


def test_what_a_killed_process_left_is_swept() -> None:
    """A namespace of a process that is gone is removed by the next one; that of a living process stays."""
    code = "import os\nfrom tests.support.wires import Namespace\nn = Namespace().__enter__()\nprint(n.name)\nos.kill(os.getpid(), 9)"
    with Namespace() as living:
        done = subprocess.run(
            [sys.executable, "-u", "-c", code], capture_output=True, text=True, check=False, env=environment()
        )
        name = done.stdout.strip()
        assert Path("/run/netns", name).exists()
        assert name in sweep()
        assert not Path("/run/netns", name).exists()
        assert living.path.exists()
