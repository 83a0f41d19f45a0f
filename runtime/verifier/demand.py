"""What a decision depends on: components of earlier states, marked backwards through the checkpoints of a path.

Not here: when something is demanded (transfer*.py), and what the marks are good for (prune.py).

A component is a register or a stack slot of a frame, and has a bit. A number carries the bits of the components of the last
checkpoint that it was computed from. When it decides something, `need` marks those at the checkpoint, and what they were
computed from at the checkpoint before, and so on. `read` does the same for slots whose contents mattered at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.verifier.values import Value

if TYPE_CHECKING:
    from runtime.verifier.state import Slot, State

__all__ = [
    "FRAME_BITS",
    "ROOMS",
    "SLOTS",
    "depending",
    "every_slot",
    "need",
    "read",
    "register_bit",
    "slot_bit",
    "slot_needs",
]

FRAME_BITS: Final = 80
"""Components of one frame: eleven registers, and slots from the top of the stack down."""
SLOTS: Final = 11
"""Where slots begin among a frame's components."""
_NEEDS: Final = Value._fields.index("needs")
ROOMS: Final = 0b11 << SLOTS + 64
"""Behind the slots of the first frame: how much is proven of the packet and of its metadata, for pointers loaded from now on."""


def register_bit(frame: int, register: int) -> int:
    """The component of a register."""
    return 1 << frame * FRAME_BITS + register


def slot_bit(frame: int, index: int) -> int:
    """The component of the slot `index` (-1 is the one below r10)."""
    return 1 << frame * FRAME_BITS + SLOTS - 1 - index


def every_slot(depth: int) -> int:
    """The components of all slots, of the frames up to `depth`."""
    return sum((1 << 64) - 1 << frame * FRAME_BITS + SLOTS for frame in range(depth + 1))


def slot_needs(state: State, frame: int, index: int, slot: Slot) -> int:
    """What the contents of a slot were computed from."""
    bit = slot_bit(frame, index)
    if not state.written & bit:
        return bit
    return slot.needs if slot.value is None else slot.value.needs


def depending(value: Value, needs: int) -> Value:
    """The same value, computed from those components."""
    return tuple.__new__(Value, value[:_NEEDS] + (needs,) + value[_NEEDS + 1 :])  # noqa: RUF005  faster than unpacking


def need(state: State, components: int) -> None:
    """Their values decided something."""
    checkpoint = state.checkpoint
    while components and checkpoint is not None:
        fresh = components & ~checkpoint.needed
        if not fresh:
            return
        checkpoint.needed |= fresh
        components = 0
        while fresh:
            bit = fresh & -fresh
            fresh ^= bit
            components |= checkpoint.sources(bit)
        checkpoint = checkpoint.parent


def read(state: State, slots: int) -> None:
    """The contents of these slots mattered."""
    slots &= ~state.written
    checkpoint = state.checkpoint
    while slots and checkpoint is not None:
        slots &= ~checkpoint.read
        checkpoint.read |= slots
        slots &= ~checkpoint.written
        checkpoint = checkpoint.parent
