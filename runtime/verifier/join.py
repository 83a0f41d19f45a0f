"""The tier behind the path by path one: states that wait at the same place become one when they are many.

Not here: what is asked of states, which is the same for both tiers (explore.py). States wait where paths meet, and the earliest place
goes on first: a loop's round ends everywhere before the next begins, and a loop before what follows it. So the number of steps
grows with the program and the rounds of its loops, not with its paths. A joined state says less than those that it came from; what is
accepted is safe, what is rejected may be.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from typing import Final, final

from runtime.isa import AluOp
from runtime.verifier.demand import FRAME_BITS
from runtime.verifier.domains import DOMAIN
from runtime.verifier.flow import Graph
from runtime.verifier.match import kept
from runtime.verifier.platform import Notebook
from runtime.verifier.prune import Checkpoint
from runtime.verifier.state import Slot, State
from runtime.verifier.values import NOT_NULL, UNINIT, Kind, Progress, Value

__all__ = ["Stack", "Waiting", "nests"]

_MANY: Final = 8
_MOVING: Final = frozenset({Kind.STACK, Kind.MAP_VALUE, Kind.MEMORY, Kind.MAP_KEY})
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_FULL: Final = 0xFF

Nests = tuple[tuple[int, ...], ...]


def nests(graph: Graph) -> Nests:
    """Of each slot, the heads of the loops around it, outermost first."""
    before: defaultdict[int, list[int]] = defaultdict(list)
    for pc, targets in enumerate(graph.successors):
        for target in targets:
            before[target].append(pc)
    bodies = {head: _body(head, before) for head in graph.heads}
    around: list[list[int]] = [[] for _ in graph.successors]
    for head in sorted(bodies, key=lambda each: (-len(bodies[each]), each)):
        for pc in bodies[head]:
            around[pc].append(head)
    return tuple(map(tuple, around))


def _body(head: int, before: defaultdict[int, list[int]]) -> set[int]:
    """The slots from which the head is reached again without passing it."""
    body = {head}
    work = [pc for pc in before[head] if pc >= head]
    while work:
        pc = work.pop()
        if pc not in body:
            body.add(pc)
            work += before[pc]
    return body


@final
class Stack:
    """States that wait, the last first: what the path by path tier has."""

    def __init__(self) -> None:
        self._items: list[tuple[State, int]] = []
        self.pop = self._items.pop

    def __bool__(self) -> bool:
        """Whether any state waits."""
        return bool(self._items)

    def append(self, item: tuple[State, int], _: Notebook) -> None:
        """Add a state that arrived at a slot."""
        self._items.append(item)


@final
class Waiting:
    """States that wait, by place; `pop` gives one from the earliest place. A place has no more than a few states."""

    def __init__(self, around: Nests, live: tuple[tuple[int, ...], ...], callers: frozenset[int]) -> None:
        self._callers = callers
        self._around = around
        self._live = live
        self._heap: list[tuple[tuple[tuple[int, int], ...], int]] = []
        self._places: dict[tuple[tuple[int, int], ...], dict[tuple[object, ...], list[State]]] = {}

    def __bool__(self) -> bool:
        """Whether any state waits."""
        return bool(self._heap)

    def append(self, item: tuple[State, int], notebook: Notebook) -> None:
        """Add a state that arrived at a slot."""
        state, pc = item
        place = self._place(state, pc)
        known = self._places.get(place)
        if known is None:
            known = self._places[place] = {}
            heappush(self._heap, (place, pc))
        live = self._live[pc]
        states = known.setdefault(_likeness(state, live), [])
        if len(states) >= _MANY:
            joined = _Join(states[-1], state, live, notebook).state
            if joined is not None:
                states[-1] = joined
                return
        states.append(state)

    def pop(self) -> tuple[State, int]:
        """One of the states at the earliest place."""
        place, pc = self._heap[0]
        known = self._places[place]
        likeness, states = next(iter(known.items()))
        state = states.pop()
        if not states:
            del known[likeness]
        if not known:
            heappop(self._heap)
            del self._places[place]
        return state, pc

    def _place(self, state: State, pc: int) -> tuple[tuple[int, int], ...]:
        """Where a state is: loops and their rounds, calls, and the slot, from outside to inside; earlier places are smaller."""
        found: list[tuple[int, int]] = []
        slots = [each.resume - (each.callback is None) for each in state.frames] + [pc]
        for depth, slot in enumerate(slots):
            arrived = slot if depth == state.depth else None  # a state at a head is about to begin the next round
            heads = self._around[slot]
            found += [(head, _rounds(state, head, depth, again=head == arrived)) for head in heads]
            calls_back = slot in self._callers
            found.append((slot, _rounds(state, slot, depth, again=slot == arrived) if calls_back else 0))
        return tuple(found)


def _rounds(state: State, head: int, depth: int, *, again: bool) -> int:
    before = state.heads.get((head, depth))
    return 0 if before is None else before.visits + again


def _likeness(state: State, live: tuple[int, ...]) -> tuple[object, ...]:
    """What states have in common that can become one."""
    registers = state.registers
    kinds = [(value.kind, value.kind is not Kind.NUMBER and value.target) for value in map(registers.__getitem__, live)]
    frames = [(each.resume, id(each.callback)) for each in state.frames]
    return (*kinds, *frames, state.references, state.lock)


@final
class _Join:
    """A state that covers both; `state` is None where there is none."""

    def __init__(self, old: State, new: State, live: tuple[int, ...], notebook: Notebook) -> None:
        self._notebook = notebook
        self._rooms = (old.room, new.room)
        self._made: dict[int, int] = {}
        self._all = (1 << FRAME_BITS * (len(new.frames) + 1)) - 1
        twin = new.fork()
        twin.room = {each: min(room, old.room[each]) for each, room in new.room.items() if each in old.room}
        self.state: State | None = twin if old.heads.keys() == new.heads.keys() else None
        files = list(zip(old.every_register_file(), twin.every_register_file(), strict=True))
        wanted = [*map(kept, new.frames), (*live, 10)]
        for (a, b), indices in zip(files, wanted, strict=True):
            for r in range(11):
                value = self._value(a[r], b[r]) if r in indices else UNINIT
                if value is None:
                    self.state = None
                    return
                b[r] = value
        for above, stack in zip(old.every_stack(), twin.every_stack(), strict=True):
            for index in above.keys() | stack.keys():
                stack[index] = self._slot(above.get(index), stack.get(index))
        twin.room |= self._made
        twin.checkpoint = _common(old.checkpoint, new.checkpoint)
        twin.written = 0

    def _value(self, old: Value, new: Value) -> Value | None:
        if Kind.UNINIT in (old.kind, new.kind):
            return UNINIT
        if old.kind is not new.kind or old.target != new.target or old.ref != new.ref:
            return None
        if new.kind is Kind.NUMBER:
            return self._number(old, new)
        if old == new:
            return new
        if new.kind in NOT_NULL:
            return new._replace(id=self._notebook.fresh_id()) if old._replace(id=0) == new._replace(id=0) else None
        if new.kind in _REGIONS:
            return self._pointer(old, new)
        return self._pointer(old, new) if new.kind in _MOVING and old.id == new.id else None

    def _number(self, old: Value, new: Value) -> Value:
        length = new.length if old.length == new.length else None
        ident, offset = (new.id, new.offset) if (old.id, old.offset) == (new.id, new.offset) else (0, 0)
        scalar = DOMAIN.join(old.number, new.number)
        return Value(Kind.NUMBER, scalar, offset, ident, 0, length, self._all, _both(old.progress, new.progress))

    def _pointer(self, old: Value, new: Value) -> Value:
        places = [DOMAIN.alu(AluOp.ADD, 64, each.number, DOMAIN.const(each.offset)) for each in (old, new)]
        scalar, progress = DOMAIN.join(*places), _both(old.progress, new.progress)
        ident = new.id
        if new.kind in _REGIONS:
            ident = self._notebook.fresh_id()
            rooms = [room.get(each.id, 0) - each.offset for each, room in zip((old, new), self._rooms, strict=True)]
            self._made[ident] = max(0, min(rooms))
        return Value(new.kind, scalar, 0, ident, new.target, None, 0, progress, new.ref)

    def _slot(self, old: Slot | None, new: Slot | None) -> Slot:
        """What is in either; where one holds a pointer that the other does not hold, nothing may be read."""
        old, new = old or Slot(0), new or Slot(0)
        written = old.written & new.written
        if old.value is not None and new.value is not None and old.size == new.size:
            value = self._value(old.value, new.value)
            if value is not None and value.kind is not Kind.UNINIT:
                return Slot(written, 0, value, new.size, self._all)
        if _FULL in (old.secret, new.secret):
            return Slot(written, rest=_FULL)
        return Slot(written, _zero(old) & _zero(new), needs=self._all, rest=old.rest | new.rest)


def _zero(slot: Slot) -> int:
    if slot.value is None:
        return slot.zero
    return (1 << slot.size) - 1 if slot.value.kind is Kind.NUMBER and slot.value.number.const == 0 else 0


def _both(old: Progress | None, new: Progress | None) -> Progress | None:
    """How far a number moved at least and at most, where both moved in the same loop."""
    if old is None or new is None or old[:2] != new[:2]:
        return None
    return new._replace(low=min(old.low, new.low), high=max(old.high, new.high))


def _common(old: Checkpoint | None, new: Checkpoint | None) -> Checkpoint | None:
    """The last checkpoint that both paths passed."""
    passed = set()
    while old is not None:
        passed.add(id(old))
        old = old.parent
    while new is not None and id(new) not in passed:
        new = new.parent
    return new
