"""Signals to a command's supervisor are the command's, as if env(1) had run it.

While a `Relay` is entered, they are blocked in this thread and taken by `wait`. One from the terminal's keys has reached
the command already, as it is in the same process group; it is not passed on twice.

Not here: what is waited for (run.py).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self, final

__all__ = ["RELAYED", "Relay", "held_back"]

RELAYED: Final = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
)
_KEYS: Final = frozenset({signal.SIGINT, signal.SIGQUIT})
_FROM_KERNEL: Final = 0x80  # SI_KERNEL


@contextmanager
def held_back() -> Iterator[None]:
    """In here they wait: threads that are made keep them blocked, and so never take a signal that a `Relay` waits for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*RELAYED, signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@final
class Relay:
    """`mask` is what was blocked before. To be entered before threads are made, so that they have them blocked, too."""

    def __init__(self) -> None:
        self.mask: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {*RELAYED, signal.SIGCHLD})
        self.mask = frozenset(map(int, blocked))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        while signal.sigtimedwait(RELAYED, 0) is not None:
            pass  # what came too late has nobody to go to any more
        signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)

    def wait(self, seconds: float, receivers: Iterable[int]) -> int:
        """Pass one signal on to these processes, if one comes in that time (or a child ends: that ends the wait, too).

        Returns the signal, or 0.
        """
        found = signal.sigtimedwait({*RELAYED, signal.SIGCHLD}, seconds)
        if found is None or found.si_signo == signal.SIGCHLD:
            return 0
        if not (found.si_code == _FROM_KERNEL and found.si_signo in _KEYS):
            for pid in receivers:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, found.si_signo)
        return int(found.si_signo)
