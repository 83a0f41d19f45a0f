"""The examples of socket calls, each run by its script: what it promises, on the loopback interface of a namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.objects import EXAMPLES, tool
from tests.support.wires import Namespace, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root: network namespaces, seccomp user notifications"),
]

_SEND = """
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("127.0.0.1", 0))
for port in sys.argv[1:]:
    try:
        own.sendto(b"hello", ("127.0.0.1", int(port)))
    except OSError as error:
        print(port, error.strerror)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[Namespace]:
    """A namespace with nothing but a loopback interface."""
    with Namespace("examples") as made:
        yield made


def _run(place: Namespace, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"examples.sockets.{name}", *arguments]
    return place.run(command, cwd=EXAMPLES.parent, timeout=60, check=False)


def test_the_objects_are_what_the_compiler_makes() -> None:
    """A rebuild gives the committed objects."""
    tool("clang-19")
    done = subprocess.run(
        ["make", "-C", str(EXAMPLES / "sockets"), "check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_quota_stops_the_process_that_leaks(place: Namespace) -> None:
    """The leaking process gets its quota and no more; another one with as many ports is left alone."""
    done = _run(place, "port_quota", "--quota", "3", "--leak", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, *_, table1, table2 = done.stdout.splitlines()
    assert "holds 3 ports of 7: Permission denied" in first
    assert second.endswith("holds 3 ports of 3")
    rows = {tuple(line.split()[1:3]) for line in (table1, table2)}
    assert rows == {("3", "1"), ("3", "0")}
    assert all("python" in line.split()[3] for line in (table1, table2))


def test_a_firewall_goes_by_the_longest_prefix(place: Namespace) -> None:
    """An exception inside a blocked prefix is reached, the rest of the prefix is not, and hits are counted."""
    done = _run(place, "connect_firewall")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["127.0.0.1: hello", "127.0.0.2: Operation not permitted", "127.8.0.1: hello"]
    assert [line.split() for line in lines[-2:]] == [["127.0.0.0/29", "blocked", "1"], ["127.0.0.1/32", "allowed", "1"]]


def test_a_proxy_learns_where_a_connection_was_to_go(place: Namespace) -> None:
    """The proxy says what the client asked for; the client sees the peer that it asked for and gets its page."""
    done = _run(place, "proxy")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = sorted(done.stdout.splitlines())
    page, connected, wanted = lines
    target = connected.removeprefix("client: connected to ")
    assert wanted.startswith("proxy: 127.0.0.1:")
    assert wanted.endswith(f" wants {target}")
    assert page == f"client: HTTP/1.0 200 OK ... /page of port {target.partition(':')[2]}"


def test_a_recorded_policy_enforces_what_was_done(place: Namespace, tmp_path: Path) -> None:
    """What a command did while it was recorded is allowed afterwards, and nothing else is."""
    policy = tmp_path / "policy.json"
    command = ["--", sys.executable, "-c", _SEND, "9001"]
    done = _run(place, "recorder", "record", str(policy), *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(done.stdout.splitlines()) == ["allow bind udp 127.0.0.1:0 (1)", "allow send udp 127.0.0.1:9001 (1)"]
    assert len(json.loads(policy.read_text())) == 2
    done = _run(place, "recorder", "enforce", str(policy), *command, "9002")
    assert done.stdout.splitlines() == ["9002 Operation not permitted", "refused send udp 127.0.0.1:9002 (1)"]


def test_the_command_line_runs_an_example(place: Namespace, tmp_path: Path) -> None:
    """`xdpsim run --attach` does with an object what its script does."""
    quota = tmp_path / "quota.json"
    quota.write_text('[{"key": 0, "value": 3}]')
    program = EXAMPLES / "sockets" / "port_quota.o"
    leak = [sys.executable, str(EXAMPLES / "sockets" / "leak.py"), "5"]
    command = [sys.executable, "-m", "xdp.cli", "run", "--attach", f"{program}:port_quota", "--map", f"quota={quota}"]
    done = place.run([*command, "--", *leak], cwd=EXAMPLES.parent, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "holds 3 ports of 5: Permission denied" in done.stdout
    assert "bind 3 allowed, 1 denied" in done.stderr
