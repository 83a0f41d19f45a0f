"""Runs a scenario and writes down what came of it: lines of traffic, then lines of maps, without what differs from run to run.

`python -m tests.kernel.sockets.records` writes kernel.txt, what the running kernel did.

Ports above 32,767 become e0, e1, … in the order in which they appear, and likewise cookies, processes and threads: what stays is
which of them are the same.

Not here: the scenarios (scenarios.py), and what is compared with what.
"""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from tests.kernel.sockets.scenarios import SCENARIOS, WAYS, Scenario
from tests.support.cgroups import Cgroup, hooked
from tests.support.wires import Namespace, Pair, pair

__all__ = ["FILE", "OBJECTS", "Maps", "command", "line", "record", "sections", "under_the_kernel"]

HERE: Final = Path(__file__).parent
OBJECTS: Final = HERE / "objects"
FILE: Final = HERE / "kernel.txt"
_SECONDS: Final = 30


class Maps(Protocol):
    """What an object's maps hold, as bytes."""

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Store an element."""
        ...

    def rows(self, name: str) -> dict[bytes, bytes]:
        """Keys and values."""
        ...


@contextmanager
def line() -> Iterator[Pair]:
    """A client and a peer that tells whom it sees; the scripts name the addresses."""
    with pair() as ends:
        ends.client.address("eth0", "10.9.0.3/24", "fd09::3/64")
        ends.host.address("eth0", "10.9.0.4/24", "fd09::4/64")
        ends.client.sysctl("net.ipv4.ping_group_range", "0 0")
        words = [sys.executable, "-IS", str(HERE / "peer.py"), "7001", "7002"]
        peer = ends.host.popen(words, stdout=subprocess.PIPE, text=True)
        assert peer.stdout.readline() == "ready\n"
        try:
            yield ends
            assert peer.poll() is None, "the peer ended"
        finally:
            peer.kill()
            peer.wait()
            peer.stdout.close()


def command(client: Namespace) -> list[str]:
    """What carries out a script that it reads from its standard input."""
    return ["nsenter", f"--net={client.path}", sys.executable, "-IS", str(HERE / "traffic.py")]


def under_the_kernel(scenario: Scenario, client: Namespace) -> list[str]:
    """The record of a scenario with the programs on a cgroup."""
    with Cgroup() as group, hooked(OBJECTS / f"{scenario.object}.o") as kernel:
        for row in scenario.maps:
            kernel.update(*row)
        for words in scenario.attach:
            program, _, way = words.partition(":")
            kernel.attach(group, program, way or program)
        done = group.run(command(client), input=scenario.script, timeout=_SECONDS)
        assert done.returncode == 0, done.stderr
        return record(scenario, done.stdout, kernel)


def record(scenario: Scenario, told: str, maps: Maps) -> list[str]:
    """What the traffic told and what the maps hold, line by line."""
    labels = _Labels()
    lines = labels.applied(told.splitlines())
    for name in scenario.watched:
        rows = labels.applied(_TELLERS[name](name, maps))
        lines += rows if name in _LOGS else sorted(rows)
    return lines


class _Labels:
    """Names for numbers that differ from run to run."""

    _PATTERN: Final = re.compile(r"(?P<kind>cookie|netns|process|thread) (?P<number>\d+)|:(?P<port>\d{5})\b")

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def applied(self, lines: list[str]) -> list[str]:
        return [self._PATTERN.sub(self._replaced, line) for line in lines]

    def _replaced(self, found: re.Match[str]) -> str:
        port, kind = found["port"], found["kind"]
        if port:
            return found[0] if int(port) < 32768 else f":{self._label('e', port)}"
        return f"{kind} {self._label(kind[0], found['number'])}" if found["number"] != "0" else found[0]

    def _label(self, letter: str, number: str) -> str:
        count = sum(each[0] == letter for each in self._known)
        return self._known.setdefault((letter, number), f"{letter}{count}")


def _four(data: bytes) -> str:
    return socket.inet_ntoa(data[:4])


def _six(data: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6, data[:16])


def _address(way: str, data: bytes) -> str:
    """The address in 16 bytes, as the way has it."""
    return _four(data) if way.endswith("4") else f"[{_six(data)}]"


def _log(name: str, maps: Maps) -> Iterator[tuple[int, bytes]]:
    """The rows of a log that were written."""
    written = int.from_bytes(maps.rows("written")[bytes(4)], sys.byteorder)
    rows = maps.rows(name)
    for index in range(written):
        yield index, rows[struct.pack("=I", index)]


def _seen(name: str, maps: Maps) -> list[str]:
    lines = []
    for index, data in _log(name, maps):
        number, family = struct.unpack_from("=II", data)
        way = WAYS[number - 1]
        (port,) = struct.unpack_from("=I", data, 24)
        own, kind, protocol = struct.unpack_from("=III", data, 28)
        uid, gid, ids, cookie, netns, comm = struct.unpack_from("=II3Q16s", data, 56)
        lines.append(
            f"{name} {index}: {way} family {family} {_address(way, data[8:24])}:{_port(port)} of a socket {own} {kind} {protocol}"
            f" from {_address(way, data[40:56])} user {uid} group {gid} process {ids >> 32} thread {ids & 0xFFFFFFFF}"
            f" cookie {cookie} netns {netns} {comm.rstrip(bytes(1)).decode()}"
        )
    return lines


def _port(word: int) -> str:
    """A port in a word as the network has it, with whatever else is in the word."""
    rest = word >> 16
    return str(socket.ntohs(word & 0xFFFF)) + (f" and {rest:#x}" if rest else "")


def _steps(name: str, maps: Maps) -> list[str]:
    rows = [(index, *struct.unpack("=I4sI", data)) for index, data in _log(name, maps)]
    return [f"{name} {index}: program {program} sees {_four(ip)}:{port}" for index, program, ip, port in rows]


def _results(name: str, maps: Maps) -> list[str]:
    return [f"{name} {index}: {struct.unpack('=q', data)[0]}" for index, data in _log(name, maps)]


def _parts(name: str, maps: Maps) -> list[str]:
    return [f"{name} {index}: {data.hex(' ', 8)}" for index, data in _log(name, maps)]


def _ends(name: str, maps: Maps) -> list[str]:
    lines = []
    for index, data in _log(name, maps):
        number, *words = struct.unpack_from("=7I", data)
        way = WAYS[number - 1]
        own4, own6, own_port = data[28:32], data[32:48], data[48:52]
        peer4, peer6, peer_port, state = data[52:56], data[56:72], data[72:76], data[76:80]
        four = way.endswith("4")
        lines.append(
            f"{name} {index}: {way} words {words}"
            f" own {_four(own4) if four else _six(own6)} :{int.from_bytes(own_port, sys.byteorder)}"
            f" peer {_four(peer4) if four else _six(peer6)} :{_port(int.from_bytes(peer_port, sys.byteorder))}"
            f" state {int.from_bytes(state, sys.byteorder)}"
        )
    return lines


def _connections(name: str, maps: Maps) -> list[str]:
    lines = []
    for index, data in _log(name, maps):
        op, family = struct.unpack_from("=II", data)
        remote_port, local_port = struct.unpack_from("=II", data, 48)
        four = family == socket.AF_INET
        remote = _four(data[8:12]) if four else f"[{_six(data[16:32])}]"
        local = _four(data[12:16]) if four else f"[{_six(data[32:48])}]"
        lines.append(
            f"{name} {index}: op {op} family {family} remote {remote}:{socket.ntohl(remote_port)} local {local}:{local_port}"
        )
    return lines


def _counts(key_text: Callable[[bytes], str]) -> Callable[[str, Maps], list[str]]:
    def tell(name: str, maps: Maps) -> list[str]:
        rows = maps.rows(name).items()
        return [f"{name} {key_text(key)}: {int.from_bytes(value, sys.byteorder)}" for key, value in rows]

    return tell


def _thread(key: bytes) -> str:
    thread, process = struct.unpack("=II", key)
    return f"process {process} thread {thread}"


_LOGS: Final = ("seen", "steps", "results", "parts", "ends", "connections")
"""Maps whose rows have an order."""
_TELLERS: Final[Mapping[str, Callable[[str, Maps], list[str]]]] = {
    "seen": _seen,
    "steps": _steps,
    "results": _results,
    "parts": _parts,
    "ends": _ends,
    "connections": _connections,
    "threads": _counts(_thread),
    "users": _counts(lambda key: "user {} group {}".format(*struct.unpack("=II", key))),
    "names": _counts(lambda key: key.rstrip(bytes(1)).decode()),
    "sockets": _counts(lambda key: f"cookie {int.from_bytes(key, sys.byteorder)}"),
    "denied": _counts(lambda key: WAYS[int.from_bytes(key, sys.byteorder) - 1]),
}


def sections(path: Path) -> dict[str, list[str]]:
    """The lines of a file by the headings above them."""
    found: dict[str, list[str]] = {}
    for text in path.read_text().strip("\n").split("\n\n"):
        name, *lines = text.splitlines()
        found[name.removeprefix("## ")] = [each.removeprefix("   ") for each in lines]
    return found


def main() -> None:
    """Write kernel.txt: what the running kernel does."""
    with line() as ends:
        texts = []
        for scenario in SCENARIOS:
            lines = under_the_kernel(scenario, ends.client)
            texts.append("\n".join([f"## {scenario.name}", *(f"   {each}" for each in lines)]))
    FILE.write_text("\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
