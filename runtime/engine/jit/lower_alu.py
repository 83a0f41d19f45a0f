"""Arithmetic, moves, byte order and comparisons as LLVM instructions.

Not here: memory, calls, control flow. Semantics are those of RFC 9669 §4: shift counts are masked, division by
zero gives 0, the remainder by zero gives the dividend, and the overflowing signed division wraps.
"""

from __future__ import annotations

import sys
from typing import Final

from runtime.engine.jit.emit import Emitter, word
from runtime.isa import Alu, AluOp, Branch, ByteSwap, Imm, JumpOp, MoveSigned, Negate, Operand, SwapKind

__all__ = ["byte_swap", "condition", "move_signed", "negate", "operate"]

_PLAIN: Final = {
    AluOp.ADD: "add",
    AluOp.SUB: "sub",
    AluOp.MUL: "mul",
    AluOp.OR: "or",
    AluOp.AND: "and",
    AluOp.XOR: "xor",
}
_SHIFTS: Final = {AluOp.LSH: "shl", AluOp.RSH: "lshr", AluOp.ARSH: "ashr"}
_DIVISIONS: Final = {AluOp.DIV: "udiv", AluOp.MOD: "urem", AluOp.SDIV: "sdiv", AluOp.SMOD: "srem"}
_COMPARISONS: Final = {
    JumpOp.JEQ: "eq",
    JumpOp.JNE: "ne",
    JumpOp.JGT: "ugt",
    JumpOp.JGE: "uge",
    JumpOp.JLT: "ult",
    JumpOp.JLE: "ule",
    JumpOp.JSGT: "sgt",
    JumpOp.JSGE: "sge",
    JumpOp.JSLT: "slt",
    JumpOp.JSLE: "sle",
}
_REMAINDERS: Final = (AluOp.MOD, AluOp.SMOD)
_SIGNED: Final = (AluOp.SDIV, AluOp.SMOD)


def operate(e: Emitter, instruction: Alu) -> None:
    """Dst = dst OP src."""
    dst = instruction.dst
    if e.rebased(instruction, dst):
        return
    narrow = instruction.width == 32
    right = _operand(e, instruction.src, narrow=narrow)
    if instruction.op is AluOp.MOV:
        result = right
    else:
        left = e.get32(dst) if narrow else e.get(dst)
        result = _operation(e, instruction.op, left, right, instruction.width)
    if narrow:
        e.set32(dst, result)
    else:
        e.set(dst, result)


def _operand(e: Emitter, operand: Operand, *, narrow: bool) -> str:
    if isinstance(operand, Imm):
        return str(operand.value)
    return e.get32(operand.index) if narrow else e.get(operand.index)


def _operation(e: Emitter, op: AluOp, left: str, right: str, width: int) -> str:
    if op in _PLAIN:
        return e.value(f"{_PLAIN[op]} i{width} {left}, {right}")
    if op in _SHIFTS:
        count = e.value(f"and i{width} {right}, {width - 1}")
        return e.value(f"{_SHIFTS[op]} i{width} {left}, {count}")
    return _division(e, op, left, right, width)


def _division(e: Emitter, op: AluOp, left: str, right: str, width: int) -> str:
    """A division that traps on nothing: the divisors that would trap are replaced by 1 and the result chosen."""
    kind = f"i{width}"
    zero = e.value(f"icmp eq {kind} {right}, 0")
    bad = zero
    if op in _SIGNED:
        lowest = word(-(1 << width - 1))
        first = e.value(f"icmp eq {kind} {left}, {lowest}")
        second = e.value(f"icmp eq {kind} {right}, -1")
        overflow = e.value(f"and i1 {first}, {second}")
        bad = e.value(f"or i1 {zero}, {overflow}")
    divisor = e.value(f"select i1 {bad}, {kind} 1, {kind} {right}")
    result = e.value(f"{_DIVISIONS[op]} {kind} {left}, {divisor}")  # by 1 after an overflow: the dividend, remainder 0
    otherwise = left if op in _REMAINDERS else "0"
    return e.value(f"select i1 {zero}, {kind} {otherwise}, {kind} {result}")


def move_signed(e: Emitter, instruction: MoveSigned) -> None:
    """Dst = sign extension of the low bits of src."""
    narrow = e.value(f"trunc i64 {e.get(instruction.src)} to i{instruction.bits}")
    extended = e.value(f"sext i{instruction.bits} {narrow} to i{instruction.width}")
    if instruction.width == 32:
        e.set32(instruction.dst, extended)
    else:
        e.set(instruction.dst, extended)


def negate(e: Emitter, instruction: Negate) -> None:
    """Dst = -dst."""
    if instruction.width == 32:
        e.set32(instruction.dst, e.value(f"sub i32 0, {e.get32(instruction.dst)}"))
    else:
        e.set(instruction.dst, e.value(f"sub i64 0, {e.get(instruction.dst)}"))


def byte_swap(e: Emitter, instruction: ByteSwap) -> None:
    """Dst = its low bits in another byte order, zero-extended."""
    bits = instruction.bits
    value = e.get(instruction.dst)
    if bits < 64:
        value = e.value(f"trunc i64 {value} to i{bits}")
    own = SwapKind.LE if sys.byteorder == "little" else SwapKind.BE
    if instruction.kind is not own:
        value = e.value(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
    if bits < 64:
        value = e.value(f"zext i{bits} {value} to i64")
    e.set(instruction.dst, value)


def condition(e: Emitter, instruction: Branch) -> str:
    """The comparison of a branch, as an i1."""
    narrow = instruction.width == 32
    kind = f"i{instruction.width}"
    left = e.get32(instruction.dst) if narrow else e.get(instruction.dst)
    right = _operand(e, instruction.src, narrow=narrow)
    if instruction.op is JumpOp.JSET:
        common = e.value(f"and {kind} {left}, {right}")
        return e.value(f"icmp ne {kind} {common}, 0")
    return e.value(f"icmp {_COMPARISONS[instruction.op]} {kind} {left}, {right}")
