"""Whether a state needs no exploration because one that covers it was explored to the end.

Not here: when that is asked (explore.py), how states are compared (match.py), and what marks components (demand.py). Of an explored
state, only what was needed and read below it is compared (questions.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from runtime.verifier.demand import FRAME_BITS, SLOTS, depending, need, read, register_bit
from runtime.verifier.match import EVERYTHING, covers
from runtime.verifier.questions import Questions, answered
from runtime.verifier.state import Frame, Slot, State, copies
from runtime.verifier.values import Kind

__all__ = ["Checkpoint", "Tally", "Visited", "begin", "hides_pointer", "repeats", "rest_on"]

_NUMBER: Final = Kind.NUMBER
_LIMIT: Final = 6
_PATIENCE: Final = 6  # steps between checkpoints, where there is one already


@final
class Checkpoint:
    """A state as it was at a merge point; once everything below is explored, it goes to its `place`.

    `open` counts the paths below it that are not finished; `needed` and `read` are the components that mattered below;
    `written` the slots that were stored to between the parent and here; `visits` how often the path was here before;
    `anchor` is one of these visits, so far away that a state that comes again after any number of rounds is found.
    `pending` are rounds of helpers above it, where paths below it go on (`rest_on`).
    """

    __slots__ = (
        "_call", "anchor", "frames", "heads", "hits", "lock", "misses", "needed", "open", "parent", "pc", "pending", "place",
        "questions", "read", "references", "registers", "room", "stack", "visits", "written",
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
        self.anchor: Checkpoint | None = None
        self._call: Checkpoint | None = None
        self.pending: tuple[Checkpoint, ...] = ()
        self.place: list[Checkpoint] | None = None
        self.questions: Questions | None = None

    @property
    def call(self) -> Checkpoint:
        """Of a helper's round, the first round of that call."""
        return self._call or self

    def follows(self, before: Checkpoint) -> None:
        """Of a round: that is the one before."""
        self._call = before.call
        self.anchor = before.anchor if before.visits & before.visits - 1 else before

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


@final
@dataclass(slots=True)
class Tally:
    """How often paths ended at a covered state, and how many states were compared for that."""

    pruned: int = 0
    compared: int = 0


@final
class Visited:
    """Finished checkpoints by place: the slot, the signature there, and the calls that lead to it."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
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
            self._tally.compared += 1
            if checkpoint.visits <= visits and _ends(checkpoint, state) and answered(checkpoint, state, live):
                checkpoint.hits += 1
                self._tally.pruned += 1
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


def rest_on(state: State, rounds: Iterable[Checkpoint]) -> None:
    """The path ends since those rounds of helpers above it cover what follows.

    A helper ends its rounds, so that is a proof within its call. A later call is below the round, too: a state there that is covered
    by what was explored here would go on at the round, come to the later call, and so on without end. So checkpoints between the
    round and here count in this call only, until the round is explored whole, and with it the later calls.
    """
    for head in rounds:
        each = state.checkpoint
        while each is not None and each is not head and head not in each.pending:
            each.pending = (*each.pending, head)
            each = each.parent


def _ends(checkpoint: Checkpoint, state: State) -> bool:
    """Whether what is below the checkpoint ends when the state goes on there."""
    for head in checkpoint.pending:
        if head.open:
            now = state.heads.get((head.pc, len(head.frames)))
            if now is None or now.call is not head.call:
                return False
    return True


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


def _inherit(checkpoint: Checkpoint, state: State) -> None:
    """What mattered below the covering state matters for the covered one, and what it rests on."""
    rest_on(state, [head for head in checkpoint.pending if head.open])
    read(state, checkpoint.read)
    assert checkpoint.questions is not None
    files, stacks = state.every_register_file(), state.every_stack()
    sources, written = 0, state.written
    for bit, frame, component in checkpoint.questions.needed:
        if component < SLOTS:
            sources |= files[frame][component].needs
        elif not written & bit:
            sources |= bit
        else:
            slot = stacks[frame].get(SLOTS - 1 - component)
            sources |= bit if slot is None else slot.needs if slot.value is None else slot.value.needs
    need(state, sources)
