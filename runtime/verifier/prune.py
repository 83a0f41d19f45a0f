"""Whether a state needs no exploration because one that covers it was explored to the end.

Not here: when that is asked (explore.py), and what marks components (demand.py). Of an explored state, only what was needed
and read below it is compared: pointers exactly, numbers by inclusion. Ids are names, so they are matched one to one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, final

from runtime.verifier.demand import FRAME_BITS, ROOMS, SLOTS, depending, need, read, register_bit, slot_bit, slot_needs
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.state import META_BASE, PACKET_BASE, Frame, Slot, State, copies
from runtime.verifier.values import UNKNOWN, ZERO, Kind, Value

__all__ = ["EVERYTHING", "SAVED", "Checkpoint", "Visited", "begin", "covers", "hides_pointer", "kept", "repeats"]

SAVED: Final = (6, 7, 8, 9)
"""Registers that a function gives back as they were."""
_ALL: Final = tuple(range(1, 10))
EVERYTHING: Final = -1
"""All components."""
_NUMBER: Final = Kind.NUMBER
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_FRAME_SLOTS: Final = (1 << FRAME_BITS) - (1 << SLOTS)
_LOADED: Final = (PACKET_BASE, META_BASE)
_BASES, _NULLS, _LINKS = range(3)
"""What ids name: the bases of pointers into the packet; lookups, and the references that they gave; numbers."""
_LIMIT: Final = 64
_PATIENCE: Final = 8  # steps between checkpoints, where there is one already


@final
class Checkpoint:
    """A state as it was at a merge point; once everything below is explored, it goes to its `place`.

    `open` counts the paths below it that are not finished; `needed` and `read` are the components that mattered below;
    `written` the slots that were stored to between the parent and here; `visits` how often the path was here before.
    """

    __slots__ = (
        "frames", "heads", "hits", "lock", "misses", "needed", "open", "parent", "pc", "place", "questions", "read",
        "references", "registers", "room", "stack", "visits", "written",
    )  # fmt: skip

    def __init__(self, state: State, pc: int) -> None:
        self.pc = pc
        self.registers = state.registers[:]
        self.stack = state.stack.copy()
        self.frames: tuple[Frame, ...] = copies(state.frames) if state.frames else ()
        self.room = state.room.copy()
        self.parent = state.checkpoint
        self.heads = state.heads
        self.references = state.references
        self.lock = state.lock
        self.written = state.written
        self.open = 1
        self.hits = 0
        self.misses = 0
        self.needed = 0
        self.read = 0
        self.visits = 0
        self.place: list[Checkpoint] | None = None
        self.questions: _Questions | None = None

    def finish(self) -> None:
        """One path below ended."""
        each: Checkpoint | None = self
        while each is not None:
            each.open -= 1
            if each.open:
                return
            if each.place is not None:
                each.place.insert(0, each)
                each.place = None
            each = each.parent

    def sources(self, bit: int) -> int:
        """What a component was computed from at the checkpoint before."""
        frame, component = divmod(bit.bit_length() - 1, FRAME_BITS)
        if frame > len(self.frames):
            return 0
        inner = frame == len(self.frames)
        if component < SLOTS:
            return (self.registers if inner else self.frames[frame].registers)[component].needs
        if not self.written & bit:
            return bit
        slot = (self.stack if inner else self.frames[frame].stack).get(SLOTS - 1 - component)
        if slot is None:
            return 0
        return slot.needs if slot.value is None else slot.value.needs


_Question = tuple[int, Value | None, Slot | None, int, bool]
"""What a covered state must have in a register, or in a stack slot (its index is negative): the value or the slot, whether it is
needed, and whether the very same object there is an answer."""


class _Questions(NamedTuple):
    """What a finished checkpoint asks of the innermost frame: of registers to hold less than a number, and all the rest."""

    numbers: list[tuple[int, Scalar]]
    others: list[_Question]


def _questions(checkpoint: Checkpoint, live: tuple[int, ...]) -> _Questions:
    """Of a finished checkpoint, what tells covered states apart in the innermost frame, the kinds being the same."""
    _forget_lone_names(checkpoint, live)
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
            others.append((r, value, None, needed, False))
    asked = checkpoint.read >> base & _FRAME_SLOTS
    while asked:
        bit = asked & -asked
        asked ^= bit
        component = bit.bit_length() - 1
        index = SLOTS - 1 - component
        slot = checkpoint.stack.get(index)
        same = slot is None or slot.value is None or _is_plain(slot.value)
        others.append((index, None, slot, checkpoint.needed >> base + component & 1, same))
    return _Questions(numbers, others)


def _tells(value: Value, needed: int) -> bool:
    if value.kind is Kind.NUMBER:
        tells = value.number is not UNKNOWN.number or value.id or value.progress
        return value.length is not None or bool(needed and tells)
    return (
        value.kind in _REGIONS
        or bool(value.id)
        or bool(value.ref)
        or value.number is not ZERO
        or value.progress is not None
    )


def _is_plain(value: Value) -> bool:
    """A number without a name."""
    return value.kind is _NUMBER and not value.id and value.length is None


def _forget_lone_names(checkpoint: Checkpoint, live: tuple[int, ...]) -> None:
    """A name that links a number to no other that is needed says nothing: whatever has that number has it alone."""
    files = [frame.registers for frame in checkpoint.frames] + [checkpoint.registers]
    stacks = [frame.stack for frame in checkpoint.frames] + [checkpoint.stack]
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for bit, frame, component in _bits(checkpoint.needed):
        if frame > len(checkpoint.frames):
            continue
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
            files[frame][component] = files[frame][component]._replace(id=0, offset=0)
        else:
            slot = stacks[frame][SLOTS - 1 - component]
            assert slot.value is not None
            stacks[frame][SLOTS - 1 - component] = slot._replace(value=slot.value._replace(id=0, offset=0))


def _signature(state: State, live: tuple[int, ...]) -> tuple[object, ...]:
    """What covering states have in common: kinds, and of pointers the constant parts."""
    registers = state.registers
    return tuple(
        [_NUMBER if (value := registers[r]).kind is _NUMBER else (value.kind, value.offset, value.target) for r in live]
    )


def _place(state: State, pc: int, live: tuple[int, ...]) -> tuple[object, ...]:
    return (pc, _signature(state, live), *(frame.resume for frame in state.frames))


def begin(state: State, checkpoint: Checkpoint) -> None:
    """From here on, numbers depend on the components of this checkpoint."""
    state.checkpoint = checkpoint
    state.written = 0
    for frame, registers in enumerate(state.every_register_file()):
        bit = register_bit(frame, 0)
        for index, value in enumerate(registers):
            if value.kind is _NUMBER and value.needs != bit:
                registers[index] = depending(value, bit)
            bit <<= 1


def kept(caller: Frame) -> tuple[int, ...]:
    """The registers of a waiting caller that are read again: a helper that calls back still has its arguments."""
    return SAVED if caller.callback is None else _ALL


@final
class Visited:
    """Finished checkpoints by place: the slot, the signature there, and the calls that lead to it."""

    def __init__(self) -> None:
        self._places: dict[tuple[object, ...], list[Checkpoint]] = {}
        self._last = 0

    def remember(self, checkpoint: Checkpoint, state: State, live: tuple[int, ...]) -> None:
        """Add an explored checkpoint, made from that state."""
        self._places.setdefault(_place(state, checkpoint.pc, live), []).insert(0, checkpoint)

    def covered(self, state: State, pc: int, live: tuple[int, ...], *, step: int, force: bool, visits: int = 0) -> bool:
        """Whether an explored state at this place covers the given one; if not, it may be remembered (always with `force`).

        `visits`: so many rounds of a helper that calls back have been made here.
        """
        place = _place(state, pc, live)
        known = self._places.get(place)
        fresh = known is None
        if known is None:
            known = self._places[place] = []
        for position, checkpoint in enumerate(known):
            if checkpoint.visits <= visits and _Match(checkpoint, state, checkpoint.needed, checkpoint.read).answers(
                live
            ):
                checkpoint.hits += 1
                if position:
                    known.insert(0, known.pop(position))
                _inherit(checkpoint, state)
                return True
            checkpoint.misses += 1
        if len(known) >= _LIMIT:
            known[:] = [c for c in known if c.misses <= 3 * c.hits + _LIMIT]
        if fresh or force or step - self._last >= _PATIENCE:
            self._last = step
            checkpoint = Checkpoint(state, pc)
            checkpoint.place = known
            begin(state, checkpoint)
        return False


def repeats(old: Checkpoint, new: State, live: tuple[int, ...]) -> bool:
    """Whether the path came back in the very same state: nothing that could end the loop has changed."""
    if any(old.registers[r].number is not new.registers[r].number for r in live):
        return False
    if not covers(old, new, live, EVERYTHING, EVERYTHING):
        return False
    stacks = [(a.stack, b.stack) for a, b in zip(old.frames, new.frames, strict=True)] + [(old.stack, new.stack)]
    return all(_same_numbers(a, b) for a, b in stacks)


def hides_pointer(old: Checkpoint, new: State) -> bool:
    """Whether a slot that the old state says nothing of holds a pointer in the new one."""
    stacks = [frame.stack for frame in old.frames] + [old.stack]
    return any(
        index not in above and slot.value is not None and slot.value.kind is not Kind.NUMBER
        for above, stack in zip(stacks, new.every_stack(), strict=True)
        for index, slot in stack.items()
    )


def _same_numbers(old: dict[int, Slot], new: dict[int, Slot]) -> bool:
    if old.keys() != new.keys():
        return False
    for index, slot in old.items():
        a, b = slot.value, new[index].value
        if (a is None) != (b is None) or (a is not None and b is not None and a.number is not b.number):
            return False
    return True


def _bits(components: int) -> Iterator[tuple[int, int, int]]:
    """Each component as (bit, frame, number)."""
    while components:
        bit = components & -components
        components ^= bit
        yield (bit, *divmod(bit.bit_length() - 1, FRAME_BITS))


def _inherit(checkpoint: Checkpoint, state: State) -> None:
    """What mattered below the covering state matters for the covered one."""
    read(state, checkpoint.read)
    files, stacks = state.every_register_file(), state.every_stack()
    sources = 0
    for bit, frame, component in _bits(checkpoint.needed):
        if frame >= len(files):
            continue
        if component < SLOTS:
            sources |= files[frame][component].needs
        else:
            index = SLOTS - 1 - component
            slot = stacks[frame].get(index)
            sources |= bit if slot is None else slot_needs(state, frame, index, slot)
    need(state, sources)


def covers(old: Checkpoint, new: State, live: tuple[int, ...], needed: int, slots: int, *, loop: int = 0) -> bool:
    """Whether every concrete state of the new one is one of the old one, in the components that are needed and read.

    The progress of `loop` is not compared: the old state is its head.
    """
    return _Match(old, new, needed, slots, loop).holds(live)


@final
class _Match:
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

    def answers(self, live: tuple[int, ...]) -> bool:
        """The same with a finished checkpoint, which knows what to ask; the kinds are those that it had."""
        old, new = self.old, self.new
        if old.questions is None:
            old.questions = _questions(old, live)
        if old.frames or old.references or new.references or old.lock or new.lock:
            return self.holds(live)
        if self.needed & ROOMS and any(old.room.get(base, 0) > new.room.get(base, 0) for base in _LOADED):
            return False
        registers, stack = new.registers, new.stack
        numbers, others = old.questions
        for position, (place, scalar) in enumerate(numbers):
            there = registers[place].number
            if there is not scalar and not DOMAIN.entails(there, scalar):
                if position:
                    numbers.insert(0, numbers.pop(position))
                return False
        for position, (place, value, slot, needed, same) in enumerate(others):
            if value is None:
                other = stack.get(place)
                holds = (same and other is slot) or self._slot(0, place, slot, other)
            else:
                holds = self._value(value, registers[place], needed)
            if not holds:
                if position > 1:
                    others.insert(0, others.pop(position))
                return False
        return True

    def holds(self, live: Sequence[int]) -> bool:
        """The comparison, of these registers."""
        old, new = self.old, self.new
        depth = len(old.frames)
        if self.needed & ROOMS and any(old.room.get(base, 0) > new.room.get(base, 0) for base in _LOADED):
            return False
        if not self._held():
            return False
        base = depth * FRAME_BITS
        for r in live:
            if not self._value(old.registers[r], new.registers[r], self.needed >> base + r & 1):
                return False
        for frame, (a, b) in enumerate(zip(old.frames, new.frames, strict=True)):
            if a.callback is not b.callback or not self._as_many_rounds(frame, a):
                return False
            for r in kept(a):
                if not self._value(a.registers[r], b.registers[r], self.needed >> frame * FRAME_BITS + r & 1):
                    return False
            if not self._stack(frame, a.stack, b.stack):
                return False
        return self._stack(depth, old.stack, new.stack)

    def _as_many_rounds(self, frame: int, caller: Frame) -> bool:
        """Whether the old state had at least as many rounds of the helper before it."""
        if caller.callback is None or not caller.callback.count:
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

    def _value(self, old: Value, new: Value, needed: int) -> bool:
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
        if old.kind in _REGIONS:
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
        if space == _BASES and old in _LOADED and old != new:
            return False  # a pointer that is loaded later has the old name
        known = self.forward.setdefault((space, old), (new, distance))
        return known == (new, distance) and self.backward.setdefault((space, new), (old, distance)) == (old, distance)

    def _stack(self, frame: int, old: dict[int, Slot], new: dict[int, Slot]) -> bool:
        if self.slots >= 0:
            wanted = self.slots >> frame * FRAME_BITS + SLOTS & (1 << FRAME_BITS - SLOTS) - 1
            indices = [-1 - number for _, _, number in _bits(wanted)]
        else:
            indices = list(old.keys() | new.keys())
        return all(self._slot(frame, index, old.get(index), new.get(index)) for index in indices)

    def _slot(self, frame: int, index: int, old: Slot | None, new: Slot | None) -> bool:
        if new is None:
            return old is None or (old.value is None and not old.written)
        needed = self.needed & slot_bit(frame, index)
        if old is None or old.value is None:
            if new.value is not None and new.value.kind is not Kind.NUMBER:
                # what was read as a number must not be a pointer; loops ask later whether it was read
                return old is None and self.slots == EVERYTHING
            if new.rest & ~(0 if old is None else old.rest):
                return False
            if old is None:
                return True
            return not old.written & ~new.written and not (needed and old.zero & ~_zero(new))
        if new.value is None:
            plain = old.value.kind is Kind.NUMBER and not needed and old.value.length is None
            return plain and not old.written & ~new.written and not new.rest
        return old.size == new.size and self._value(old.value, new.value, needed)


def _visits(head: Checkpoint | None) -> int:
    return 0 if head is None else head.visits


def _zero(slot: Slot) -> int:
    if slot.value is None:
        return slot.zero
    return (1 << slot.size) - 1 if slot.value.kind is Kind.NUMBER and slot.value.number.const == 0 else 0
