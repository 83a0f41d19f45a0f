"""Commands under supervision, for tests: policies that are functions, and programs that are built for a test.

Not here: what supervision means (tests/netdev/interpose).
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netdev.interpose import (
    ALLOW,
    REFERENCE,
    Action,
    Decision,
    Fact,
    InterposeLoops,
    NativePolicy,
    SocketCall,
    SocketEvent,
    Supervisor,
)
from tests.support.wires import privileged
from xdp.natives import INTERPOSE

__all__ = [
    "BOTH",
    "DENY",
    "ROOT",
    "Ended",
    "Script",
    "built",
    "inet",
    "inet6",
    "native_policy",
    "python",
    "supervise",
]

DENY = Decision(Action.DENY)
BOTH = pytest.mark.parametrize("loops", [pytest.param(REFERENCE, id="reference"), pytest.param(INTERPOSE, id="native")])
ROOT = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root")]


def inet(address: str, port: int) -> bytes:
    """A struct sockaddr_in."""
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, socket.inet_aton(address))


def inet6(address: str, port: int) -> bytes:
    """A struct sockaddr_in6."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16sI", port, 0, packed, 0)


class Script:
    """A policy that is a function; `seen` has what it was asked, `told` what came of it."""

    def __init__(
        self,
        *wants: SocketCall,
        decide: Callable[[SocketEvent], Decision] = lambda _: ALLOW,
        needs: Fact = Fact.NONE,
        native: NativePolicy | None = None,
    ) -> None:
        self.wants = frozenset(wants)
        self.needs = needs
        self.native = native
        self.seen: list[tuple[str, bytes]] = []
        self.events: list[SocketEvent] = []
        self.told: list[tuple[str, int]] = []
        self._decide = decide

    def decide(self, event: SocketEvent) -> Decision:
        """Ask the function."""
        self.seen.append((event.call.name, event.address))
        self.events.append(SocketEvent.copied(bytes(event.memory)))
        return self._decide(event)

    def done(self, event: SocketEvent, result: int) -> None:
        """Note it down."""
        self.told.append((event.call.name, result))


@dataclass
class Ended:
    """What a supervised command left behind."""

    code: int
    out: str
    failures: list[str] = field(default_factory=list)
    events: list[SocketEvent] = field(default_factory=list)


def python(code: str, *words: object) -> list[str]:
    """A command that runs this code, with words in sys.argv from 1 on."""
    return [sys.executable, "-S", "-c", code, *map(str, words)]


def supervise(policy: Script, loops: InterposeLoops, command: Sequence[str], timeout: float = 20) -> Ended:
    """Run a command to its end, and wait for its descendants."""
    with Supervisor(policy, loops=loops) as supervisor:
        child = supervisor.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            out = child.process.communicate(timeout=timeout)[0].decode()
        except subprocess.TimeoutExpired:
            child.kill()
            out = child.process.communicate()[0].decode()
            pytest.fail(f"still running after {timeout} s; printed {out!r}; {list(supervisor.failures)}")
        code = child.wait()
        assert supervisor.wait_for_all(timeout)
        return Ended(code, out, list(supervisor.failures), supervisor.events())


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="xdpsim-built-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def _clang() -> str:
    found = shutil.which("clang-19") or shutil.which("clang")
    if found is None:
        pytest.skip("clang is not installed")
    return found


def built(source: str, *flags: str, suffix: str = ".c") -> str:
    """The path of a program made of this C (or, with suffix .S, assembly) source."""
    path = _folder() / hashlib.sha256(repr((source, flags)).encode()).hexdigest()[:16]
    if not path.exists():
        text = path.with_suffix(suffix)
        text.write_text(source)
        subprocess.run([_clang(), "-O1", *flags, "-o", str(path), str(text)], check=True)
    return str(path)


_LIBRARIES: list[ctypes.CDLL] = []


def native_policy(body: str, *wants: SocketCall) -> NativePolicy:
    """A policy in C: the body of `long long decide(long long *record, long long env)`."""
    path = built(
        f"#include <string.h>\nlong long decide(long long *record, long long env) {{ {body} }}", "-shared", "-fPIC"
    )
    _LIBRARIES.append(ctypes.CDLL(path))
    address = ctypes.cast(_LIBRARIES[-1].decide, ctypes.c_void_p).value
    assert address
    return NativePolicy(function=address, env=0, wants=frozenset(wants))
