"""What closures of instructions share: their type, what they may ask the exploration for, values made quickly.

Not here: any instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from runtime.verifier.domains import Scalar
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.state import State
from runtime.verifier.values import UNKNOWN, Kind, Value

__all__ = ["GENERIC", "NUMBER", "Closure", "Run", "linked", "moved", "plain"]

GENERIC: Final = -2
"""No slot: the instruction was not carried out."""
NUMBER: Final = Kind.NUMBER
_OFFSET, _ID, _TARGET, _NEEDS = map(Value._fields.index, ("offset", "id", "target", "needs"))
_REST: Final = UNKNOWN[_NEEDS + 1 :]
_new: Final = tuple.__new__  # a step has microseconds, and Value's own ways take one

Closure = Callable[[State], int]


class Run(Protocol):
    """The exploration that the closures are for; its notebook changes."""

    platform: Platform
    notebook: Notebook

    def judge(self, state: State, pc: int) -> None:
        """Raise Rejected unless every obligation of the instruction holds."""

    def goes(self, state: State, pc: int, sides: tuple[State | None, State | None], target: int) -> int:
        """Note which sides of a branch are possible; returns the slot to go on at, or that the path ends."""


def plain(scalar: Scalar, needs: int) -> Value:
    """A number that is linked to no other (values.number, faster)."""
    return _new(Value, (NUMBER, scalar, 0, 0, 0, None, needs) + _REST)  # noqa: RUF005  faster than unpacking


def linked(notebook: Notebook, registers: list[Value], source: int) -> Value:
    """The value in a register; an unknown number gets a name, so that copies are followed."""
    value = registers[source]
    if value.kind is NUMBER and not value.id and value.number.const is None:
        value = registers[source] = _new(Value, value[:_OFFSET] + (0, notebook.fresh_id()) + value[_TARGET:])  # noqa: RUF005
    return value


def moved(pointer: Value, delta: int) -> Value:
    """The pointer, so many bytes further."""
    return _new(Value, pointer[:_OFFSET] + (pointer.offset + delta,) + pointer[_ID:])  # noqa: RUF005  faster than unpacking
