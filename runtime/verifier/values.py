"""What a register can hold: a kind, and what is known about the value of that kind.

Not here: what numbers are (domains/) and where values are kept (state.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from runtime.verifier.domains import DOMAIN, Scalar

__all__ = [
    "CONTEXT",
    "MAX_LENGTH",
    "NOT_NULL",
    "NUMBER_KINDS",
    "RELEASED",
    "STALE",
    "UNINIT",
    "UNKNOWN",
    "ZERO",
    "Kind",
    "Length",
    "Progress",
    "Value",
    "number",
]


class Kind(IntEnum):
    """The kinds of values."""

    UNINIT = 0
    STALE = 1
    NUMBER = 2
    CONTEXT = 3
    STACK = 4
    PACKET = 5
    PACKET_END = 6
    PACKET_META = 7
    MAP = 8
    MAP_VALUE = 9
    MAP_VALUE_OR_NULL = 10
    FUNCTION = 11
    OPAQUE = 12
    HALF = 13
    OBJECT = 14
    OBJECT_OR_NULL = 15
    MEMORY = 16
    MEMORY_OR_NULL = 17
    MAP_OR_NULL = 18
    RELEASED = 19
    MAP_KEY = 20
    CONTEXT_PART = 21

    @property
    def words(self) -> str:
        """The kind in a sentence."""
        return _WORDS[self]


_WORDS: Final = {
    Kind.UNINIT: "not initialised",
    Kind.STALE: "a packet pointer from before the packet moved",
    Kind.NUMBER: "a number",
    Kind.CONTEXT: "the context",
    Kind.STACK: "a pointer to the stack",
    Kind.PACKET: "a pointer into the packet",
    Kind.PACKET_END: "the end of the packet",
    Kind.PACKET_META: "a pointer to the packet's metadata",
    Kind.MAP: "a map",
    Kind.MAP_VALUE: "a pointer to a map value",
    Kind.MAP_VALUE_OR_NULL: "a pointer to a map value or null",
    Kind.FUNCTION: "a function",
    Kind.OPAQUE: "a kernel object",
    Kind.HALF: "the low half of a packet pointer",
    Kind.OBJECT: "a pointer to a kernel object",
    Kind.OBJECT_OR_NULL: "a pointer to a kernel object or null",
    Kind.MEMORY: "a pointer to memory that a helper gave",
    Kind.MEMORY_OR_NULL: "a pointer to memory that a helper gave or null",
    Kind.MAP_OR_NULL: "a map or null",
    Kind.RELEASED: "a pointer to what was given back",
    Kind.MAP_KEY: "a pointer to the key of an element",
    Kind.CONTEXT_PART: "the context, moved by a variable amount",
}


class Length(NamedTuple):
    """A number that is `end of packet - (base of `base` + `offset`)`."""

    base: int
    offset: int


class Progress(NamedTuple):
    """A number that is what `component` was when the loop `loop` began its round, plus something in [low, high]."""

    loop: int
    component: int
    low: int
    high: int


class Value(NamedTuple):
    """A register's contents.

    Numbers: `number` is the value; those with the same `id` (not 0) differ by constants: value = unknown(id) + `offset`,
    modulo 2**32 where the id is negative, which says that the value itself has no more bits;
    `length` is set when the number is a distance to the packet's end. `needs` are the components of the last checkpoint
    (a bit each, see demand.py) that it was computed from. `progress` is set inside a loop that is being proven.
    Pointers: base + `number` (the variable part) + `offset`. `id` names the base of a packet pointer or the lookup that made an
    or-null pointer; after the test for null it stays with maps, and with values that may be locked, whose ids are negative.
    `target` is the frame of a stack pointer, the index of a map, the slot of a function, the index of a kernel object's struct, the
    size of memory. `ref` is the reference that keeps what is pointed to (references.py), 0 where nothing must.
    """

    kind: Kind
    number: Scalar
    offset: int = 0
    id: int = 0
    target: int = 0
    length: Length | None = None
    needs: int = 0
    progress: Progress | None = None
    ref: int = 0


MAX_LENGTH: Final = 1 << 19
"""No region that programs reach is longer, in bytes; rows of contexts say how long theirs may be."""
ZERO: Final = DOMAIN.const(0)
UNINIT: Final = Value(Kind.UNINIT, ZERO)
STALE: Final = Value(Kind.STALE, ZERO)
RELEASED: Final = Value(Kind.RELEASED, ZERO)
UNKNOWN: Final = Value(Kind.NUMBER, DOMAIN.unknown)
CONTEXT: Final = Value(Kind.CONTEXT, ZERO)
NUMBER_KINDS: Final = frozenset({Kind.NUMBER})
NOT_NULL: Final = {
    Kind.MAP_VALUE_OR_NULL: Kind.MAP_VALUE,
    Kind.OBJECT_OR_NULL: Kind.OBJECT,
    Kind.MEMORY_OR_NULL: Kind.MEMORY,
    Kind.MAP_OR_NULL: Kind.MAP,
}
"""What pointers that may be null are when they are not."""


def number(scalar: Scalar, needs: int) -> Value:
    """A number that is linked to no other, computed from those components; 0 for what no register decided."""
    return Value(Kind.NUMBER, scalar, 0, 0, 0, None, needs)
