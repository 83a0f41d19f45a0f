"""Loops proven without running them round by round: a widened state at the head that covers every further round.

Not here: the exploration from that state (explore.py). The proof has three parts: everything reachable from the widened
state is safe, every way back to the head is covered by it, and on every way back one component has moved in one direction
by at least one while it stays within bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, final

from runtime.isa import Alu, AluOp, Branch, Code, Imm
from runtime.verifier.demand import FRAME_BITS, ROOMS, SLOTS, every_slot, need, read, slot_bit, slot_needs
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.match import EVERYTHING, covers, kept
from runtime.verifier.platform import Notebook
from runtime.verifier.prune import Checkpoint, rest_on
from runtime.verifier.state import Slot, State
from runtime.verifier.values import MAX_LENGTH, NOT_NULL, UNINIT, UNKNOWN, Kind, Progress, Value

__all__ = ["ATTEMPTS", "MAX_NESTING", "MAX_ROUNDS", "Loop", "NotProven", "Widening", "thresholds"]

ATTEMPTS: Final = frozenset({1, 2, 12, 100, 1000})
"""At which visits of a head, counted from 0, a proof is tried."""
MAX_NESTING: Final = 4
MAX_ROUNDS: Final = 1 << 32
"""Rounds of a proven loop times those of the proven loops inside it. A helper's rounds do not count: Linux allows them."""
_MAX_ITERATIONS: Final = 1 << 23
_WORD16: Final = 0xFFFF
_LENGTHS: Final = DOMAIN.unsigned_range(0, 4 * MAX_LENGTH)  # a pointer may be moved before it is compared
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_MOVING: Final = frozenset({Kind.PACKET, Kind.PACKET_META, Kind.STACK, Kind.MAP_VALUE, Kind.MEMORY})


@final
class NotProven(Exception):  # noqa: N818  an attempt that failed; it does not leave the package
    """The proof of `loop` failed; `grown` is the state on a way back that was not covered, if that is why."""

    def __init__(self, loop: Loop | None, grown: State | None = None) -> None:
        super().__init__()
        self.loop = loop
        self.grown = grown


class Way(NamedTuple):
    """How a component moved on a way back: by [low, high], within `span`."""

    low: int
    high: int
    span: int

    def step(self, sign: int) -> int:
        """By how much it moved at least in that direction; 0 when it may have stayed."""
        return max(0, self.low if sign > 0 else -self.high)


