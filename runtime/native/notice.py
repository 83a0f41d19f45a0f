"""Word of a compilation to whoever waits for it: it takes seconds, once.

Not here: what is done with the word, and compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["announce", "before_compiling"]

_listener: ContextVar[Callable[[], None] | None] = ContextVar("_listener", default=None)


@contextmanager
def before_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` within this context when a native is first to be compiled because the cache does not hold it; once."""
    token = _listener.set(tell)
    try:
        yield
    finally:
        _listener.reset(token)


def announce() -> None:
    """What the compiler calls before it compiles."""
    tell = _listener.get()
    if tell is not None:
        _listener.set(None)
        tell()
