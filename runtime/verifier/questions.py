"""What a finished checkpoint asks of a state that may be covered by it: computed once, the most telling question first.

Not here: how values are compared (match.py), and when the questions are asked (prune.py).

Names are matched one to one (match.py), which takes a whole comparison. Most states that are covered have the very names of the old
one, since they come from the same pointers: where every name is its own match there is nothing to remember, and each question is
answered by itself. The first that cannot be (other names, progress, references) leaves the rest to match.py.

A name that only one of the asked components bears is dropped. A name says of two numbers that their difference is known; alone it
says nothing that the number does not say itself, so any state with a number inside it is covered. Components that are not asked do
not count: had a number been narrowed through its link to another one, and then decided something, `need` would have marked both,
since what is narrowed depends on both (transfer_branch.py), and numbers that are needed and live are asked. That holds only once
nothing below the checkpoint is open, which is when questions are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.verifier.demand import FRAME_BITS, ROOMS, SLOTS
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.match import EVERYTHING, LOADED, REGIONS, Match, bits, holds_bytes
from runtime.verifier.state import Slot, State
from runtime.verifier.values import UNKNOWN, ZERO, Kind, Value

if TYPE_CHECKING:
    from runtime.verifier.prune import Checkpoint

__all__ = ["Questions", "answered"]

_NUMBER: Final = Kind.NUMBER
_SLOTS: Final = (1 << FRAME_BITS - SLOTS) - 1

_Question = tuple[int, Value | None, Slot | None, int, int]
"""What a covered state must have in a register, or in a stack slot (its index is negative): the value, the slot around it, whether it
is needed, and how many bytes must be there behind a pointer's base, or less than 0 where only match.py can tell."""
_UNUSUAL: Final = -1


class Questions(NamedTuple):
    """What a finished checkpoint asks of the innermost frame: of registers to hold less than a number, and all the rest.

    `needed` are the components that are, as (bit, frame, number); `rooms` what must be proven behind bases that are loaded again;
    `whole`: there is more to compare than the innermost frame.
    """

    numbers: list[tuple[int, Scalar]]
    others: list[_Question]
    needed: list[tuple[int, int, int]]
    rooms: list[tuple[int, int]]
    whole: bool


def _questions(checkpoint: Checkpoint, live: tuple[int, ...]) -> Questions:
    """Of a finished checkpoint, what tells covered states apart in the innermost frame, the kinds being the same."""
    places = [each for each in bits(checkpoint.needed) if each[1] <= len(checkpoint.frames)]
    _forget_lone_names(checkpoint, live, places)
    base = len(checkpoint.frames) * FRAME_BITS
    needs, stack, registers = checkpoint.needed >> base, checkpoint.stack, checkpoint.registers
    numbers: list[tuple[int, Scalar]] = []
    others: list[_Question] = []
    for r in live:
        value, needed = registers[r], needs >> r & 1
        if not _tells(value, needed):
            continue
        if value.kind is _NUMBER and not value.id and value.length is None and value.progress is None:
            numbers.append((r, value.number))
        else:
            others.append((r, value, None, needed, _room(checkpoint, value)))
    asked = checkpoint.read >> base + SLOTS & _SLOTS
    empty = _UNUSUAL if checkpoint.read == EVERYTHING else 0
    while asked:
        number = asked.bit_length()
        asked ^= 1 << number - 1
        slot, needed = stack.get(-number), needs >> number + SLOTS - 1 & 1
        if slot is None or slot.value is None:
            others.append((-number, None, slot, needed, empty))
        else:
            others.append((-number, slot.value, slot, needed, _room(checkpoint, slot.value)))
    rooms = [each for each in checkpoint.room.items() if each[0] in LOADED] if checkpoint.needed & ROOMS else []
    whole = bool(checkpoint.frames or checkpoint.references or checkpoint.lock)
    return Questions(numbers, others, places, rooms, whole)


def _room(checkpoint: Checkpoint, value: Value) -> int:
    """How many bytes must be behind the base of a pointer; less than 0 for what only match.py compares."""
    if value.length is not None or value.progress is not None or value.ref:
        return _UNUSUAL
    return checkpoint.room.get(value.id, 0) if value.kind in REGIONS else 0


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


