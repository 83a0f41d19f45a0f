"""Closures for moves and arithmetic.

Not here: pointers moved by what is not constant, halves of pointers, distances.
"""

from __future__ import annotations

from typing import Final

from runtime.isa import Alu, AluOp, ByteSwap, Imm, MoveSigned, Negate, Reg
from runtime.verifier.compiled_values import GENERIC, NUMBER, Closure, Run, linked, moved, plain
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.state import FRAME_POINTER, State
from runtime.verifier.transfer import compute
from runtime.verifier.values import Kind, number

__all__ = ["alu", "constant", "move", "unary"]

_WORD32: Final = (1 << 32) - 1
_NEAR: Final = 1 << 29
_UNINIT: Final = Kind.UNINIT
_SHIFTS: Final = frozenset({AluOp.LSH, AluOp.RSH, AluOp.ARSH})
_DIVISIONS: Final = frozenset({AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD})
_SUMS: Final = frozenset({AluOp.ADD, AluOp.SUB})
_MOVABLE: Final = frozenset({Kind.STACK, Kind.PACKET, Kind.PACKET_META, Kind.MAP_VALUE})


def constant(following: int, dst: int, value: int) -> Closure | None:
    """`dst = value`."""
    if dst == FRAME_POINTER:
        return None
    made = number(DOMAIN.const(value), 0)

    def closure(state: State) -> int:
        state.registers[dst] = made
        return following

    return closure


def move(run: Run, pc: int, instruction: Alu) -> Closure | None:
    """`dst = src` of all kinds, `w = w` of numbers."""
    dst, source, following = instruction.dst, instruction.src, pc + 1
    if isinstance(source, Imm):
        return constant(following, dst, source.value if instruction.width == 64 else source.value & _WORD32)
    if dst == FRAME_POINTER:
        return None
    src = source.index

    def whole(state: State) -> int:
        registers = state.registers
        value = registers[src]
        kind = value.kind
        if kind is NUMBER:
            registers[dst] = value if value.id else linked(run.notebook, registers, src)
        elif kind is _UNINIT:
            return GENERIC
        else:
            registers[dst] = value
        return following

    def half(state: State) -> int:
        registers = state.registers
        value = registers[src]
        if value.kind is not NUMBER:
            return GENERIC
        scalar = value.number
        if scalar.umax <= _WORD32:
            registers[dst] = value if value.id else linked(run.notebook, registers, src)
        else:
            registers[dst] = plain(DOMAIN.truncate(scalar, 32), value.needs)
        return following

    return whole if instruction.width == 64 else half


def unary(pc: int, instruction: MoveSigned | Negate | ByteSwap) -> Closure | None:
    """Sign extensions, negations and byte swaps of numbers."""
    dst, following = instruction.dst, pc + 1
    if dst == FRAME_POINTER:
        return None
    src = instruction.src if isinstance(instruction, MoveSigned) else dst
    keeps = isinstance(instruction, MoveSigned)
    memo: dict[Scalar, Scalar] = {}

    def result(scalar: Scalar) -> Scalar:
        match instruction:
            case MoveSigned(width=width, bits=bits):
                return DOMAIN.sign_extend(scalar, bits, width)
            case Negate(width):
                return DOMAIN.negate(width, scalar)
            case ByteSwap(kind=kind, bits=bits):
                return DOMAIN.byteswap(kind, bits, scalar)

    def closure(state: State) -> int:
        value = state.registers[src]
        if value.kind is not NUMBER:
            return GENERIC
        scalar = value.number
        made = memo.get(scalar)
        if made is None:
            made = memo[scalar] = result(scalar)
        state.registers[dst] = value if keeps and made is scalar else plain(made, value.needs)
        return following

    return closure


def alu(pc: int, instruction: Alu) -> Closure | None:
    """Arithmetic of two numbers, and pointers moved by a constant."""
    if instruction.dst == FRAME_POINTER:
        return None
    if isinstance(instruction.src, Reg):
        return _of_registers(pc, instruction, instruction.src.index)
    value, op = instruction.src.value, instruction.op
    if (op in _SHIFTS and not 0 <= value < instruction.width) or (op in _DIVISIONS and not value):
        return None
    return _with_constant(pc, instruction, value)


def _with_constant(pc: int, instruction: Alu, immediate: int) -> Closure:
    op, width, dst, following = instruction.op, instruction.width, instruction.dst, pc + 1
    right = number(DOMAIN.const(immediate if width == 64 else immediate & _WORD32), 0)
    by = right.number
    follows = op in _SUMS
    near = follows and width == 64 and -_NEAR < immediate < _NEAR
    delta = immediate if op is AluOp.ADD else -immediate
    memo: dict[Scalar, Scalar] = {}

    def closure(state: State) -> int:
        registers = state.registers
        left = registers[dst]
        if left.kind is NUMBER:
            if follows and (left.id or left.progress):
                registers[dst] = compute(instruction, left, right)
                return following
            scalar = left.number
            result = memo.get(scalar)
            if result is None:
                result = DOMAIN.alu(op, width, scalar, by)
                if scalar.const is None:
                    memo[scalar] = result
            registers[dst] = plain(result, left.needs)
            return following
        if near and left.kind in _MOVABLE and left.progress is None:
            registers[dst] = moved(left, delta)
            return following
        return GENERIC

    return closure


def _of_registers(pc: int, instruction: Alu, src: int) -> Closure:
    op, width, dst, following = instruction.op, instruction.width, instruction.dst, pc + 1
    follows = op in _SUMS

    def closure(state: State) -> int:
        registers = state.registers
        left, right = registers[dst], registers[src]
        if left.kind is not NUMBER or right.kind is not NUMBER:
            return GENERIC
        if follows and (left.id or left.progress):
            registers[dst] = compute(instruction, left, right)
        else:
            registers[dst] = plain(DOMAIN.alu(op, width, left.number, right.number), left.needs | right.needs)
        return following

    return closure
