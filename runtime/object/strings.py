"""A table of NUL-terminated strings, as ELF and BTF hold them, read by offset.

Not here: who refers to the strings.
"""

from __future__ import annotations

from typing import Final, final

from runtime.errors import ObjectError

__all__ = ["StringTable"]

# Strings may share tails, but a file in which the sum of all strings is many times the table is an attack on memory.
_SHARING: Final = 16
_SLACK: Final = 1 << 16


@final
class StringTable:
    """Strings by byte offset; each is decoded once. `what` names the table in messages."""

    __slots__ = ("_budget", "_cache", "_data", "_what")

    def __init__(self, data: bytes, *, what: str) -> None:
        self._data = data
        self._what = what
        self._cache: dict[int, str] = {}
        self._budget = len(data) * _SHARING + _SLACK

    def at(self, offset: int) -> str:
        """The string that starts at `offset`; bytes that are no printable UTF-8 come out escaped. Raises ObjectError."""
        found = self._cache.get(offset)
        if found is None:
            found = self._cache[offset] = self._read(offset)
        return found

    def _read(self, offset: int) -> str:
        if offset == 0 and not self._data:
            return ""
        end = self._data.find(b"\0", offset) if 0 <= offset < len(self._data) else -1
        if end < 0:
            raise ObjectError(f"{self._what}: no string at offset {offset} of {len(self._data)} bytes")
        self._budget -= end - offset
        if self._budget < 0:
            raise ObjectError(f"{self._what}: its strings overlap far more than any compiler makes them")
        text = self._data[offset:end].decode("utf-8", "backslashreplace")
        return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