def _forget_lone_names(checkpoint: Checkpoint, live: tuple[int, ...], needed: list[tuple[int, int, int]]) -> None:
    """A name that links a number to no other that is needed says nothing: whatever has that number has it alone."""
    files = [*(frame.registers for frame in checkpoint.frames), checkpoint.registers]
    stacks = [*(frame.stack for frame in checkpoint.frames), checkpoint.stack]
    depth, asked = len(checkpoint.frames), checkpoint.read
    lone: dict[int, tuple[int, int] | None] = {}
    for bit, frame, component in needed:
        if component < SLOTS:
            value = files[frame][component]
            if frame == depth and component not in live:
                continue
        else:
            slot = stacks[frame].get(SLOTS - 1 - component)
            if slot is None or slot.value is None or not asked & bit:
                continue
            value = slot.value
        if value.id and value.kind is _NUMBER:
            name = abs(value.id)
            lone[name] = None if name in lone else (frame, component)
    for place in lone.values():
        if place is None:
            continue
        frame, component = place
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
    questions = old.questions
    if questions is None:
        questions = old.questions = _questions(old, live)
    numbers, others, _, rooms, whole = questions
    if whole or new.references or new.lock:
        return Match(old, new, old.needed, old.read).holds(live)
    for base, room in rooms:
        if new.room.get(base, 0) < room:
            return False
    registers, stack = new.registers, new.stack
    for position, (place, scalar) in enumerate(numbers):
        there = registers[place].number
        if there is not scalar and not DOMAIN.entails(there, scalar):
            if position:
                numbers.insert(0, numbers.pop(position))
            return False
    certain = True
    for position, (place, value, slot, needed, room) in enumerate(others):
        if place < 0:
            other = stack.get(place)
            if other is slot and not room:
                continue
            holds = _slot_holds(value, slot, other, needed, room, new.room)
        else:
            assert value is not None
            holds = _holds(value, registers[place], needed, room, new.room)
        if holds is None:
            certain = False
        elif not holds:
            if position:
                others.insert(0, others.pop(position))
            return False
    return certain or _matches(old, new, others)


def _holds(old: Value, new: Value, needed: int, room: int, rooms: dict[int, int]) -> bool | None:
    """Whether a value is one of the old one's, by its own name; None where that alone does not tell."""
    if room < 0:
        return None
    if new is not old:
        if new.kind is not old.kind:
            return False
        if new.kind is _NUMBER:
            if not needed:
                return True
            if new.number is not old.number and not DOMAIN.entails(new.number, old.number):
                return False
            return not old.id or (None if new.id != old.id or new.offset != old.offset else True)
        if new.offset != old.offset or new.target != old.target or new.ref:
            return False
        if new.number is not old.number and not DOMAIN.entails(new.number, old.number):
            return False
    if room and rooms.get(new.id, 0) < room:
        return False
    return None if new.id != old.id else True


def _slot_holds(
    value: Value | None, old: Slot | None, new: Slot | None, needed: int, room: int, rooms: dict[int, int]
) -> bool | None:
    """The same of a stack slot, `value` being what was spilled to the old one."""
    if room < 0:
        return None
    if old is None or value is None:
        return holds_bytes(old, new, needed)
    if new is None:
        return False
    if new.value is None:
        return value.kind is _NUMBER and not needed and not old.written & ~new.written and not new.rest
    return new.size == old.size and _holds(value, new.value, needed, room, rooms)


def _matches(old: Checkpoint, new: State, others: list[_Question]) -> bool:
    """Whether the names of both states match, and all that is unusual."""
    match = Match(old, new, old.needed, old.read)
    for position, (place, value, slot, needed, _) in enumerate(others):
        if place < 0:
            holds = match.slot(0, place, slot, new.stack.get(place))
        else:
            assert value is not None
            holds = match.value(value, new.registers[place], needed)
        if not holds:
            if position:
                others.insert(0, others.pop(position))
            return False
    return True
