"""Exit codes: what a script may rely on.

Not here: messages.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Exit"]


class Exit(IntEnum):
    """What the process ends with.

    OK: it was done. REJECTED: a program was not accepted, or two engines differ, or there is no such key. USAGE: the words of the command are off.
    INPUT: an object, capture or map file is at fault, or does not go with what is attached.
    SYSTEM: the system or an interface refused (permission, disk, memory, kernel).
    SUPERVISOR, NOT_EXECUTABLE, NOT_FOUND: of `run`, whose exit code is its command's otherwise: everything that went wrong
    here, and a command that cannot be run, or that there is none of, as env(1) has it.
    INTERNAL: our bug. INTERRUPTED: SIGINT. TERMINATED: SIGTERM. PIPE: nobody reads the output any more.
    """

    OK = 0
    REJECTED = 1
    USAGE = 2
    INPUT = 3
    SYSTEM = 4
    INTERNAL = 70
    SUPERVISOR = 125
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130
    PIPE = 141
    TERMINATED = 143
