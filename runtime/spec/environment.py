"""The environment record that belongs to one worker and is passed beside every context.

Not here: what helpers do with it. All fields are 64-bit words; the number is the byte offset.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["ENVIRONMENT_SIZE", "ClockMode", "Env"]


class Env(IntEnum):
    """Byte offsets of the words of an environment.

    CPU: the CPU number that programs see. CLOCK: nanoseconds, what ktime helpers return in packet mode.
    CLOCK_MODE: a ClockMode. RANDOM: state of the generator, never 0. TAIL_CALLS: what is left of the budget.
    PROGRAMS: address of a table of native entry points indexed by program id (0: none); PROGRAM_COUNT its length.
    PRINTK, PRINTK_SIZE: address and size of the ring for trace_printk (0: none). PRINTK_HEAD: bytes ever written.
    SOCKET_COOKIE, PID_TGID, UID_GID: facts of the calling task, for hooks that have one.
    OWNER: what this worker writes into a lock that it holds, process id << 32 | a number that is not 0.
    ORIGIN: what a program that was made to keep origins says of its result: program id << 32 | slot of the instruction + 1.
    EXTENSION: the first of 32 words that belong to the program type's extension.
    """

    CPU = 0
    CLOCK = 8
    CLOCK_MODE = 16
    RANDOM = 24
    TAIL_CALLS = 32
    PROGRAMS = 40
    PROGRAM_COUNT = 48
    PRINTK = 56
    PRINTK_SIZE = 64
    PRINTK_HEAD = 72
    PID_TGID = 80
    UID_GID = 88
    SOCKET_COOKIE = 96
    CLOCK_READS = 104
    OWNER = 112
    ORIGIN = 120
    EXTENSION = 128


ENVIRONMENT_SIZE: Final = 128 + 32 * 8


class ClockMode(IntEnum):
    """Where ktime helpers get the time: the CLOCK word, or the system's monotonic clock."""

    PACKET = 0
    WALL = 1
