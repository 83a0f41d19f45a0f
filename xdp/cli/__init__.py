"""The command line: `main`, and what an interrupt means from its first line to the process's last.

Not here: commands (entry.py and the files of the nouns). Nothing is imported before interrupts are caught.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_INTERRUPTED = 130


class _Interrupt(KeyboardInterrupt):
    """An interrupt of a type of its own.

    After a plain KeyboardInterrupt inside exec() of text, as dataclasses do it, `python -m` kills itself by SIGINT in the end,
    although the interrupt was caught and another exit code was asked for (CPython's exit_sigint).
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Without words it runs those of the process, which is to end with that code."""
    before = signal.getsignal(signal.SIGINT)
    caught = before is signal.default_int_handler  # else somebody ignores it, or has an interest of their own
    try:
        if caught:
            signal.signal(signal.SIGINT, _interrupt)
        from xdp.cli.entry import run

        code = run(argv)
    except KeyboardInterrupt:  # before a command could tell, or a second time
        code = _INTERRUPTED
        print("xdpsim: interrupted", file=sys.stderr)
    finally:
        if caught:  # from here on the exit code is settled
            signal.signal(signal.SIGINT, signal.SIG_IGN if argv is None else before)
    return code


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Interrupt
