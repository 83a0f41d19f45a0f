"""Network namespaces joined by veth pairs, for tests, benchmarks and demonstrations; all of it gone when the block ends.

    with Namespace("client") as client, Namespace("server") as server:
        wire(client, "eth0", server, "eth0")
        client.address("eth0", "10.0.0.1/24", "fd00::1/64")
        client.run(["ping", "-c1", "10.0.0.2"])             # subprocess.run in the namespace, output as text
        process = server.popen(["iperf3", "-s"])            # subprocess.Popen; killed when the namespace goes
        client.call(lambda: socket.socket(...))             # a function in a thread that lives in the namespace
        with client.entered(): ...                          # this thread itself, for a while

    with bump() as line:      # line.client eth0 — a line.middle b — eth0 line.server: what inline mode stands between
    with pair() as ends:      # ends.client eth0 — eth0 ends.host: what host mode filters, addresses on both

Addresses of bump() and pair(): the client has 10.9.0.1 and fd09::1, the server (the host) 10.9.0.2 and fd09::2.
No duplicate address detection, so IPv6 works at once. Names hold the process and its start time; what a killed process
left behind is removed when the next one starts. Inside `entered` and `call` use /proc/thread-self/net, not /proc/net
(the process's first thread); /sys shows the namespace only in `run` and `popen`.

Not here: filters on the wires, and what is measured on them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, final

__all__ = ["CLIENT", "SERVER", "Line", "Namespace", "Pair", "bump", "pair", "privileged", "sweep", "wire"]

T = TypeVar("T")

CLIENT = ("10.9.0.1/24", "fd09::1/64")
SERVER = ("10.9.0.2/24", "fd09::2/64")

_FOLDER = Path("/run/netns")
_PREFIX = "xdpsim"
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count()


def privileged() -> bool:
    """Whether this process may make namespaces: for `skipif`."""
    return os.geteuid() == 0 and Path("/usr/sbin/ip").exists() | Path("/sbin/ip").exists()


def _start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty when it is no more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def sweep() -> list[str]:
    """Remove the namespaces of processes that are gone; returns their names."""
    gone = []
    for path in sorted(_FOLDER.glob(f"{_PREFIX}-*-*-*")):
        _, pid, start, _ = path.name.split("-", 3)
        if _start_time(int(pid)) != start:
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
            gone.append(path.name)
    return gone


def _setns(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


@final
class Namespace:
    """A network namespace of this process, known to `ip netns` by `name`."""

    def __init__(self, label: str = "ns") -> None:
        number = next(_numbers)
        if number == 0:
            sweep()
        self.name = f"{_PREFIX}-{os.getpid()}-{_start_time(os.getpid())}-{number}{label}"
        self.path = _FOLDER / self.name
        self._owner = os.getpid()
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        subprocess.run(["ip", "netns", "add", self.name], check=True, capture_output=True)
        try:
            self.ip("link", "set", "lo", "up")
            for kind in ("all", "default"):
                self.sysctl(f"net.ipv6.conf.{kind}.accept_dad", 0)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the processes that `popen` started and remove the namespace; twice is harmless, a fork does nothing."""
        if os.getpid() != self._owner:
            return
        for process in self._processes:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
                process.wait()
        self._processes.clear()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The same command, run inside."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, arguments: Sequence[str], *, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """`subprocess.run` inside; output is caught as text, and a failure shows it."""
        done = subprocess.run(self.command(arguments), check=False, capture_output=True, text=True, **options)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)} → {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """`subprocess.Popen` inside; `ip netns exec` becomes the command, so the process's id is the command's."""
        process = subprocess.Popen(self.command(arguments), **options)
        self._processes.append(process)
        return process

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread inside the namespace; sockets made here stay there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        inside = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(inside)
            try:
                yield
            finally:
                _setns(before)
        finally:
            os.close(inside)
            os.close(before)

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns in a thread of its own inside the namespace; what it raises is raised here."""
        results: list[T] = []
        errors: list[BaseException] = []

        def inside() -> None:
            try:
                with self.entered():
                    results.append(function())
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                errors.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def ip(self, *arguments: str) -> str:
        """What `ip` prints inside (a failure shows its message)."""
        done = subprocess.run(["ip", "-n", self.name, *arguments], check=False, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"ip {' '.join(arguments)} → {done.returncode}\n{done.stderr}")
        return done.stdout

    def sysctl(self, name: str, value: object) -> None:
        """Set a sysctl by its dotted name (an interface's own dots are not supported)."""
        with self.entered():
            Path("/proc/sys", *name.split(".")).write_text(str(value))

    def address(self, interface: str, *addresses: str) -> None:
        """Give an interface these addresses (with prefix length) and set it up."""
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("address", "add", address, "dev", interface, *nodad)
        self.ip("link", "set", interface, "up")

    def mac(self, interface: str) -> bytes:
        """An interface's hardware address."""
        text = self.ip("-o", "link", "show", interface).split("link/ether ")[1].split()[0]
        return bytes.fromhex(text.replace(":", ""))

    def ifindex(self, interface: str) -> int:
        """An interface's number inside."""
        return int(self.ip("-o", "link", "show", interface).split(":")[0])


def wire(
    left: Namespace, left_name: str, right: Namespace, right_name: str, *, mtu: int | None = None, up: bool = True
) -> None:
    """A veth pair, one end in each namespace (which may be the same); both ends up unless told otherwise."""
    left.ip("link", "add", "name", left_name, "type", "veth", "peer", "name", right_name, "netns", right.name)
    for namespace, name in ((left, left_name), (right, right_name)):
        if mtu is not None:
            namespace.ip("link", "set", "dev", name, "mtu", str(mtu))
        if up:
            namespace.ip("link", "set", "dev", name, "up")


@final
@dataclass(frozen=True, slots=True)
class Pair:
    """client eth0 — eth0 host."""

    client: Namespace
    host: Namespace


@final
@dataclass(frozen=True, slots=True)
class Line:
    """client eth0 — a middle b — eth0 server; nothing forwards in the middle until a filter does."""

    client: Namespace
    middle: Namespace
    server: Namespace


@contextlib.contextmanager
def pair(*, mtu: int | None = None) -> Iterator[Pair]:
    """A client and a host, joined and addressed."""
    with Namespace("client") as client, Namespace("host") as host:
        wire(client, "eth0", host, "eth0", mtu=mtu)
        client.address("eth0", *CLIENT)
        host.address("eth0", *SERVER)
        yield Pair(client, host)


@contextlib.contextmanager
def bump(*, mtu: int | None = None, quiet: bool = True) -> Iterator[Line]:
    """A client and a server with a filter's place between them; `quiet` keeps the middle's own IPv6 off the wire."""
    with Namespace("client") as client, Namespace("middle") as middle, Namespace("server") as server:
        if quiet:
            middle.sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        wire(client, "eth0", middle, "a", mtu=mtu)
        wire(middle, "b", server, "eth0", mtu=mtu)
        client.address("eth0", *CLIENT)
        server.address("eth0", *SERVER)
        yield Line(client, middle, server)