@final
class Loop:
    """An attempt under way: the head, and the widened state there."""

    def __init__(self, ident: int, pc: int, checkpoint: Checkpoint, most: int | None = None) -> None:
        """`most` are the rounds of a loop that ends by itself: a helper's calls of a callback."""
        self._most = most
        self.inside = 1  # rounds of the longest loop inside
        self.ident = ident
        self.pc = pc
        self.checkpoint = checkpoint
        self._ways: list[dict[int, Way]] = []  # of each way back, how its components moved
        self._hidden = 0  # slots that the widened state leaves out, and that held a pointer on some way here

    @property
    def iterations(self) -> int | None:
        """How often the head is reached at most from the widened state on; None when nothing ends the loop.

        Some component moves in one direction on some ways back and never the other way; it ends those. The rest needs another
        component for the same, whatever the first does: a lexicographic order.
        """
        if self._most is not None:
            return self._most
        total = 1
        open_ways = self._ways
        while open_ways:
            counts = [
                (max(1, way.span // step), component, sign)
                for component, way in open_ways[0].items()
                for sign in (1, -1)
                if (step := _least_step(open_ways, component, sign))
            ]
            if not counts:
                return None
            count, component, sign = min(counts)
            if count > _MAX_ITERATIONS:
                return None
            total *= count + 1
            open_ways = [ways for ways in open_ways if not ways[component].step(sign)]
        return total

    @property
    def rounds(self) -> int:
        """How many rounds of the innermost loop there are at most in all those of this one."""
        return (1 if self._most is not None else self.iterations or 1) * self.inside

    @property
    def sound(self) -> bool:
        """Whether nothing was read as a number that may have been a pointer."""
        return not self.checkpoint.read & self._hidden

    def proven(self) -> Checkpoint:
        """The head as a checkpoint that is explored, after the proof: states that it covers whole need no proof of their own."""
        head = self.checkpoint
        for registers in (head.registers, *(frame.registers for frame in head.frames)):
            registers[:] = map(self._untold, registers)
        for stack in (head.stack, *(frame.stack for frame in head.frames)):
            for index, slot in stack.items():
                if slot.value is not None:
                    stack[index] = slot._replace(value=self._untold(slot.value))
        head.needed = (1 << FRAME_BITS * (len(head.frames) + 1)) - 1
        head.read = every_slot(len(head.frames))
        return head

    def _untold(self, value: Value) -> Value:
        return value._replace(progress=None) if value.progress and value.progress.loop == self.ident else value

    def begins_at(self, state: State, pc: int) -> bool:
        """Whether that is the head, in the same calls; of a helper's rounds, in the same call of the helper."""
        frames = self.checkpoint.frames
        return (
            pc == self.pc
            and len(frames) == len(state.frames)
            and (self._most is None or state.heads.get((pc, len(frames))) is self.checkpoint)
            and all(a.resume == b.resume for a, b in zip(frames, state.frames, strict=True))
        )

    def takes(self, state: State, live: tuple[int, ...], notebook: Notebook) -> bool:
        """Whether the widened state covers one at the head."""
        folded = _folded(self.checkpoint, state, live, notebook)
        if not covers(self.checkpoint, folded, live, EVERYTHING, EVERYTHING, loop=self.ident):
            return False
        self._hide(state)
        return True

    def _hide(self, state: State) -> None:
        """Note the pointers of a state that the widened one leaves out."""
        stacks = [frame.stack for frame in self.checkpoint.frames] + [self.checkpoint.stack]
        for frame, (old, new) in enumerate(zip(stacks, state.every_stack(), strict=True)):
            for index, slot in new.items():
                if index not in old and slot.value is not None and slot.value.kind is not Kind.NUMBER:
                    self._hidden |= slot_bit(frame, index)

    def back(self, state: State, live: tuple[int, ...], notebook: Notebook) -> None:
        """A way back to the head arrived: raises NotProven unless it is covered and made progress."""
        if not self.takes(state, live, notebook):
            raise NotProven(self, state)
        self._demand(state, live)
        if self._most is not None:
            rest_on(state, (self.checkpoint,))
            return
        ways = dict(self._progress(state, live))
        if not any(way.step(1) or way.step(-1) for way in ways.values()):
            raise NotProven(self)
        self._ways.append(ways)

    def _demand(self, state: State, live: tuple[int, ...]) -> None:
        """The head takes this state for granted: paths that meet must not be taken for each other in what it compares."""
        old = self.checkpoint
        needs = ROOMS
        for r in live:
            if _matters(old.registers[r]):
                needs |= state.registers[r].needs
        for a, b in zip(old.frames, state.frames, strict=True):
            for r in kept(a):
                if _matters(a.registers[r]):
                    needs |= b.registers[r].needs
        stacks = [each.stack for each in old.frames] + [old.stack]
        for frame, (above, stack) in enumerate(zip(stacks, state.every_stack(), strict=True)):
            for index in above.keys() | stack.keys():
                read(state, slot_bit(frame, index))
                if index in stack:
                    needs |= slot_needs(state, frame, index, stack[index])
        need(state, needs)

    def _progress(self, state: State, live: tuple[int, ...]) -> Iterator[tuple[int, Way]]:
        old = self.checkpoint
        base = len(old.frames) * FRAME_BITS
        pairs = [(base + r, old.registers[r], state.registers[r]) for r in live]
        stacks = [frame.stack for frame in old.frames] + [old.stack]
        for frame, (a, b) in enumerate(zip(stacks, state.every_stack(), strict=True)):
            for index, slot in a.items():
                new = b.get(index)
                if slot.value is not None and new is not None and new.value is not None:
                    pairs.append((frame * FRAME_BITS + SLOTS - 1 - index, slot.value, new.value))
        for component, before, after in pairs:
            tag = after.progress
            if tag is None or tag.loop != self.ident or tag.component != component or before.kind is not after.kind:
                continue
            span = min(before.number.umax - before.number.umin, before.number.smax - before.number.smin)
            if span <= _MAX_ITERATIONS << 16:
                yield component, Way(tag.low, tag.high, span)


def _matters(value: Value) -> bool:
    """Whether the head says anything of a number."""
    return value.number is not UNKNOWN.number or value.progress is not None


def _least_step(ways: Sequence[dict[int, Way]], component: int, sign: int) -> int:
    """By how much the component moves at least where it moves; 0 when it moves nowhere, or the other way somewhere."""
    steps = []
    for each in ways:
        way = each.get(component)
        if way is None or (way.low if sign > 0 else -way.high) < 0:
            return 0
        steps.append(way.step(sign))
    return min((step for step in steps if step), default=0)


def _folded(head: Checkpoint, state: State, live: tuple[int, ...], notebook: Notebook) -> State:
    """The state with constant offsets made part of the variable ones, where the head has them so."""
    twin = state.fork()
    for r in live:
        old, new = head.registers[r], twin.registers[r]
        if old.kind is new.kind and old.kind in _MOVING and old.offset != new.offset:
            twin.registers[r] = _at(twin, new, old.offset, notebook)
    return twin


def _at(state: State, pointer: Value, offset: int, notebook: Notebook) -> Value:
    """The same pointer with that constant offset, the rest in its variable part."""
    rest = pointer.offset - offset
    moved = DOMAIN.alu(AluOp.ADD, 64, pointer.number, DOMAIN.const(rest))
    if pointer.kind not in _REGIONS:
        return pointer._replace(number=moved, offset=offset)
    ident = notebook.fresh_id()
    state.room[ident] = max(0, state.room.get(pointer.id, 0) - rest)
    return pointer._replace(number=moved, offset=offset, id=ident)


def thresholds(code: Code) -> tuple[int, ...]:
    """Numbers at which bounds of loops are likely to end: what the code compares with and starts from."""
    found = {0, 1, _WORD16, MAX_LENGTH, (1 << 32) - 1, (1 << 63) - 1}
    for each in code:
        match each:
            case Branch(src=Imm(value)):
                whole = value if value >= 0 else value & 0xFFFF_FFFF
                found |= {whole, max(whole - 1, 0), whole + 1}
            case Alu(op=AluOp.MOV, src=Imm(value)) if value > 0:
                found |= {value, value + 1}
            case _:
                pass
    return tuple(sorted(found))


@final
class Widening:
    """A state that covers both a visit of a loop's head and the one before, and probably those to come.

    `state` is None where kinds do not go together; `changed` says whether anything differs. `ident` is that of the loop whose
    progress is followed, or 0.
    """

    def __init__(
        self, before: Checkpoint | State, now: State, live: tuple[int, ...], ident: int, bounds: Sequence[int], *,
        needed: int, notebook: Notebook, again: bool = False,
    ) -> None:  # fmt: skip
        self.changed = False
        self._ident = ident
        self._bounds = bounds
        self._needed = needed
        self._again = again
        self._notebook = notebook
        self._rooms = (before.room, now.room)
        self._made: dict[int, int] = {}
        twin = now.fork()
        twin.room = {each: min(room, before.room[each]) for each, room in now.room.items() if each in before.room}
        self.state: State | None = twin
        base = len(now.frames) * FRAME_BITS
        for r in range(10):
            if r not in live:
                twin.registers[r] = UNINIT
                continue
            value = self._value(before.registers[r], now.registers[r], base + r)
            if value is None:
                self.state = None
                return
            twin.registers[r] = value
        stacks = [frame.stack for frame in before.frames] + [before.stack]
        for frame, (old, new) in enumerate(zip(stacks, twin.every_stack(), strict=True)):
            for index in list(new):
                self._slot(old.get(index), new, frame, index)
        twin.room |= self._made

    def _value(self, old: Value, new: Value, component: int) -> Value | None:
        if Kind.UNINIT in (old.kind, new.kind):
            return UNINIT
        if old.kind is not new.kind or old.target != new.target or old.ref != new.ref:
            return None
        if new.kind is Kind.NUMBER:
            return self._number(old, new, component)
        if new.kind in NOT_NULL:
            return new if old.id == new.id else new._replace(id=self._notebook.fresh_id())
        same = old.offset == new.offset and old.number is new.number and old.id == new.id
        if same:
            return new
        return self._pointer(old, new, component) if new.kind in _MOVING else None

    def _number(self, old: Value, new: Value, component: int) -> Value:
        length = new.length if old.length == new.length else None
        if old.number is new.number and old.progress == new.progress:
            return Value(Kind.NUMBER, new.number, 0, 0, 0, length, 0, new.progress)
        self.changed = True
        scalar = UNKNOWN.number
        if self._needed >> component & 1:
            scalar = DOMAIN.widen(old.number, new.number, self._far(new.number))
        return Value(Kind.NUMBER, scalar, 0, 0, 0, length, 0, self._tag(component))

    def _tag(self, component: int) -> Progress | None:
        return Progress(self._ident, component, 0, 0) if self._ident else None

    def _far(self, scalar: Scalar) -> Sequence[int]:
        """The thresholds; when a bound was not enough once, only those that are worth the round."""
        return [each for each in self._bounds if each >= 2 * scalar.umax] if self._again else self._bounds

    def _pointer(self, old: Value, new: Value, component: int) -> Value:
        self.changed = True
        places = [DOMAIN.alu(AluOp.ADD, 64, each.number, DOMAIN.const(each.offset)) for each in (old, new)]
        scalar: Scalar | None = DOMAIN.widen(places[0], places[1], self._bounds)
        tag = self._tag(component)
        assert scalar is not None
        if new.kind not in _REGIONS:
            return Value(new.kind, scalar, 0, new.id, new.target, None, 0, tag, new.ref)
        within = DOMAIN.meet(scalar, _LENGTHS)
        ident = self._notebook.fresh_id()
        rooms = [room.get(each.id, 0) - each.offset for each, room in zip((old, new), self._rooms, strict=True)]
        self._made[ident] = max(0, min(rooms))
        return Value(new.kind, scalar if within is None else within, 0, ident, new.target, None, 0, tag)

    def _slot(self, old: Slot | None, stack: dict[int, Slot], frame: int, index: int) -> None:
        new = stack[index]
        if old == new and (new.value is None or new.value.kind is not Kind.NUMBER):
            return
        component = slot_bit(frame, index).bit_length() - 1
        if old is None:
            del stack[index]
        elif old.value is not None and new.value is not None and old.size == new.size:
            value = self._value(old.value, new.value, component)
            if value is None or value.kind is Kind.UNINIT:
                del stack[index]
            else:
                stack[index] = Slot(old.written & new.written, 0, value, new.size)
        elif _is_number(old) and _is_number(new):
            stack[index] = Slot(old.written & new.written, old.zero & new.zero, rest=old.rest | new.rest)
        else:
            del stack[index]


def _is_number(slot: Slot) -> bool:
    return slot.value is None or slot.value.kind is Kind.NUMBER
