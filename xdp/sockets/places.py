"""Network namespaces and cgroups by the names that people use, and which cgroups a cgroup lies in.

Not here: which programs are asked where (chain, decide).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Final

from runtime.errors import InputError

__all__ = ["cgroup_number", "depth_of", "lineage_of", "netns_cookie"]

_SO_NETNS_COOKIE: Final = 71
_FILEID_KERNFS: Final = 0xFE
_MOST_LEVELS: Final = 64


def netns_cookie(place: str | int | os.PathLike[str]) -> int:
    """The cookie (SO_NETNS_COOKIE) of a network namespace.

    It is named by its inode number, by its name in /run/netns (`ip netns`), or by a path as /proc/PID/ns/net. Raises InputError.
    """
    inode = place if isinstance(place, int) else _namespace_inode(os.fspath(place))
    from netdev.errors import InterfaceError
    from netdev.topology import inside

    try:
        found = inside(inode, _cookie)
    except InterfaceError as error:
        raise InputError(f"network namespace {place}: {error}") from error
    if found is None:
        raise InputError(f"network namespace {place}: no name and no process holds it")
    return found


def _namespace_inode(name: str) -> int:
    if name.isdecimal():
        return int(name)
    path = Path(name) if "/" in name else Path("/run/netns", name)
    try:
        return path.stat().st_ino
    except OSError as error:
        raise InputError(f"network namespace {name}: {error.strerror}") from error


def _cookie() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asked:
        cookie: int = struct.unpack("=Q", asked.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0]
        return cookie


def _root() -> Path | None:
    """Where the hierarchy is mounted."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(errors="replace").splitlines():
            _, folder, kind, *_ = line.split()
            if kind == "cgroup2":
                return Path(folder.encode().decode("unicode_escape"))
    return None


def cgroup_number(place: str | int | os.PathLike[str]) -> int:
    """The id of a cgroup, named by its id or by its folder; a path in the hierarchy ("/a/b") will do. Raises InputError."""
    if isinstance(place, int):
        return place
    if os.fspath(place).isdecimal():
        return int(os.fspath(place))
    root = _root()
    path = Path(place)
    if root is not None and not path.is_relative_to(root):
        path = root / str(path).lstrip("/")
    try:
        found = path.stat()
        if not path.is_dir() or root is None or found.st_dev != root.stat().st_dev:
            raise InputError(f"cgroup {place}: {path} is no folder of the hierarchy (cgroup2)")
    except OSError as error:
        raise InputError(f"cgroup {place}: {error.strerror}") from error
    return found.st_ino


def _upwards(folder: Path, root: Path) -> tuple[int, ...]:
    """The ids from a folder up to the root."""
    found: list[int] = []
    while len(found) < _MOST_LEVELS:
        found.append(folder.stat().st_ino)
        if folder == root:
            break
        folder = folder.parent
    return tuple(found)


def lineage_of(number: int, tid: int) -> tuple[int, ...]:
    """The id of a thread's cgroup and of those that it lies in, from the inside out; only `number` where that cannot be seen.

    What lies above a cgroup never changes, so this holds for all that have the number.
    """
    root = _root()
    if root is None:
        return (number,)
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{tid}/cgroup").read_text(errors="replace").splitlines():
            if line.startswith("0::/") and not line.startswith("0::/.."):
                found = _upwards(root / line[4:], root)
                if found[0] == number:
                    return found
    return _opened(number, root) or (number,)


def depth_of(number: int) -> int:
    """How deep a cgroup lies, 1 for the root; 0 when it is unknown."""
    root = _root()
    return len(_opened(number, root)) if root is not None else 0


class _Handle(ctypes.Structure):
    """struct file_handle of a folder in the hierarchy."""

    _fields_ = (("size", ctypes.c_uint), ("type", ctypes.c_int), ("number", ctypes.c_uint64))


def _opened(number: int, root: Path) -> tuple[int, ...]:
    """The lineage by number alone, which takes CAP_DAC_READ_SEARCH; empty where that is not given."""
    libc = ctypes.CDLL(None, use_errno=True)
    mount = -1
    try:
        mount = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        handle = _Handle(8, _FILEID_KERNFS, number)
        folder = libc.open_by_handle_at(mount, ctypes.byref(handle), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if folder < 0:
            return ()
        try:
            return _upwards(Path(f"/proc/self/fd/{folder}").readlink(), root)
        finally:
            os.close(folder)
    except OSError:
        return ()
    finally:
        if mount >= 0:
            os.close(mount)
