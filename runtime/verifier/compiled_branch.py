"""Closures for conditional jumps whose outcome depends on no address: numbers, tests for null, packet pointers against the end.

Not here: what a side says (transfer_branch.py).
"""

from __future__ import annotations

from typing import Final

from runtime.isa import Branch, Imm, JumpOp, Reg
from runtime.verifier.compiled_values import GENERIC, NUMBER, Closure, Run
from runtime.verifier.domains import DOMAIN
from runtime.verifier.state import State
from runtime.verifier.transfer_branch import split, split_numbers
from runtime.verifier.values import Kind, number

__all__ = ["branch"]

_WORD32: Final = (1 << 32) - 1
_EQUAL: Final = frozenset({JumpOp.JEQ, JumpOp.JNE})
_ENDS: Final = frozenset({(Kind.PACKET, Kind.PACKET_END), (Kind.PACKET_END, Kind.PACKET)})


def branch(run: Run, pc: int, instruction: Branch) -> Closure:
    """The jump."""
    if isinstance(instruction.src, Reg):
        return _with_register(run, pc, instruction, instruction.src.index)
    return _with_constant(run, pc, instruction, instruction.src)


def _with_constant(run: Run, pc: int, instruction: Branch, source: Imm) -> Closure:
    op, width, dst, target = instruction.op, instruction.width, instruction.dst, pc + 1 + instruction.offset
    right = number(DOMAIN.const(source.value if width == 64 else source.value & _WORD32), 0)
    by = right.number
    tests_null = width == 64 and op in _EQUAL and not source.value

    def closure(state: State) -> int:
        left = state.registers[dst]
        if left.kind is NUMBER:
            sides = DOMAIN.branch(op, width, left.number, by)
            return run.goes(state, pc, split_numbers(state, instruction, left, right, sides), target)
        if tests_null and left.kind is Kind.MAP_VALUE_OR_NULL:
            return run.goes(state, pc, split(state, instruction), target)
        return GENERIC

    return closure


def _with_register(run: Run, pc: int, instruction: Branch, src: int) -> Closure:
    op, width, dst, target = instruction.op, instruction.width, instruction.dst, pc + 1 + instruction.offset
    related = width == 64 and op is not JumpOp.JSET

    def closure(state: State) -> int:
        left, right = state.registers[dst], state.registers[src]
        if left.kind is NUMBER and right.kind is NUMBER:
            sides = DOMAIN.branch(op, width, left.number, right.number)
            return run.goes(state, pc, split_numbers(state, instruction, left, right, sides), target)
        if related and (left.kind, right.kind) in _ENDS:
            return run.goes(state, pc, split(state, instruction), target)
        return GENERIC

    return closure
