"""A cgroup of this run's own with programs for socket calls on it: the kernel's side of what a supervisor decides.

    with Cgroup() as group, hooked(OBJECTS / "firewall.o") as kernel:
        kernel.update("ports", key, value)
        kernel.attach(group, "connect4", "connect4")       # program, way; in the order of the calls
        group.run(["curl", "http://10.0.0.1/"])            # subprocess.run inside; output as text
        kernel.rows("denied")                              # keys and values as bytes

Without a mounted cgroup2, one is mounted for as long as the block lasts. What a killed process left behind is removed when the
next one starts.

Not here: what is run, and our own supervisor.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, final

from runtime.spec import MapSpec
from tests.support.kernel_maps import KernelMap, bpf
from tests.support.objects import BPFFS, answer

__all__ = ["ATTACH_TYPES", "Cgroup", "Hooked", "hooked"]

ATTACH_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "sockops": 3,
        "bind4": 8,
        "bind6": 9,
        "connect4": 10,
        "connect6": 11,
        "post_bind4": 12,
        "post_bind6": 13,
        "sendmsg4": 14,
        "sendmsg6": 15,
        "recvmsg4": 19,
        "recvmsg6": 20,
        "getpeername4": 29,
        "getpeername6": 30,
        "getsockname4": 31,
        "getsockname6": 32,
    }
)
"""Ways of <linux/bpf.h> by the last word of their sections."""

_OBJ_GET, _PROG_ATTACH, _INFO_BY_FD = 7, 8, 15
_ALLOW_MULTI = 2
_PREFIX = "xdpsim-sockets"
_numbers = itertools.count()


def _mounted() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(folder)
    return None


def _sweep(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}-*"):
        if not Path("/proc", folder.name.split("-")[2]).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


@final
class Cgroup:
    """A cgroup of the second version, empty at first; removed at the end with what is attached to it."""

    def __init__(self) -> None:
        self._own: Path | None = None
        self._number = next(_numbers)
        self.folder = Path()

    def __enter__(self) -> Self:
        root = _mounted()
        if root is None:
            root = self._own = Path(tempfile.mkdtemp(prefix=_PREFIX))
            answer("mount", "-t", "cgroup2", "none", str(root))
        if not self._number:
            _sweep(root)
        self.folder = root / f"{_PREFIX}-{os.getpid()}-{self._number}"
        self.folder.mkdir()
        self.descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        end = time.monotonic() + 5
        while True:
            try:
                self.folder.rmdir()
            except OSError:  # a process inside has not quite ended
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
            else:
                break
        if self._own:
            answer("umount", str(self._own))
            self._own.rmdir()

    def enter(self) -> None:
        """Put this process into the cgroup: for `preexec_fn`."""
        (self.folder / "cgroup.procs").write_text("0")

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """`subprocess.run` inside; output is caught as text."""
        options = {"capture_output": True, "text": True, **options}
        return subprocess.run(command, check=False, preexec_fn=self.enter, **options)


@final
class Hooked:
    """The programs and maps of an object, loaded into the kernel by libbpf."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: dict[str, KernelMap] = {}

    def attach(self, group: Cgroup, program: str, way: str) -> None:
        """Attach behind what is attached already."""
        descriptor = _pinned(self._folder / "programs" / program)
        try:
            bpf(_PROG_ATTACH, struct.pack("<4I", group.descriptor, descriptor, ATTACH_TYPES[way], _ALLOW_MULTI))
        finally:
            os.close(descriptor)

    def update(self, name: str, key: bytes, value: bytes) -> None:
        """Store an element."""
        self._map(name).update(key, value)

    def rows(self, name: str) -> dict[bytes, bytes]:
        """Keys and values."""
        return dict(self._map(name).items())

    def close(self) -> None:
        """Let go of the maps."""
        for each in self._maps.values():
            each.close()

    def _map(self, name: str) -> KernelMap:
        if name not in self._maps:
            self._maps[name] = _open(self._folder / "maps" / name)
        return self._maps[name]


def _pinned(path: Path) -> int:
    text = ctypes.create_string_buffer(str(path).encode())
    return bpf(_OBJ_GET, struct.pack("<QII", ctypes.addressof(text), 0, 0))


def _open(path: Path) -> KernelMap:
    descriptor = _pinned(path)
    info = ctypes.create_string_buffer(128)
    bpf(_INFO_BY_FD, struct.pack("<IIQ", descriptor, len(info), ctypes.addressof(info)))
    kind, _, key_size, value_size, max_entries, flags = struct.unpack_from("<6I", info)
    spec = MapSpec(
        name=path.name,
        kind=kind,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
    )
    return KernelMap.opened(spec, descriptor)


@contextlib.contextmanager
def hooked(path: Path) -> Iterator[Hooked]:
    """The object in the kernel until the block ends; what was attached goes with its cgroup."""
    folder = BPFFS / f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    loaded = Hooked(folder)
    try:
        answer("bpftool", "prog", "loadall", str(path), str(folder / "programs"), "pinmaps", str(folder / "maps"))
        yield loaded
    finally:
        loaded.close()
        shutil.rmtree(folder, ignore_errors=True)
