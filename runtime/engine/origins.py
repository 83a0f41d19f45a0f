"""Where a program's result came from: for each instruction, what it says about the origins of values that may be returned.

Not here: carrying it out; an engine that is asked for origins keeps one beside each register and gives that of r0 at exit.

The origin of a value is the instruction that made it, or the branch after which it was certain to be returned: compilers set a
verdict early and share one exit, so that the branch is what tells `if (a) return DROP` from `if (b) return DROP`.
"Certain" is a backward dataflow of one register a place. Where line records exist, a value made at a place that has none of its own
(constants that a compiler moved) is said to come from the last place on the path that has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, final

from runtime.engine.registers import written
from runtime.isa import (
    Alu,
    AluOp,
    Branch,
    CallLocal,
    Code,
    Exit,
    Imm,
    Instruction,
    Jump,
    MoveSigned,
    Reg,
)
from runtime.spec import LineInfo
from runtime.verifier import VerifiedProgram

__all__ = ["Decision", "Origin", "Origins", "Source", "origins"]

_NARROWING: Final = (AluOp.LSH, AluOp.RSH, AluOp.ARSH, AluOp.AND)
_UNKNOWN: Final = -2  # no way to an exit was found yet
_NONE: Final = -1


class Source(Enum):
    """HERE: this instruction. BEFORE: the last one on the path that has a line. CALLEE: what the function that was called said."""

    HERE = auto()
    BEFORE = auto()
    CALLEE = auto()


@final
@dataclass(frozen=True, slots=True)
class Origin:
    """After an instruction the value of register `of` has this origin; an int: that of another register."""

    of: int
    source: Source | int


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """After a branch (`taken` or not) the value of register `of` will be returned, and comes from there (HERE or BEFORE)."""

    taken: bool
    of: int
    source: Source


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """What matters, by slot: `made` after instructions, `decided` after branches, `lined`: has a line, and BEFORE means it."""

    made: Mapping[int, Origin]
    decided: Mapping[int, tuple[Decision, ...]]
    lined: frozenset[int]


def origins(program: VerifiedProgram) -> Origins:
    """The origins of a program and its functions."""
    code = program.spec.code
    starts = [each.start for each in program.spec.subprograms]
    known = _known(code, program.spec.lines, starts)
    made: dict[int, Origin] = {}
    decided: dict[int, tuple[Decision, ...]] = {}
    for start, end in zip(starts, [*starts[1:], len(code)], strict=True):
        ways = {pc: _successors(pc, code[pc], program) for pc in range(start, end)}
        certain = _certain(code, ways, start, end)
        possible = _possible(code, ways, start, end)
        for pc in range(start, end):
            here = Source.HERE if pc in known else Source.BEFORE
            made |= _made(pc, code[pc], here, frozenset().union(*(possible.get(to, frozenset()) for to in ways[pc])))
            if len(ways[pc]) == 2 and (choices := _decided(ways[pc], certain, here)):
                decided[pc] = choices
    asked = any(each.source is Source.BEFORE for each in made.values()) or any(
        each.source is Source.BEFORE for several in decided.values() for each in several
    )
    lined = frozenset(each.pc for each in program.spec.lines if each.line) if asked else frozenset()
    return Origins(made=made, decided=decided, lined=lined)


def _made(pc: int, instruction: Instruction, here: Source, wanted: frozenset[int]) -> dict[int, Origin]:
    match _copied(instruction):
        case (dst, src):
            return {pc: Origin(dst, src)} if dst in wanted and dst != src else {}
        case None:
            pass
    source = Source.CALLEE if isinstance(instruction, CallLocal) else here
    found = next((each for each in written(instruction) if each in wanted), None)
    return {} if found is None else {pc: Origin(found, source)}


def _decided(ways: tuple[int, ...], certain: Mapping[int, int], here: Source) -> tuple[Decision, ...]:
    """Of a branch to ways[0] or on to ways[1]: what is certain after one of them only."""
    to, on = (certain.get(each, _UNKNOWN) for each in ways)
    if to == on or _UNKNOWN in (to, on):
        return ()
    sides = ((True, to), (False, on))
    return tuple(Decision(taken, register, here) for taken, register in sides if register != _NONE)


def _known(code: Code, lines: tuple[LineInfo, ...], starts: list[int]) -> frozenset[int]:
    """The slots whose line is known: there is a record between the last place where paths may join and the slot."""
    if not lines:
        return frozenset(range(len(code)))
    records = {each.pc for each in lines if each.line}
    joins = set(starts)
    for pc, each in enumerate(code):
        match each:
            case Jump(offset=offset):
                joins |= {pc + 1 + offset, pc + 1}
            case Branch(offset=offset):
                joins.add(pc + 1 + offset)
            case Exit():
                joins.add(pc + 1)
            case _:
                pass
    found = set()
    has_one = False
    for pc in range(len(code)):
        has_one = pc in records or (has_one and pc not in joins)
        if has_one:
            found.add(pc)
    return frozenset(found)


def _certain(code: Code, ways: Mapping[int, tuple[int, ...]], start: int, end: int) -> dict[int, int]:
    """Before each slot, the register whose value is returned on every way on from there; _NONE: there is none."""
    found = dict.fromkeys(range(start, end), _UNKNOWN)
    changed = True
    while changed:
        changed = False
        for pc in range(end - 1, start - 1, -1):
            if isinstance(code[pc], Exit):
                now = 0
            else:
                after = {found.get(to, _UNKNOWN) for to in ways[pc]} - {_UNKNOWN}
                now = _UNKNOWN if not after else _before(code[pc], after.pop()) if len(after) == 1 else _NONE
            if found[pc] != now:
                found[pc] = now
                changed = True
    return found


def _before(instruction: Instruction, register: int) -> int:
    """The register that holds, before an instruction, what this one holds after it."""
    match _copied(instruction):
        case (dst, src):
            return src if register == dst else register
        case None:
            pass
    return _NONE if register in written(instruction) else register


def _possible(code: Code, ways: Mapping[int, tuple[int, ...]], start: int, end: int) -> dict[int, frozenset[int]]:
    """Before each slot, the registers whose values may be returned."""
    nothing: frozenset[int] = frozenset()
    found = dict.fromkeys(range(start, end), nothing)
    changed = True
    while changed:
        changed = False
        for pc in range(end - 1, start - 1, -1):
            if isinstance(code[pc], Exit):
                now = frozenset({0})
            else:
                after = nothing.union(*(found.get(to, nothing) for to in ways[pc]))
                now = frozenset(_before(code[pc], each) for each in after) - {_NONE}
            if found[pc] != now:
                found[pc] = now
                changed = True
    return found


def _successors(pc: int, instruction: Instruction, program: VerifiedProgram) -> tuple[int, ...]:
    """Where a slot leads; a branch that can go both ways first where it jumps to."""
    facts = program.facts
    if pc in facts.unreachable:
        return ()
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


def _copied(instruction: Instruction) -> tuple[int, int] | None:
    """(to, from) where the value stays what it was, or a part of it."""
    match instruction:
        case Alu(op=AluOp.MOV, dst=dst, src=Reg(index)):
            return dst, index
        case MoveSigned(dst=dst, src=index):
            return dst, index
        case Alu(op=op, dst=dst, src=Imm()) if op in _NARROWING:
            return dst, dst
        case _:
            return None
