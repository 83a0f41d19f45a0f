"""All helpers of Linux as rows: what verification must know of them.

Not here: natives. A row says what a helper takes and gives; who can run one replaces `native`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from runtime.helpers.linux_table import TABLE
from runtime.spec import Arg, ArgType, Callback, Given, Helper, Prototype, ReturnType

__all__ = ["LINUX_HELPERS", "linux_helper"]

_ARGUMENT: Final = re.compile(r"([a-z_]+)(?:=([a-z0-9_]+))?(\??)(!?)(-?)(@?)(?::([0-9]+))?")
_ARG_TYPES: Final = {each.value: each for each in ArgType}
_RETURNS: Final = {each.value: each for each in ReturnType}


_ELEMENTS: Final = (Given.MAP, Given.KEY, Given.VALUE)
_CALLBACKS: Final = {
    164: Callback(function=2, given=(*_ELEMENTS, 3), elements=1),
    170: Callback(function=2, given=_ELEMENTS, returns=(0, 0), later=True),
    180: Callback(function=3, given=(Given.OBJECT, Given.OBJECT, 4)),
    209: Callback(function=2, given=(Given.OBJECT, 3)),
    181: Callback(function=2, given=(Given.INDEX, 3), count=1),
}
_ELEMENT_MAPS: Final = (1, 2, 5, 6, 9, 10)
"""The types of maps whose elements are visited: hashes and arrays, also by CPU, also with the least recent dropped."""


def _argument(text: str) -> Arg:
    parts = _ARGUMENT.fullmatch(text)
    assert parts is not None, text
    kind, struct, nullable, writes, releases, address, size = parts.groups()
    return Arg(
        _ARG_TYPES[kind],
        nullable=bool(nullable),
        writes=bool(writes),
        size=int(size or 0),
        releases=bool(releases),
        struct=_struct(struct or ""),
        address=bool(address),
    )


def _struct(name: str) -> str:
    return f"struct {name}" if name else ""


def _size_argument(arguments: Sequence[str]) -> int:
    return 1 + next(at for at, each in enumerate(arguments) if each.startswith("const_size"))


def _row(line: str) -> Helper:
    what, _, effects = line.partition("/")
    number, name, result, *arguments = what.split()
    flags = frozenset(effects.split())
    result, _, struct = result.partition("=")
    return Helper(
        id=int(number),
        name=name.removeprefix("*"),
        prototype=Prototype(
            args=tuple(_argument(each) for each in arguments),
            ret=_RETURNS[result],
            packet_access="packet" in flags,
            invalidates_packet="moves" in flags,
            gpl_only="gpl" in flags,
            acquires="acquires" in flags,
            casts="casts" in flags,
            struct=_struct(struct),
            locks="locks" in flags,
            unlocks="unlocks" in flags,
            at_most=_size_argument(arguments) if "counts" in flags else 0,
        ),
        moves_packet="moves" in flags and name != "tail_call",
        map_types=_ELEMENT_MAPS if name == "for_each_map_elem" else (),
        callback=_CALLBACKS.get(int(number)),
    )


LINUX_HELPERS: Final[tuple[Helper, ...]] = tuple(_row(line) for line in TABLE.strip().splitlines())
"""In order of number. Helpers that only one hook has are named without the hook's prefix (number 44: "adjust_head")."""

_BY_NUMBER: Final = {each.id: each for each in LINUX_HELPERS}


def linux_helper(number: int) -> Helper:
    """The row of a helper, to be completed with `dataclasses.replace`; raises KeyError for numbers Linux has not."""
    return _BY_NUMBER[number]
