"""The words after `xdpsim map COMMAND`, in bpftool's grammar.

    MAP   := { id NUMBER | name NAME | pinned FILE } [dev INTERFACE] | dev INTERFACE
    DATA  := [hex] BYTE …          as many as the key or value has
    key DATA   value DATA   any | exist | noexist

Not here: opening maps and what is done with them (map.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn, final

from runtime.errors import InputError
from runtime.maps import Map
from runtime.spec import UpdateFlag
from xdp.live import maps as live
from xdp.live.registry import State

__all__ = ["Handle", "Words", "data_words", "find", "handle"]

_HANDLES: Final = ("id", "name", "pinned", "dev")
_FLAGS: Final = {"any": UpdateFlag.ANY, "exist": UpdateFlag.EXIST, "noexist": UpdateFlag.NOEXIST}


@final
class Words:
    """Words that are taken from the front."""

    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0

    @property
    def next(self) -> str | None:
        """The word in front, or None when there is none left."""
        return self._words[self._at] if self._at < len(self._words) else None

    def take(self, what: str) -> str:
        """The word in front; raises InputError that says what is missing."""
        word = self.next
        if word is None:
            raise InputError(f"{what} is missing")
        self._at += 1
        return word

    def end(self) -> None:
        """Raises InputError when there is a word left."""
        if self.next is not None:
            raise InputError(f"unexpected word {self.next!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """What the words say of a map: its number, name or file, and whose it is. `several`: it may name more than one."""

    number: int | None = None
    name: str | None = None
    pinned: str | None = None
    device: str | None = None

    @property
    def several(self) -> bool:
        """Whether the handle asks for a list."""
        return self.number is None and self.name is None and self.pinned is None

    def __str__(self) -> str:
        parts = {"id": self.number, "name": self.name, "pinned": self.pinned, "dev": self.device}
        return " ".join(f"{word} {value}" for word, value in parts.items() if value is not None)


def handle(words: Words) -> Handle:
    """The MAP in front; raises InputError."""
    found: dict[str, str] = {}
    while words.next in _HANDLES:
        word = words.take("a map")
        if word in found or (word != "dev" and found.keys() - {"dev"}):
            raise InputError(f"{word!r}: one map at a time")
        found[word] = words.take(f"what follows {word!r}")
    if not found:
        _no_handle(words)
    number = found.get("id")
    if number is not None and not (number.isascii() and number.isdigit()):
        raise InputError(f"can't parse {number!r} as the number of a map")
    return Handle(
        number=int(number) if number is not None else None,
        name=found.get("name"),
        pinned=found.get("pinned"),
        device=found.get("dev"),
    )


def _no_handle(words: Words) -> NoReturn:
    got = f", got: {words.next!r}" if words.next is not None else ""
    raise InputError(f"expected 'id', 'name', 'pinned' or 'dev'{got}")


def find(wanted: Handle) -> tuple[live.FoundMap, ...]:
    """The live maps that the handle (not `pinned`) names; raises InputError when there is none."""
    state = State()
    known = live.live_maps(state)
    if wanted.device is not None:
        holder = state.get(wanted.device)
        known = tuple(each for each in known if any(one.id == holder.id for one in each.holders))
    fitting = tuple(
        each
        for each in known
        if (wanted.number is None or each.live.id == wanted.number)
        and (wanted.name is None or each.live.name == wanted.name)
    )
    if not fitting and not wanted.several:
        there = ", ".join(f"{each.live.id} ({each.live.name})" for each in known)
        raise InputError(f"there is no live map with {wanted}; there is {there or 'none'}")
    return fitting


def data_words(
    words: Words, opened: Map, *, key: bool, value: bool = False, optional: bool = False
) -> tuple[bytes | None, bytes | None, UpdateFlag]:
    """Key, value (for per-CPU maps one that is stored on every CPU) and flags, as far as the command takes them.

    Raises InputError that says which is missing, too much, or of the wrong size.
    """
    spec = opened.spec
    found: dict[str, bytes] = {}
    flags: UpdateFlag | None = None
    while (word := words.next) is not None:
        if word in ("key", "value"):
            words.take(word)
            if word in found:
                raise InputError(f"{word} is given twice")
            if not (key if word == "key" else value) or (word == "key" and not spec.key_size):
                raise InputError(f"unnecessary {word}")
            if word == "value":
                _must_be_data(opened)
            found[word] = _data(words, word, spec.key_size if word == "key" else spec.value_size)
        elif value and word in _FLAGS and flags is None:
            flags = _FLAGS[words.take(word)]
        else:
            raise InputError(f"expected {'key or value' if value else 'key'}, got: {word!r}")
    if key and not optional and "key" not in found:
        raise InputError(f"did not find key: key and {spec.key_size} bytes")
    if value and "value" not in found:
        _must_be_data(opened)
        raise InputError(f"did not find value: value and {spec.value_size} bytes")
    return found.get("key"), found.get("value"), flags if flags is not None else UpdateFlag.ANY


def _must_be_data(opened: Map) -> None:
    if opened.kind.value_is == "program":
        raise InputError(
            f"map {opened.name!r} holds programs of the process that runs it: replace the object to change them"
        )


def _data(words: Words, what: str, size: int) -> bytes:
    base = 0
    if words.next == "hex":
        words.take("hex")
        base = 16
    data = bytearray()
    while len(data) < size and (word := words.next) is not None:
        number = _number(word, base)
        if number is None:
            if word in ("key", "value", *_FLAGS):
                break
            raise InputError(f"error parsing byte: {word}")
        words.take(what)
        data.append(number)
    if len(data) != size:
        raise InputError(f"{what} expected {size} bytes got {len(data)}")
    if (word := words.next) is not None and _number(word, base) is not None:
        raise InputError(f"{what} expected {size} bytes got more: {word}")
    return bytes(data)


def _number(word: str, base: int) -> int | None:
    """A byte as strtoul reads it: decimal, 0x…, or 0… octal; None for other words and larger numbers."""
    if not word.isascii() or not word[:1].isalnum() or "_" in word:
        return None
    try:
        number = int(word, 8 if base == 0 and word.startswith("0") and word.isdigit() else base)
    except ValueError:
        return None
    return number if number <= 0xFF else None
