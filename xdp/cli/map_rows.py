"""The words that the commands on live maps and programs take.

Not here: what the words mean (map_words.py, prog_show.py); that is only imported by the command that runs.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Final

__all__ = ["MAP_COMMANDS", "map_words", "program_words"]

_MAP: Final = "MAP := { id NUMBER | name NAME | pinned FILE } [dev INTERFACE]; DATA := [hex] BYTE …"

MAP_COMMANDS: Final = (
    ("show", "show", "List the maps of live programs: all, one, or those of `dev INTERFACE`."),
    ("list", "show", "The same as map show."),
    ("dump", "dump", "Print all elements: MAP, or `dev INTERFACE` for all maps of an attachment."),
    ("lookup", "lookup", "Print one element: MAP key DATA."),
    ("update", "update", "Store a value: MAP key DATA value DATA [any | exist | noexist]."),
    ("delete", "delete", "Delete a key: MAP key DATA."),
    ("getnext", "getnext", "Print the key after a key, or the first: MAP [key DATA]."),
    (
        "event_pipe",
        "event_pipe",
        "Print events of a perf event array or a ring buffer as they come: MAP [cpu N index M].",
    ),
    ("pin", "pin", "Give a map a file name under which it outlives its attachment: MAP FILE."),
    ("freeze", "freeze", "Let nobody but programs write a map any more: MAP."),
)
"""Word, function in xdp.cli.map, and summary."""


def map_words(parser: ArgumentParser) -> None:
    """Any words: they are bpftool's grammar, not argparse's."""
    parser.add_argument("words", metavar="WORD", nargs="*", help=_MAP)


def program_words(parser: ArgumentParser) -> None:
    """The words of `prog show`."""
    parser.add_argument("words", metavar="WORD", nargs="*", help="id NUMBER, tag TAG, name NAME or dev INTERFACE")
