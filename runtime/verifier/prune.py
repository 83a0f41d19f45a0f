"""Whether a state needs no exploration because one that covers it was explored to the end.

Not here: when that is asked (explore.py). Numbers are compared by inclusion; ids are names, so they are matched one to one.
"""

from __future__ import annotations

from typing import Final, final

from runtime.verifier.domains import DOMAIN
from runtime.verifier.state import Frame, Slot, State
from runtime.verifier.values import Kind, Value

__all__ = ["Checkpoint", "Visited"]

_SAVED: Final = (6, 7, 8, 9)
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_LIMIT: Final = 64


@final
class Checkpoint:
    """A state as it was at a merge point. `open` counts the paths below it that are not finished."""

    __slots__ = ("frames", "hits", "misses", "open", "parent", "pc", "registers", "room", "stack")

    def __init__(self, state: State, pc: int) -> None:
        twin = state.fork()
        self.pc = pc
        self.registers = twin.registers
        self.stack = twin.stack
        self.frames: tuple[Frame, ...] = twin.frames
        self.room = twin.room
        self.parent = state.checkpoint
        self.open = 1
        self.hits = 0
        self.misses = 0

    def finish(self) -> None:
        """One path below ended."""
        each: Checkpoint | None = self
        while each is not None:
            each.open -= 1
            if each.open:
                return
            each = each.parent


@final
class Visited:
    """Checkpoints by place: the slot and the calls that lead to it."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], list[Checkpoint]] = {}

    def covered(self, state: State, pc: int, live: tuple[int, ...]) -> bool:
        """Whether an explored state at this place covers the given one; if not, remember it."""
        place = (pc, *(frame.resume for frame in state.frames))
        known = self._places.setdefault(place, [])
        for position, checkpoint in enumerate(known):
            if not checkpoint.open and _Match(checkpoint, state).holds(live):
                checkpoint.hits += 1
                if position:
                    known.insert(0, known.pop(position))
                return True
            checkpoint.misses += 1
        if len(known) >= _LIMIT:
            known[:] = [c for c in known if c.open or c.misses <= 3 * c.hits + _LIMIT]
        checkpoint = Checkpoint(state, pc)
        known.insert(0, checkpoint)
        state.checkpoint = checkpoint
        return False

    def repeats(self, state: State, pc: int, live: tuple[int, ...]) -> bool:
        """Whether the path has been here in the very same state: it would go on for ever."""
        ancestor = state.checkpoint
        for _ in range(_LIMIT):
            if ancestor is None:
                return False
            if ancestor.pc == pc and len(ancestor.frames) == len(state.frames):
                return _same(ancestor, state, live)
            ancestor = ancestor.parent
        return False


def _same(old: Checkpoint, new: State, live: tuple[int, ...]) -> bool:
    if any(old.registers[r] != new.registers[r] for r in live) or old.stack != new.stack or old.room != new.room:
        return False
    return all(
        a.stack == b.stack and a.registers[6:10] == b.registers[6:10] and a.resume == b.resume
        for a, b in zip(old.frames, new.frames, strict=True)
    )


@final
class _Match:
    """One comparison of an old state with a new one, with the names matched so far."""

    __slots__ = ("backward", "forward", "new", "old")

    def __init__(self, old: Checkpoint, new: State) -> None:
        self.old = old
        self.new = new
        self.forward: dict[tuple[int, int], tuple[int, int]] = {}
        self.backward: dict[tuple[int, int], tuple[int, int]] = {}

    def holds(self, live: tuple[int, ...]) -> bool:
        """Every concrete state of the new one is one of the old one, as far as anybody looks."""
        old, new = self.old, self.new
        if not all(self._value(old.registers[r], new.registers[r]) for r in live):
            return False
        for a, b in zip(old.frames, new.frames, strict=True):
            if not all(self._value(a.registers[r], b.registers[r]) for r in _SAVED):
                return False
            if not self._stack(a.stack, b.stack):
                return False
        return self._stack(old.stack, new.stack)

    def _value(self, old: Value, new: Value) -> bool:
        if old.kind is Kind.UNINIT:
            return True
        if old.kind is not new.kind:
            return False
        if old.kind is Kind.NUMBER:
            return self._number(old, new)
        if old.offset != new.offset or old.target != new.target:
            return False
        if old.number is not new.number and not DOMAIN.entails(new.number, old.number):
            return False
        if old.kind in _REGIONS:
            if self.old.room.get(old.id, 0) > self.new.room.get(new.id, 0):
                return False
            return self._names(1, old.id, new.id, 0)
        return self._names(2, old.id, new.id, 0) if old.id or new.id else True

    def _number(self, old: Value, new: Value) -> bool:
        if old.length is not None:
            if new.length is None or old.length.offset != new.length.offset:
                return False
            if not self._names(1, old.length.base, new.length.base, 0):
                return False
        if not DOMAIN.entails(new.number, old.number):
            return False
        if not old.id:
            return True
        return bool(new.id) and self._names(3, old.id, new.id, new.offset - old.offset)

    def _names(self, space: int, old: int, new: int, distance: int) -> bool:
        known = self.forward.setdefault((space, old), (new, distance))
        return known == (new, distance) and self.backward.setdefault((space, new), (old, distance)) == (old, distance)

    def _stack(self, old: dict[int, Slot], new: dict[int, Slot]) -> bool:
        return all(self._slot(slot, new.get(index)) for index, slot in old.items())

    def _slot(self, old: Slot, new: Slot | None) -> bool:
        if old.value is None:
            if new is None:
                return not old.written
            if old.written & ~new.written:
                return False
            if new.value is None:
                return not old.zero & ~new.zero
            return new.value.kind is Kind.NUMBER and not old.zero
        if new is None or new.value is None:
            return False
        return old.size == new.size and self._value(old.value, new.value)
