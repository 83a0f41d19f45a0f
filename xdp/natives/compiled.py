"""A native as a function of one word that is machine code from its first call on.

Not here: which natives there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from runtime.native import Library, NativeFunction

__all__ = ["Compiled"]


@final
class Compiled:
    """A native of the library that `library` gives; calls release the interpreter's lock."""

    __slots__ = ("_library", "_native")

    def __init__(self, native: NativeFunction, library: Callable[[], Library]) -> None:
        self._native = native
        self._library = library

    def __call__(self, job: int) -> int:
        """Run it over the job at that address."""
        return self._library()[self._native](job)
