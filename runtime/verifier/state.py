"""One abstract state: registers, stack frames, and how much of the packet is proven.

Not here: how instructions change it (transfer*.py). States are copied at forks; values inside are immutable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

from runtime.spec import Callback
from runtime.verifier.demand import read, slot_bit, slot_needs
from runtime.verifier.values import CONTEXT, UNINIT, ZERO, Kind, Value

if TYPE_CHECKING:
    from runtime.verifier.prune import Checkpoint

__all__ = [
    "FRAME_POINTER",
    "META_BASE",
    "PACKET_BASE",
    "STACK_SIZE",
    "Frame",
    "Path",
    "Slot",
    "State",
    "copies",
    "entry_state",
]

STACK_SIZE: Final = 512
FRAME_POINTER: Final = 10
PACKET_BASE: Final = 1
META_BASE: Final = -1
"""The ids of the pointers that are loaded from the context."""


class Slot(NamedTuple):
    """Eight bytes of stack. `written` and `zero` are masks of bytes; `value` is what was spilled over the low `size` bytes.

    `needs` is what the zeroes were computed from; a spilled value has its own. `rest` are bytes of a pointer that was
    overwritten in part.
    """

    written: int
    zero: int = 0
    value: Value | None = None
    size: int = 0
    needs: int = 0
    rest: int = 0

    @property
    def secret(self) -> int:
        """The bytes that are of a pointer, whole or not."""
        return 0xFF if self.value is not None and self.value.kind is not Kind.NUMBER else self.rest


@final
@dataclass(slots=True)
class Frame:
    """A caller that waits: its registers, its stack, where it goes on.

    `callback`: the running function was called by a helper, at slot `resume`, under this contract.
    """

    registers: list[Value]
    stack: dict[int, Slot]
    resume: int
    callback: Callback | None = None


class Path(NamedTuple):
    """The decisions that led here, newest first."""

    pc: int
    taken: bool
    before: Path | None


@final
class State:
    """Mutable; `stack` belongs to the running function, `frames` to its callers, outermost first.

    `starts` are the slots where the active functions begin; `room` the bytes proven to be there from each packet base.
    `written` are the stack slots (demand.slot_bit) that were stored to since the checkpoint. `heads` are the last visits of
    the loops around this place, by slot and depth; never changed in place. `references` and `lock` are held (references.py).
    """

    __slots__ = (
        "checkpoint", "frames", "heads", "lock", "path", "references", "registers", "room", "stack", "starts", "written",
    )  # fmt: skip

    def __init__(self) -> None:
        self.registers: list[Value] = [UNINIT] * 11
        self.stack: dict[int, Slot] = {}
        self.frames: tuple[Frame, ...] = ()
        self.starts: tuple[int, ...] = (0,)
        self.room: dict[int, int] = {}
        self.path: Path | None = None
        self.checkpoint: Checkpoint | None = None
        self.written = 0
        self.heads: dict[tuple[int, int], Checkpoint] = {}
        self.references: tuple[int, ...] = ()
        self.lock: tuple[int, int] | None = None

    def fork(self) -> State:
        """A copy that shares nothing mutable."""
        twin = State.__new__(State)
        twin.registers = self.registers[:]
        twin.stack = self.stack.copy()
        twin.frames = copies(self.frames) if self.frames else ()
        twin.starts = self.starts
        twin.room = self.room.copy()
        twin.path = self.path
        twin.checkpoint = self.checkpoint
        twin.written = self.written
        twin.heads = self.heads
        twin.references = self.references
        twin.lock = self.lock
        return twin

    @property
    def depth(self) -> int:
        """The number of the running function's frame; 0 is the entry."""
        return len(self.frames)

    def stack_of(self, frame: int) -> dict[int, Slot]:
        """The stack of a frame."""
        return self.stack if frame == len(self.frames) else self.frames[frame].stack

    def every_stack(self) -> list[dict[int, Slot]]:
        """All stacks, outermost first."""
        return [frame.stack for frame in self.frames] + [self.stack]

    def every_register_file(self) -> list[list[Value]]:
        """All register files, outermost first."""
        return [frame.registers for frame in self.frames] + [self.registers]

    def forget_rooms(self) -> None:
        """Drop what is proven from bases that no value names any more."""
        named = {PACKET_BASE, META_BASE}
        for registers in self.every_register_file():
            for value in registers:
                named.add(value.id if value.length is None else value.length.base)
        for stack in self.every_stack():
            for slot in stack.values():
                if slot.value is not None:
                    named.add(slot.value.id if slot.value.length is None else slot.value.length.base)
        self.room = {base: room for base, room in self.room.items() if base in named}

    def replace(self, rule: Callable[[Value], Value]) -> None:
        """Put `rule(value)` in place of every value in registers and stacks; the same object means no change."""
        for registers in self.every_register_file():
            for index, value in enumerate(registers):
                new = rule(value)
                if new is not value:
                    registers[index] = new
        for frame, stack in enumerate(self.every_stack()):
            for index, slot in list(stack.items()):
                if slot.value is not None:
                    self._replace_spilled(frame, stack, index, slot, rule)

    def replace_named(self, ident: int, rule: Callable[[Value], Value]) -> None:
        """The same, of values with that id (or its negative), which must not be 0."""
        names = (ident, -ident)
        for registers in self.every_register_file():
            for index, value in enumerate(registers):
                if value.id in names:
                    registers[index] = rule(value)
        for frame, stack in enumerate(self.every_stack()):
            spilled = [
                (index, slot)
                for index, slot in stack.items()
                if (found := slot.value) is not None and found.id in names
            ]
            for index, slot in spilled:
                self._replace_spilled(frame, stack, index, slot, rule)

    def _replace_spilled(
        self, frame: int, stack: dict[int, Slot], index: int, slot: Slot, rule: Callable[[Value], Value]
    ) -> None:
        assert slot.value is not None
        needs = slot_needs(self, frame, index, slot)
        old = (
            slot.value
            if slot.value.needs == needs or slot.value.kind is not Kind.NUMBER
            else slot.value._replace(needs=needs)
        )
        new = rule(old)
        if new is old:
            return
        stack[index] = Slot(slot.written, 0, new, slot.size)
        if new.kind is Kind.NUMBER:  # from now on it depends on more than the slot at the checkpoint
            bit = slot_bit(frame, index)
            read(self, bit)
            self.written |= bit


def copies(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """Frames that share nothing mutable with those."""
    return tuple(Frame(f.registers[:], f.stack.copy(), f.resume, f.callback) for f in frames)


def entry_state() -> State:
    """Where a program starts: r1 is the context, r10 the end of the stack."""
    state = State()
    state.registers[1] = CONTEXT
    state.registers[FRAME_POINTER] = Value(Kind.STACK, ZERO, 0, 0, 0)
    return state
