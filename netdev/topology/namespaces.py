"""A function run inside the network namespace of an inode number, wherever a name or a process still holds it.

Not here: making namespaces.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from netdev.errors import InterfaceError
from netdev.topology.links import namespace_inode

__all__ = ["inside"]

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000


def _candidates() -> Iterator[Path]:
    for folder in ("/run/netns", "/var/run/netns"):
        with contextlib.suppress(OSError):
            yield from sorted(Path(folder).iterdir())
    with contextlib.suppress(OSError):
        yield from (path / "ns/net" for path in Path("/proc").iterdir() if path.name.isdecimal())


def _find(inode: int) -> Path | None:
    for path in _candidates():
        with contextlib.suppress(OSError):
            if path.stat().st_ino == inode:
                return path
    return None


def inside(inode: int, function: Callable[[], T]) -> T | None:
    """What `function` returns inside the namespace, in a thread of its own if it is not ours; None when it is gone.

    InterfaceError when the namespace may not be entered, or from `function`.
    """
    if namespace_inode() == inode:
        return function()
    path = _find(inode)
    if path is None:
        return None
    results: list[T] = []
    errors: list[InterfaceError] = []

    def work() -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
                    raise InterfaceError(f"{path} cannot be entered: {os.strerror(ctypes.get_errno())}")
            finally:
                os.close(fd)
            results.append(function())
        except OSError as error:
            errors.append(InterfaceError(f"{path} cannot be entered: {error.strerror}"))
        except InterfaceError as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
