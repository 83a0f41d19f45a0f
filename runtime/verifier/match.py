"""One comparison of states: whether every concrete state of a new one is one of an old one.

Not here: when that is asked (prune.py). Pointers are compared exactly, numbers by inclusion, of those components that are needed and
read. Ids are names, so they are matched one to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, final

from runtime.verifier.demand import FRAME_BITS, ROOMS, SLOTS, slot_bit
from runtime.verifier.domains import DOMAIN
from runtime.verifier.state import META_BASE, PACKET_BASE, Frame, Slot, State
from runtime.verifier.values import Kind, Value

if TYPE_CHECKING:
    from runtime.verifier.prune import Checkpoint

__all__ = ["EVERYTHING", "LOADED", "REGIONS", "SAVED", "Match", "bits", "covers", "holds_bytes", "kept"]

SAVED: Final = (6, 7, 8, 9)
"""Registers that a function gives back as they were."""
EVERYTHING: Final = -1
"""All components."""
REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
"""Pointers whose base has room behind it."""
LOADED: Final = (PACKET_BASE, META_BASE)
"""The bases of pointers that are loaded from the context."""
_ALL: Final = tuple(range(1, 10))
_BASES, _NULLS, _LINKS = range(3)
"""What ids name: the bases of pointers into the packet; lookups, and the references that they gave; numbers."""


def kept(caller: Frame) -> tuple[int, ...]:
    """The registers of a waiting caller that are read again: a helper that calls back still has its arguments."""
    return SAVED if caller.callback is None else _ALL


def bits(components: int) -> Iterator[tuple[int, int, int]]:
    """Each component as (bit, frame, number)."""
    while components:
        bit = components & -components
        components ^= bit
        yield (bit, *divmod(bit.bit_length() - 1, FRAME_BITS))


def covers(old: Checkpoint, new: State, live: tuple[int, ...], needed: int, slots: int, *, loop: int = 0) -> bool:
    """Whether every concrete state of the new one is one of the old one, in the components that are needed and read.

    The progress of `loop` is not compared: the old state is its head.
    """
    return Match(old, new, needed, slots, loop).holds(live)


@final
class Match:
    """One comparison of an old state with a new one, with the names matched so far."""

    __slots__ = ("backward", "forward", "loop", "needed", "new", "old", "slots")

    def __init__(self, old: Checkpoint, new: State, needed: int, slots: int, loop: int = 0) -> None:
        self.old = old
        self.new = new
        self.needed = needed
        self.slots = slots
        self.loop = loop
        self.forward: dict[tuple[int, int], tuple[int, int]] = {}
        self.backward: dict[tuple[int, int], tuple[int, int]] = {}

    def holds(self, live: Sequence[int]) -> bool:
        """The comparison, of these registers."""
        old, new = self.old, self.new
        depth = len(old.frames)
        if self.needed & ROOMS and any(old.room.get(base, 0) > new.room.get(base, 0) for base in LOADED):
            return False
        if not self._held():
            return False
        base = depth * FRAME_BITS
        for r in live:
            if not self.value(old.registers[r], new.registers[r], self.needed >> base + r & 1):
                return False
        for frame, (a, b) in enumerate(zip(old.frames, new.frames, strict=True)):
            if a.callback is not b.callback or not self._as_many_rounds(frame, a):
                return False
            for r in kept(a):
                if not self.value(a.registers[r], b.registers[r], self.needed >> frame * FRAME_BITS + r & 1):
                    return False
            if not self._stack(frame, a.stack, b.stack):
                return False
        return self._stack(depth, old.stack, new.stack)

    def _as_many_rounds(self, frame: int, caller: Frame) -> bool:
        """Whether the old state had at least as many rounds of the helper before it."""
        if caller.callback is None or not (caller.callback.count or caller.callback.elements):
            return True
        place = (caller.resume, frame)
        return _visits(self.old.heads.get(place)) <= _visits(self.new.heads.get(place))

    def _held(self) -> bool:
        """Whether both hold as many references, and the same lock."""
        old, new = self.old, self.new
        if len(old.references) != len(new.references):
            return False
        if not all(map(self._reference, old.references, new.references)):
            return False
        if old.lock is None or new.lock is None:
            return old.lock is new.lock
        return old.lock[0] == new.lock[0] and self._names(_NULLS, old.lock[1], new.lock[1], 0)

    def _reference(self, old: int, new: int) -> bool:
        return bool(old and new) and self._names(_NULLS, old, new, 0)

    def value(self, old: Value, new: Value, needed: int) -> bool:
        """Whether a value is one of the old one's."""
        if old.kind is Kind.UNINIT:
            return True
        if old.kind is not new.kind:
            return False
        if old.kind is Kind.NUMBER:
            return self._number(old, new, needed)
        if old.offset != new.offset or old.target != new.target:
            return False
        if old.number is not new.number and not DOMAIN.entails(new.number, old.number):
            return False
        if not self._moved(old, new):
            return False
        if (old.ref or new.ref) and not self._reference(old.ref, new.ref):
            return False
        if old.kind in REGIONS:
            if self.old.room.get(old.id, 0) > self.new.room.get(new.id, 0):
                return False
            return self._names(_BASES, old.id, new.id, 0)
        return self._names(_NULLS, old.id, new.id, 0) if old.id or new.id else True

    def _number(self, old: Value, new: Value, needed: int) -> bool:
        if old.length is not None:
            if new.length is None or old.length.offset != new.length.offset:
                return False
            if not self._names(_BASES, old.length.base, new.length.base, 0):
                return False
        if not needed:
            return True
        if not DOMAIN.entails(new.number, old.number) or not self._moved(old, new):
            return False
        if not old.id:
            return True
        if not new.id or (old.id < 0) != (new.id < 0):
            return False
        return self._names(_LINKS, abs(old.id), abs(new.id), new.offset - old.offset)

    def _moved(self, old: Value, new: Value) -> bool:
        """Whether the new one made the progress of the old one."""
        a, b = old.progress, new.progress
        if a is None or a.loop == self.loop:
            return True
        return b is not None and a[:2] == b[:2] and a.low <= b.low and b.high <= a.high

    def _names(self, space: int, old: int, new: int, distance: int) -> bool:
        if space == _BASES and old in LOADED and old != new:
            return False  # a pointer that is loaded later has the old name
        known = self.forward.setdefault((space, old), (new, distance))
        return known == (new, distance) and self.backward.setdefault((space, new), (old, distance)) == (old, distance)

    def _stack(self, frame: int, old: dict[int, Slot], new: dict[int, Slot]) -> bool:
        if self.slots >= 0:
            wanted = self.slots >> frame * FRAME_BITS + SLOTS & (1 << FRAME_BITS - SLOTS) - 1
            indices = [-1 - number for _, _, number in bits(wanted)]
        else:
            indices = list(old.keys() | new.keys())
        return all(self.slot(frame, index, old.get(index), new.get(index)) for index in indices)

    def slot(self, frame: int, index: int, old: Slot | None, new: Slot | None) -> bool:
        """The same of a stack slot."""
        needed = self.needed & slot_bit(frame, index)
        if old is None or old.value is None:
            return holds_bytes(old, new, needed, everything=self.slots == EVERYTHING)
        if new is None:
            return False
        if new.value is None:
            plain = old.value.kind is Kind.NUMBER and not needed and old.value.length is None
            return plain and not old.written & ~new.written and not new.rest
        return old.size == new.size and self.value(old.value, new.value, needed)


def holds_bytes(old: Slot | None, new: Slot | None, needed: int, *, everything: bool = False) -> bool:
    """Whether a slot is one of the old one's, which holds no value; `everything`: slots are compared that nothing read."""
    if new is None:
        return old is None or not old.written
    if new.value is not None and new.value.kind is not Kind.NUMBER:
        # what was read as a number must not be a pointer; loops ask later whether it was read
        return old is None and everything
    if new.rest & ~(0 if old is None else old.rest):
        return False
    if old is None:
        return True
    return not old.written & ~new.written and not (needed and old.zero & ~_zero(new))


def _visits(head: Checkpoint | None) -> int:
    return 0 if head is None else head.visits


def _zero(slot: Slot) -> int:
    if slot.value is None:
        return slot.zero
    return (1 << slot.size) - 1 if slot.value.kind is Kind.NUMBER and slot.value.number.const == 0 else 0
