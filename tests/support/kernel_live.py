"""The running kernel's own filter on an interface: the oracle for ours on the same wire.

    with generic(line.middle, "a", EXAMPLES / "dos_filter.o") as kernel, forwarded(line.middle, "a", "b"):
        ...                                   # PASS goes from a to b and back, as in inline mode
        kernel.values("counters")             # what bpftool reads from the map

Generic mode only: it stands where a packet socket stands, behind the driver, and sees the same frames. `ip netns exec` hides the
bpf file system, so commands enter the network namespace alone.

Not here: our own attachments, and what the frames are.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tests.support import kernel_programs
from tests.support.kernel_maps import bpf
from tests.support.objects import BPFFS, answer, bpftool
from tests.support.wires import Namespace

_OBJ_PIN = 6
_REDIRECT = 23
_numbers = itertools.count()


@contextmanager
def _pins() -> Iterator[Path]:
    folder = BPFFS / f"xdpsim-live-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inside(namespace: Namespace, *command: str) -> str:
    """The command in the network namespace alone; the file systems stay."""
    done = subprocess.run(["nsenter", f"--net={namespace.path}", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@final
@dataclass(frozen=True, slots=True)
class Generic:
    """A program of the kernel on an interface, and its maps."""

    folder: Path

    def map(self, name: str) -> list[dict[str, Any]]:
        """What bpftool dumps, with the shapes of BTF where there is BTF."""
        dumped: list[dict[str, Any]] = bpftool("map", "dump", "pinned", self._pin(name))
        return dumped

    def raw(self, name: str) -> dict[bytes, bytes]:
        """Keys and values; of a per-CPU map the copies one after another."""
        rows = {}
        for row in self.map(name):
            parts = [each["value"] for each in row["values"]] if "values" in row else [row["value"]]
            rows[_bytes(row["key"])] = b"".join(map(_bytes, parts))
        return rows

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Store an element."""
        words = ["key", *map(str, key), "value", *map(str, value)]
        answer("bpftool", "map", "update", "pinned", self._pin(name), *words)

    def _pin(self, name: str) -> str:
        return str(self.folder / "maps" / name.replace(".", "_"))  # the file system takes no dots


def _bytes(words: list[str]) -> bytes:
    return bytes(int(word, 16) for word in words)


@contextmanager
def generic(namespace: Namespace, interface: str, path: Path, *, program: str | None = None) -> Iterator[Generic]:
    """The object's program (the only one, or the named) attached in generic mode until the block ends."""
    with _pins() as folder:
        answer("bpftool", "prog", "loadall", str(path), str(folder / "programs"), "pinmaps", str(folder / "maps"))
        pinned = sorted((folder / "programs").iterdir())
        chosen = next(each for each in pinned if program in (None, each.name))
        _inside(namespace, "bpftool", "net", "attach", "xdpgeneric", "pinned", str(chosen), "dev", interface)
        try:
            yield Generic(folder)
        finally:
            _inside(namespace, "bpftool", "net", "detach", "xdpgeneric", "dev", interface)


def mode_of(namespace: Namespace, interface: str) -> str:
    """How the kernel says that a program is attached: "generic", "driver", or empty."""
    shown = json.loads(_inside(namespace, "bpftool", "-j", "net"))
    return next((str(row["mode"]) for row in shown[0]["xdp"] if row["devname"] == interface), "")


@contextmanager
def forwarded(namespace: Namespace, left: str, right: str) -> Iterator[None]:
    """What generic XDP passes on one interface leaves by the other, unseen by the stack: cls_bpf behind it redirects."""
    with _pins() as folder, ExitStack() as stack:
        for source, target in ((left, right), (right, left)):
            _ingress(namespace, source, _redirect_to(namespace.ifindex(target)), folder / source, stack)
        yield


@contextmanager
def blocked(namespace: Namespace, interface: str) -> Iterator[None]:
    """Nothing that arrives on the interface reaches the stack: what is measured is the way to the filter alone."""
    drop = kernel_programs.move(0, 2) + kernel_programs.EXIT  # TC_ACT_SHOT
    with _pins() as folder, ExitStack() as stack:
        _ingress(namespace, interface, drop, folder / interface, stack)
        yield


def _redirect_to(ifindex: int) -> bytes:
    arguments = kernel_programs.move(1, ifindex) + kernel_programs.move(2, 0)
    return arguments + kernel_programs.call(_REDIRECT) + kernel_programs.EXIT


def _ingress(namespace: Namespace, interface: str, code: bytes, pin: Path, stack: ExitStack) -> None:
    descriptor = kernel_programs.load(code)
    try:
        name = ctypes.create_string_buffer(str(pin).encode())
        bpf(_OBJ_PIN, struct.pack("<QII", ctypes.addressof(name), descriptor, 0))
    finally:
        os.close(descriptor)
    _inside(namespace, "tc", "qdisc", "add", "dev", interface, "clsact")
    stack.callback(_inside, namespace, "tc", "qdisc", "del", "dev", interface, "clsact")
    _inside(namespace, "tc", "filter", "add", "dev", interface, "ingress", "bpf", "da", "object-pinned", str(pin))
