"""Which registers an instruction changes.

Not here: what they hold afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.isa import (
    Alu,
    Atomic,
    AtomicOp,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Instruction,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    MoveSigned,
    Negate,
)

__all__ = ["written"]


def written(instruction: Instruction) -> Iterator[int]:
    """The registers whose values may be others after the instruction; a call also leaves nothing in r1 to r5."""
    match instruction:
        case (
            Alu(dst=dst)
            | MoveSigned(dst=dst)
            | Negate(dst=dst)
            | ByteSwap(dst=dst)
            | LoadImm64(dst=dst)
            | LoadMap(dst=dst)
            | LoadMapValue(dst=dst)
            | LoadFunction(dst=dst)
            | Load(dst=dst)
        ):
            yield dst
        case Atomic(op=op, fetch=fetch, src=src):
            if op is AtomicOp.CMPXCHG:
                yield 0
            elif fetch:
                yield src
        case CallHelper() | CallLocal() | CallBtf() | LoadPacket():
            yield from range(6)
        case _:
            pass
