"""kill -9 of the processes of an attachment, at random moments under load, in every mode: all is as it was before.

Three moments for each; XDPSIM_MOMENTS=10 makes them ten.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netdev.topology import InterfaceSnapshot, snapshot
from tests.support import real_traffic
from tests.support.hosts import settle
from tests.support.live_attachments import Attached, Writer, loaded, until
from tests.support.live_frames import mixed
from tests.support.objects import EXAMPLES
from tests.support.wires import Namespace, bump, pair, privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]

MOMENTS = int(os.environ.get("XDPSIM_MOMENTS", "3"))
FRAMES = mixed(64)
RATE = 20_000.0
MODES = {
    "monitor": ("eth0", ("--mode", "monitor")),
    "inline": ("a", ("--mode", "inline", "--peer", "b")),
    "host": ("eth0", ("--mode", "host")),
}


@contextmanager
def _place(mode: str, folder: Path) -> Iterator[tuple[Namespace, Attached]]:
    """The sender's namespace, and xdpsim where the filter belongs."""
    with bump() if mode == "inline" else pair() as made:
        where = made.middle if mode == "inline" else made.host
        if mode != "inline":
            settle(where, "eth0")
        attached = Attached(where, folder)
        try:
            yield made.client, attached
        finally:
            attached.stop()


def _seen(namespace: Namespace, mode: str) -> dict[str, InterfaceSnapshot]:
    with namespace.entered():
        return {name: snapshot(name) for name in (("a", "b") if mode == "inline" else ("eth0",))}


@pytest.mark.parametrize("victims", ["keeper", "guard", "both"])
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_any_moment(mode: str, victims: str, tmp_path: Path) -> None:
    """The interface is as it was: at once by the guard, or after `net repair` when the guard died as well; map users go on."""
    rng = random.Random(f"{mode} {victims}")
    interface, options = MODES[mode]
    with _place(mode, tmp_path / "run") as (client, attached), loaded(client, "eth0", FRAMES, RATE) as load:
        before = _seen(attached.namespace, mode)
        for _ in range(MOMENTS):
            attached.xdpsim("net", "attach", str(EXAMPLES / "port_filter.o"), "dev", interface, *options, "--force")
            writer = Writer(attached, "closed")
            try:
                time.sleep(rng.uniform(0.0, 0.3))
                _kill(attached, victims)
                writer.advances()
            finally:
                writer.close()
            if victims == "guard":
                attached.xdpsim("net", "detach", "dev", interface)
            elif victims == "both":
                attached.xdpsim("net", "repair")
            until(lambda: _seen(attached.namespace, mode) == before, f"{interface} is as it was")
            until(attached.clean, "no journal is left")
            assert attached.keepers() == []
        assert load.sent > 0
        if mode != "inline":
            _answers(client)


def _answers(client: Namespace) -> None:
    """The host answers as if nothing had been."""
    real_traffic.ping(client)
    real_traffic.ping6(client)


def _kill(attached: Attached, victims: str) -> None:
    guards, keepers = attached.guards(), attached.keepers()
    assert len(keepers) == 1
    chosen = {"keeper": keepers, "guard": guards, "both": guards + keepers}[victims]
    for pid in chosen:
        os.kill(pid, signal.SIGKILL)
    if victims == "guard" and guards:
        until(lambda: any(each not in guards for each in attached.guards()), "another guard comes")
    elif victims != "guard":
        until(lambda: not attached.keepers(), "the keeper is gone")


def test_killed_while_it_attaches(tmp_path: Path) -> None:
    """A keeper that dies half way through attaching leaves nothing behind either."""
    rng = random.Random(9)
    with _place("host", tmp_path / "run") as (client, attached):
        before = _seen(attached.namespace, "host")
        words = (
            "net",
            "attach",
            str(EXAMPLES / "pass.o"),
            "dev",
            "eth0",
            "--mode",
            "host",
            "--detach-on-exit",
            "--force",
        )
        for _ in range(MOMENTS):
            process = attached.start(*words)
            time.sleep(rng.uniform(0.2, 1.5))
            process.kill()
            process.communicate()
            attached.xdpsim("net", "repair")
            until(lambda: _seen(attached.namespace, "host") == before, "eth0 is as it was")
            until(attached.clean, "no journal is left")
        _answers(client)
