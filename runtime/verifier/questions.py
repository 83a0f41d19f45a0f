"""What a finished checkpoint asks of a state that may be covered by it: computed once, the most telling question first.

Not here: how values are compared (match.py), and when the questions are asked (prune.py).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.verifier.demand import FRAME_BITS, ROOMS, SLOTS
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.match import LOADED, REGIONS, Match, bits
from runtime.verifier.state import Slot, State
from runtime.verifier.values import UNKNOWN, ZERO, Kind, Value

if TYPE_CHECKING:
    from runtime.verifier.prune import Checkpoint

__all__ = ["Questions", "answered"]

_NUMBER: Final = Kind.NUMBER
_FRAME_SLOTS: Final = (1 << FRAME_BITS) - (1 << SLOTS)

_Question = tuple[int, Value | None, Slot | None, int, bool, Scalar | None]
"""What a covered state must have in a register, or in a stack slot (its index is negative): the value or the slot, whether it is
needed, whether the very same object there is an answer, and whether any number within that one is, in a slot of that size."""


class Questions(NamedTuple):
    """What a finished checkpoint asks of the innermost frame: of registers to hold less than a number, and all the rest.

    `needed` are the components that are, as (bit, frame, number).
    """

    numbers: list[tuple[int, Scalar]]
    others: list[_Question]
    needed: list[tuple[int, int, int]]


def _questions(checkpoint: Checkpoint, live: tuple[int, ...]) -> Questions:
    """Of a finished checkpoint, what tells covered states apart in the innermost frame, the kinds being the same."""
    places = [each for each in bits(checkpoint.needed) if each[1] <= len(checkpoint.frames)]
    _forget_lone_names(checkpoint, live, places)
    base = len(checkpoint.frames) * FRAME_BITS
    numbers: list[tuple[int, Scalar]] = []
    others: list[_Question] = []
    for r in live:
        value, needed = checkpoint.registers[r], checkpoint.needed >> base + r & 1
        if not _tells(value, needed):
            continue
        if _is_plain(value) and value.progress is None:
            numbers.append((r, value.number))
        else:
            others.append((r, value, None, needed, False, None))
    asked = checkpoint.read >> base & _FRAME_SLOTS
    while asked:
        bit = asked & -asked
        asked ^= bit
        component = bit.bit_length() - 1
        index = SLOTS - 1 - component
        slot = checkpoint.stack.get(index)
        held, needed = slot and slot.value, checkpoint.needed >> base + component & 1
        same = held is None or _is_plain(held)
        within = None
        if held is not None and same and held.progress is None:
            within = held.number if needed else DOMAIN.unknown
        others.append((index, None, slot, needed, same, within))
    return Questions(numbers, others, places)


def _tells(value: Value, needed: int) -> bool:
    if value.kind is Kind.NUMBER:
        tells = value.number is not UNKNOWN.number or value.id or value.progress
        return value.length is not None or bool(needed and tells)
    return (
        value.kind in REGIONS
        or bool(value.id)
        or bool(value.ref)
        or value.number is not ZERO
        or value.progress is not None
    )


def _is_plain(value: Value) -> bool:
    """A number without a name."""
    return value.kind is _NUMBER and not value.id and value.length is None


def _forget_lone_names(checkpoint: Checkpoint, live: tuple[int, ...], needed: list[tuple[int, int, int]]) -> None:
    """A name that links a number to no other that is needed says nothing: whatever has that number has it alone."""
    files = [frame.registers for frame in checkpoint.frames] + [checkpoint.registers]
    stacks = [frame.stack for frame in checkpoint.frames] + [checkpoint.stack]
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for bit, frame, component in needed:
        if component < SLOTS:
            value: Value | None = files[frame][component]
            asked = frame < len(checkpoint.frames) or component in live
        else:
            slot = stacks[frame].get(SLOTS - 1 - component)
            value, asked = slot and slot.value, bool(checkpoint.read & bit)
        if asked and value is not None and value.kind is _NUMBER and value.id:
            places[abs(value.id)].append((frame, component))
    for (frame, component), *others in places.values():
        if others:
            continue
        if component < SLOTS:
            files[frame][component] = _unnamed(files[frame][component])
        else:
            slot = stacks[frame][SLOTS - 1 - component]
            assert slot.value is not None
            stacks[frame][SLOTS - 1 - component] = slot._replace(value=_unnamed(slot.value))


def _unnamed(value: Value) -> Value:
    return tuple.__new__(Value, value[:2] + (0, 0) + value[4:])  # noqa: RUF005  faster than _replace


def answered(old: Checkpoint, new: State, live: tuple[int, ...]) -> bool:
    """Whether a finished checkpoint covers the state; the kinds in registers are those that it had."""
    if old.questions is None:
        old.questions = _questions(old, live)
    if old.frames or old.references or new.references or old.lock or new.lock:
        return Match(old, new, old.needed, old.read).holds(live)
    if old.needed & ROOMS and any(old.room.get(base, 0) > new.room.get(base, 0) for base in LOADED):
        return False
    numbers, others, _ = old.questions
    registers, stack = new.registers, new.stack
    for position, (place, scalar) in enumerate(numbers):
        there = registers[place].number
        if there is not scalar and not DOMAIN.entails(there, scalar):
            if position:
                numbers.insert(0, numbers.pop(position))
            return False
    match: Match | None = None
    for position, (place, value, slot, needed, same, within) in enumerate(others):
        if value is None:
            other = stack.get(place)
            if same and other is slot:
                continue
            if within is not None and other is not None and _holds_within(other, slot, within):
                continue
            match = match or Match(old, new, old.needed, old.read)
            holds = match.slot(0, place, slot, other)
        else:
            match = match or Match(old, new, old.needed, old.read)
            holds = match.value(value, registers[place], needed)
        if not holds:
            if position > 1:
                others.insert(0, others.pop(position))
            return False
    return True


def _holds_within(new: Slot, old: Slot | None, scalar: Scalar) -> bool:
    value = new.value
    return (
        value is not None
        and old is not None
        and new.size == old.size
        and value.kind is _NUMBER
        and (value.number is scalar or DOMAIN.entails(value.number, scalar))
    )
