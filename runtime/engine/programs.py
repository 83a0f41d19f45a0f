"""The table through which tail calls leave one program for another: native entries by process-wide program id.

Not here: program arrays; they hold ids. Entries are compiled only when some program of the process makes tail calls.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from threading import RLock
from typing import Final, final

from runtime.errors import UnsupportedError
from runtime.native import memory
from runtime.spec import Env

__all__ = ["PROGRAMS", "ProgramTable"]

_CAPACITY: Final = 1 << 20
_SLOT: Final = 8


@final
class ProgramTable:
    """Entries by id at a fixed address; 0 where there is none, so that a tail call there fails."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _CAPACITY * _SLOT)  # pages that are never touched cost nothing
        self._slots = (ctypes.c_uint64 * _CAPACITY).from_buffer(self._map)
        self._entries: dict[int, Callable[[], int]] = {}
        self._lock = RLock()
        self._wanted = False

    def add(self, number: int, entry: Callable[[], int]) -> None:
        """Make a program reachable; `entry` gives its native address when it is first needed.

        Raises UnsupportedError when there are more programs than the table holds.
        """
        if not 0 < number < _CAPACITY:
            raise UnsupportedError(f"program id {number}: tail calls reach ids below {_CAPACITY}")
        with self._lock:
            self._entries[number] = entry
            if self._wanted:
                self._slots[number] = entry()

    def remove(self, number: int) -> None:
        """Forget a program."""
        with self._lock:
            self._slots[number] = 0
            self._entries.pop(number, None)

    def publish(self) -> None:
        """From now on, keep every entry in the table: some program makes tail calls."""
        with self._lock:
            if self._wanted:
                return
            self._wanted = True
            for number, entry in self._entries.items():
                self._slots[number] = entry()

    def bind(self, environment: int) -> None:
        """Tell a worker's environment where the table is."""
        memory.store(environment + Env.PROGRAMS, 8, ctypes.addressof(self._slots))
        memory.store(environment + Env.PROGRAM_COUNT, 8, _CAPACITY)


PROGRAMS: Final = ProgramTable()
"""The one table of the process, as ids are the process's."""
