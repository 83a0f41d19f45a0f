"""A command under supervision: started behind its filter, waited for as a shell waits.

Not here: what runs in the new process before the command (launch).
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

from netdev.errors import InterfaceError
from netdev.interpose.calls import Own
from netdev.interpose.system import duplicate

__all__ = ["Child", "start"]

_LAUNCH: Final = str(Path(__file__).with_name("launch.py"))


@final
class Child:
    """A supervised command."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """With the pipes that were asked for."""
        return self._process

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; 128 + n after signal n. Raises TimeoutError."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s") from None
        return 128 - code if code < 0 else code

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def start(
    arguments: Sequence[str | bytes],
    filter_: bytes,
    *,
    env: Mapping[str, str] | None,
    privileged: bool,
    files: tuple[int, int],
    mask: Collection[int] | None,
    options: Mapping[str, Any],
) -> tuple[Child, int]:
    """Start a command behind a filter; the command and our descriptor of its listener.

    `files` are its limits (soft, hard) of open files, `mask` the signals that it begins with blocked (None: as this thread).
    Raises InterfaceError when the kernel refuses the filter.
    """
    order = {
        "number": int(Own.SECCOMP),
        "filter": filter_,
        "privileged": privileged,
        "files": files,
        "mask": None if mask is None else [int(each) for each in mask],
        "arguments": [os.fsencode(word) for word in arguments],
        "environment": {os.fsencode(k): os.fsencode(v) for k, v in (os.environ if env is None else env).items()},
    }
    orders, answers, goes = os.pipe(), os.pipe(), os.pipe()
    theirs = (orders[0], answers[1], goes[0])
    keep = tuple(options.get("pass_fds", ()))
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH, *map(str, theirs)],
            **{**options, "pass_fds": (*theirs, *keep)},
        )
    except BaseException:
        for descriptor in (*orders, *answers, *goes):
            os.close(descriptor)
        raise
    for descriptor in theirs:
        os.close(descriptor)
    try:
        listener = _listener(process, marshal.dumps(order), orders[1], answers[0])
        with contextlib.suppress(BrokenPipeError):
            os.write(goes[1], b"g")
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(answers[0])
        os.close(goes[1])
    return Child(process), listener


def _listener(process: subprocess.Popen[bytes], order: bytes, orders: int, answers: int) -> int:
    with open(orders, "wb") as pipe, contextlib.suppress(BrokenPipeError):
        pipe.write(order)
    text = os.read(answers, 32)
    number = int(text) if text else -errno.ECHILD
    if number < 0:
        raise InterfaceError(_reason(-number))
    pidfd = os.pidfd_open(process.pid)
    try:
        listener = duplicate(pidfd, number)
    finally:
        os.close(pidfd)
    if listener < 0:
        raise InterfaceError(f"the listener of process {process.pid} is out of reach: {os.strerror(-listener)}")
    return listener


def _reason(number: int) -> str:
    if number == errno.EBUSY:
        return (
            "this process is supervised itself, and the kernel allows one supervisor only: run it outside of the other"
        )
    if number == errno.ENOSYS:
        return "this kernel has no seccomp filters that notify"
    return f"the kernel refuses the filter: {os.strerror(number)}"
