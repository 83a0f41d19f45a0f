"""Basic blocks of a program, and which registers are known to point into the stack frame or the context.

Not here: LLVM. The point of knowing is that an address of the form frame + constant lets LLVM keep the frame in
registers, where an address out of arithmetic would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from runtime.engine.registers import written
from runtime.isa import (
    Alu,
    AluOp,
    Branch,
    Code,
    Exit,
    Imm,
    Instruction,
    Jump,
    Reg,
    WideTail,
)
from runtime.verifier.verified import Facts

__all__ = ["CONTEXT", "FRAME", "Base", "Bases", "Block", "after", "blocks"]

FRAME: Final = "frame"
CONTEXT: Final = "context"
_FRAME_POINTER: Final = 10
_REGISTERS: Final = 11


@final
@dataclass(frozen=True, slots=True)
class Base:
    """`offset` bytes from the top of the stack frame (FRAME) or from the start of the context (CONTEXT)."""

    kind: str
    offset: int


Bases = tuple[Base | None, ...]


@final
@dataclass(frozen=True, slots=True)
class Block:
    """The slots from `start` up to `end`, entered at the first; `bases` hold on entry, by register."""

    start: int
    end: int
    bases: Bases
    successors: tuple[int, ...]


def blocks(code: Code, start: int, end: int, facts: Facts, *, context: bool) -> tuple[Block, ...]:
    """The blocks of the function in slots [start, end) that can be reached, in order of slot.

    `context` says whether r1 holds the context on entry. Slots that the facts call unreachable end a block.
    """
    cut = _leaders(code, start, end)
    entry: list[Base | None] = [None] * _REGISTERS
    entry[_FRAME_POINTER] = Base(FRAME, 0)
    if context:
        entry[1] = Base(CONTEXT, 0)
    reached: dict[int, Bases] = {start: tuple(entry)}
    waiting = [start]
    found: dict[int, Block] = {}
    while waiting:
        at = waiting.pop()
        block, leaving = _walk(code, at, cut, facts, reached[at])
        found[at] = block
        for successor in block.successors:
            known = reached.get(successor)
            merged = (
                leaving if known is None else tuple(a if a == b else None for a, b in zip(known, leaving, strict=True))
            )
            if merged != known:
                reached[successor] = merged
                waiting.append(successor)
    return tuple(found[at] for at in sorted(found))


def _leaders(code: Code, start: int, end: int) -> frozenset[int]:
    leaders = {start, end}
    for pc in range(start, end):
        match code[pc]:
            case Jump(offset=offset) | Branch(offset=offset):
                leaders |= {pc + 1 + offset, pc + 1}
            case Exit():
                leaders.add(pc + 1)
            case _:
                pass
    return frozenset(leaders)


def _walk(code: Code, start: int, cut: frozenset[int], facts: Facts, bases: Bases) -> tuple[Block, Bases]:
    now = bases
    pc = start
    while True:
        instruction = code[pc]
        if pc in facts.unreachable and not isinstance(instruction, WideTail):
            return Block(start, pc + 1, bases, ()), now
        now = after(now, instruction)
        successors = _successors(pc, instruction, facts)
        pc += 1
        if pc in cut or successors != (pc,):
            return Block(start, pc, bases, successors), now


def _successors(pc: int, instruction: Instruction, facts: Facts) -> tuple[int, ...]:
    match instruction:
        case Exit():
            return ()
        case Jump(offset=offset):
            return (pc + 1 + offset,)
        case Branch(offset=offset):
            always = facts.branches.get(pc)
            if always is None:
                return (pc + 1 + offset, pc + 1)
            return (pc + 1 + offset,) if always else (pc + 1,)
        case _:
            return (pc + 1,)


def after(bases: Bases, instruction: Instruction) -> Bases:
    """What is known after an instruction, given what was known before it."""
    match instruction:
        case Alu(op=AluOp.MOV, width=64, dst=dst, src=Reg(index)):
            return _with(bases, dst, bases[index])
        case Alu(op=AluOp.ADD, width=64, dst=dst, src=Imm(value)):
            return _with(bases, dst, _moved(bases[dst], value))
        case Alu(op=AluOp.SUB, width=64, dst=dst, src=Imm(value)):
            return _with(bases, dst, _moved(bases[dst], -value))
        case _:
            pass
    for index in written(instruction):
        bases = _with(bases, index, None)
    return bases


def _with(bases: Bases, index: int, base: Base | None) -> Bases:
    if bases[index] == base:
        return bases
    return (*bases[:index], base, *bases[index + 1 :])


def _moved(base: Base | None, by: int) -> Base | None:
    return None if base is None else Base(base.kind, base.offset + by)
