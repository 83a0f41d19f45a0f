"""A progress bar for what takes longer than a second, and word of compilations, on a terminal only.

Not here: what is measured.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from xdp.cli.output import Output

__all__ = ["progress_bar", "telling_of_compilation", "watched"]

_PATIENCE: Final = 1.0
_COMPILING: Final = "xdpsim: compiling native code; it takes some seconds the first time, and is kept"


@contextmanager
def progress_bar(output: Output, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Gives a function (done, all) that shows a bar from the second second on; None where nobody watches."""
    if not watched(output):
        yield None
        return
    started = time.monotonic()
    shown: list[Any] = []

    def advance(done: int, total: int) -> None:
        if not shown:
            if time.monotonic() - started < _PATIENCE:
                return
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            shown.extend((bar, bar.add_task(what, total=total)))
        bar, task = shown
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        if shown:
            shown[0].stop()


def watched(output: Output) -> bool:
    """Whether somebody sits before this command's terminal and is not a reader of JSON."""
    return not output.json and sys.stderr.isatty()


@contextmanager
def telling_of_compilation(tell: Callable[[str], None] | None) -> Iterator[None]:
    """Give `tell` one line when natives are first compiled within; with None, nobody is told."""
    if tell is None:
        yield
        return
    from runtime.native import before_compiling

    with before_compiling(lambda: tell(_COMPILING)):
        yield
