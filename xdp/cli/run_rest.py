"""The processes that a command leaves behind: they come to us instead of to process 1, so that they can be found and waited for.

Not here: supervision of their calls.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["adopt", "descendants", "reap"]

_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt() -> None:
    """From now on orphans among our descendants become our children (prctl(2)); where that is refused, they do not."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int | None = None) -> Iterator[int]:
    """The living processes that this process (or that one) has started, and those that they have."""
    for child in _children(os.getpid() if pid is None else pid):
        if _lives(child):
            yield child
        yield from descendants(child)


def reap(but: int) -> None:
    """Take the exit codes of children that have ended, except that one's."""
    for child in _children(os.getpid()):
        if child != but and not _lives(child):
            with suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False
