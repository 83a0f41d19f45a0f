"""What lies behind an event record while programs decide about it: environment, context, socket, and notes.

Not here: the record itself (netdev.interpose). All offsets count from the record's beginning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from netdev.interpose import EVENT_ROOM, EVENT_SIZE
from runtime.spec import ENVIRONMENT_SIZE, Env

__all__ = ["CONTEXT_ROOM", "LONGEST_REDIRECT", "LONGEST_TEXT", "PRINTED_ROOM", "Room", "Word"]

CONTEXT_ROOM: Final = 256
LONGEST_REDIRECT: Final = 512
"""Bytes of a redirect context."""
LONGEST_TEXT: Final = 4096
"""Bytes of the path of a program (PATH_MAX)."""
PRINTED_ROOM: Final = 1024
"""Bytes of what programs print during one call; of more, the last are kept."""


class Room(IntEnum):
    """Byte offsets, from the beginning of the record.

    ENVIRONMENT: an environment (runtime.spec.Env) of the worker that holds the record; MADE_BY: the table that it was made for.
    CONTEXT: what the program is handed. SOCKET: a struct bpf_sock. SAVED: the call's addresses and their lengths before the program, ORIGINAL: before all programs.
    RETVAL: what set_retval said. RESULT: what the program returned. VERDICT: what a chain came to. REDIRECT_SIZE and REDIRECT:
    what was left by set_redirect_context. TEXT_SIZE, TEXT: the path of the caller's program, PATH to it in /proc.
    CGROUPS: a set of those cgroups with programs that the caller is in. FREE_PORT: 1 when a program said that the port needs no
    privilege. PRINTED: the ring of trace_printk.
    """

    ENVIRONMENT = EVENT_SIZE
    CONTEXT = EVENT_SIZE + ENVIRONMENT_SIZE
    SOCKET = EVENT_SIZE + ENVIRONMENT_SIZE + CONTEXT_ROOM
    SAVED = SOCKET + 96
    ORIGINAL = SAVED + 288
    SCRATCH = ORIGINAL + 288
    MADE_BY = SCRATCH + 32
    RETVAL = MADE_BY + 8
    RESULT = MADE_BY + 16
    VERDICT = MADE_BY + 24
    REDIRECT_SIZE = MADE_BY + 32
    TEXT_SIZE = MADE_BY + 40
    PATH = MADE_BY + 48
    REDIRECT = PATH + 48
    TEXT = REDIRECT + LONGEST_REDIRECT
    CGROUPS = TEXT + LONGEST_TEXT
    FREE_PORT = CGROUPS + 8
    PRINTED = CGROUPS + 16
    END = PRINTED + PRINTED_ROOM


assert Room.END <= EVENT_ROOM


class Word(IntEnum):
    """Byte offsets of words of the environment that belong to these programs. RECORD: the address of the event record.

    OBSERVE: 1 when nothing is enforced; helpers that change the socket then only say that they have.
    """

    RECORD = Env.EXTENSION
    OBSERVE = Env.EXTENSION + 8
