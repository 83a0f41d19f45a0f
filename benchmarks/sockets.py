"""`python -m benchmarks.sockets`: what supervision adds to a connect, beside a library that is preloaded and does nothing.

The same client (connects.c) runs once for each way, all at the same time; in rounds, each makes a batch of connects on
loopback while the others wait. The ways take turns at going first. A connect of TCP is timed from the call to its return with the
connection made; one of UDP, which sends nothing, shows the price of the call alone. What is added is the difference
of a way's median (or 99th percentile) to that of the same calls without supervision, in the same rounds.

Not here: benchmarks of packets (benchmarks.__main__).
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

from netdev.errors import InterfaceError
from netdev.interpose import (
    ALLOW,
    REFERENCE,
    Decision,
    Fact,
    InterposeLoops,
    NativePolicy,
    Policy,
    SocketCall,
    SocketEvent,
    Supervisor,
)
from runtime.loader import load
from tests.support.interposed import native_policy
from xdp.extension import default_registry
from xdp.natives import INTERPOSE
from xdp.sockets import Attachments, SocketPolicy

__all__ = ["Cost", "costs", "socket_section"]

_HERE: Final = Path(__file__).parent
_FIREWALL: Final = _HERE.parent / "examples" / "sockets" / "connect_firewall.o"
_KINDS: Final = ("tcp", "udp")
_ALONE: Final = "not supervised"
_WARM: Final = 50


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One way of making a connect: microseconds."""

    way: str
    kind: str
    median: float
    p99: float
    added: float
    added_p99: float


@final
@dataclass(frozen=True, slots=True)
class _Python:
    """Allows in Python. Implements Policy."""

    native: NativePolicy | None = None
    wants: frozenset[SocketCall] = frozenset({SocketCall.CONNECT})
    needs: Fact = Fact.NONE

    def decide(self, _event: SocketEvent) -> Decision:
        """Everything is allowed."""
        return ALLOW

    def done(self, event: SocketEvent, result: int) -> None:
        """Nobody asks."""


@final
@dataclass(slots=True)
class _Client:
    """A running client, and what it measured by kind, in nanoseconds."""

    process: subprocess.Popen[bytes]
    times: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})

    def batch(self, kind: str, count: int, port: int) -> list[int]:
        """Durations of that many calls."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind} {count} {port}\n".encode())
        self.process.stdin.flush()
        data = self.process.stdout.read(8 * count)
        if len(data) != 8 * count:
            raise RuntimeError("the client ended")
        return list(struct.unpack(f"={count}Q", data))


_Start = Callable[[ExitStack], "subprocess.Popen[bytes]"]


def _built(folder: Path, source: str, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("clang-19") or "clang"
    target = folder / source.removesuffix(".c")
    subprocess.run([compiler, "-O2", *flags, "-o", target, _HERE / source], check=True)
    return target


def _alone(client: Path, **variables: str) -> _Start:
    def start(stack: ExitStack) -> subprocess.Popen[bytes]:
        found = subprocess.Popen(
            [client], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **variables}
        )
        stack.callback(_end, found)
        return found

    return start


def _supervised(client: Path, policy: Policy, loops: InterposeLoops) -> _Start:
    def start(stack: ExitStack) -> subprocess.Popen[bytes]:
        supervisor = stack.enter_context(Supervisor(policy, loops=loops))
        found = supervisor.run([str(client)], stdin=subprocess.PIPE, stdout=subprocess.PIPE).process
        stack.callback(_end, found)
        return found

    return start


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def _ways(folder: Path) -> Iterator[tuple[str, _Start]]:
    client = _built(folder, "connects.c")
    shim = _built(folder, "shim.c", "-shared", "-fPIC")
    yield _ALONE, _alone(client)
    yield "LD_PRELOAD that does nothing", _alone(client, LD_PRELOAD=str(shim))
    yield "reference loop, allowed in Python", _supervised(client, _Python(), REFERENCE)
    yes = native_policy("return 0;", SocketCall.CONNECT)
    yield "native loop, allowed at once", _supervised(client, _Python(native=yes), INTERPOSE)
    yield "native loop, connect_firewall.o with 1,000 prefixes", _firewall(client)


def _firewall(client: Path) -> _Start:
    """Judged by programs, as `xdpsim run --attach connect_firewall.o:connect4` does it."""

    def start(stack: ExitStack) -> subprocess.Popen[bytes]:
        loaded = stack.enter_context(load(_FIREWALL, registry=default_registry()))
        rules = loaded.maps["rules"]
        for number in range(1000):
            rules[f"::ffff:10.{number >> 8}.{number & 255}.0/120"] = {"blocked": 1, "hits": 0}
        attachments = Attachments()
        attachments.attach(loaded.program("connect4"))
        policy = stack.enter_context(SocketPolicy(attachments))
        return _supervised(client, policy, INTERPOSE)(stack)

    return start


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4096)
        listener.setblocking(False)
        yield listener


def _emptied(listener: socket.socket) -> None:
    """What has connected is taken and closed, between batches."""
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return
        except OSError:  # reset meanwhile
            continue


def costs(rounds: int = 30, batch: int = 200) -> list[Cost]:
    """Measure all ways, in that many rounds of that many connects of each kind."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="xdpsim-bench-")))
        listener = stack.enter_context(_listener())
        port: int = listener.getsockname()[1]
        clients = {name: _Client(start(stack)) for name, start in _ways(folder)}
        order = list(clients.items())
        for at in range(rounds):
            turn = at % len(order)
            for kind in _KINDS:
                for _, client in order[turn:] + order[:turn]:
                    client.batch(kind, _WARM, port)
                    client.times[kind] += client.batch(kind, batch, port)
                    _emptied(listener)
        return [_cost(name, kind, clients) for kind in _KINDS for name in clients]


def _cost(name: str, kind: str, clients: dict[str, _Client]) -> Cost:
    (median, p99), (base, base99) = (_points(clients[each].times[kind]) for each in (name, _ALONE))
    return Cost(way=name, kind=kind, median=median, p99=p99, added=median - base, added_p99=p99 - base99)


def _points(times: Sequence[int]) -> tuple[float, float]:
    """Median and 99th percentile, in microseconds."""
    return statistics.median(times) / 1000, statistics.quantiles(times, n=100)[98] / 1000


def socket_section(rounds: int = 30, batch: int = 200) -> tuple[list[str], list[dict[str, Any]]]:
    """The table, as lines of Markdown, and as JSON has it; a line that says why where nothing can be measured."""
    if shutil.which("cc") is None and shutil.which("clang-19") is None:
        return ["Supervised connects are left out: the client needs a C compiler."], []
    try:
        found = costs(rounds, batch)
    except InterfaceError as error:
        return [f"Supervised connects are left out: {error}."], []
    lines = [
        "What supervision adds to a connect on loopback, microseconds, measured in turns:",
        "",
        "| connect | | median | 99th percentile | added, median | added, 99th |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for cost in found:
        added = ("", "") if cost.way == _ALONE else (f"{cost.added:+.1f}", f"{cost.added_p99:+.1f}")
        lines.append(
            f"| {cost.way} | {cost.kind.upper()} | {cost.median:.1f} | {cost.p99:.1f} | {added[0]} | {added[1]} |"
        )
    return lines, [asdict(cost) for cost in found]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What supervision adds to a connect.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--batch", type=int, default=200)
    arguments = parser.parse_args()
    print("\n".join(socket_section(arguments.rounds, arguments.batch)[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
