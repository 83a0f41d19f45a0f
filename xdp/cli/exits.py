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
    INTERNAL: our bug. INTERRUPTED: SIGINT. TERMINATED: SIGTERM. PIPE: nobody reads the output any more.
    """

    OK = 0
    REJECTED = 1
    USAGE = 2
    INPUT = 3
    SYSTEM = 4
    INTERNAL = 70
    INTERRUPTED = 130
    PIPE = 141
    TERMINATED = 143
