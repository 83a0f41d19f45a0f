"""Instructions as functions: each gets registers and memory changed and says which slot comes next.

Not here: calls (calls.py), the meaning of operators (arithmetic.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, assert_never

from runtime.engine.interpreter.arithmetic import ALU, COMPARISONS, WORD, extended, signed, swapped
from runtime.engine.interpreter.calls import call_helper, call_local
from runtime.engine.interpreter.machine import RETURN, Code, Machine, Registers, Step, map_call
from runtime.errors import InternalError, UnsupportedError
from runtime.isa import (
    Alu,
    Atomic,
    AtomicOp,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Exit,
    Imm,
    Instruction,
    Jump,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    MoveSigned,
    Negate,
    Operand,
    Reg,
    Store,
    WideTail,
)
from runtime.native import (
    atomic_add32,
    atomic_add64,
    atomic_and32,
    atomic_and64,
    atomic_or32,
    atomic_or64,
    atomic_xor32,
    atomic_xor64,
    cas32,
    cas64,
    memory,
    xchg32,
    xchg64,
)
from runtime.spec import ContextField, FieldKind, MapOp

__all__ = ["step_of", "steps"]

_SCALARS: Final = (FieldKind.SCALAR, FieldKind.RESERVED)
_ATOMICS: Final[dict[tuple[AtomicOp, int], Callable[[int, int], int]]] = {
    (AtomicOp.ADD, 4): atomic_add32,
    (AtomicOp.ADD, 8): atomic_add64,
    (AtomicOp.AND, 4): atomic_and32,
    (AtomicOp.AND, 8): atomic_and64,
    (AtomicOp.OR, 4): atomic_or32,
    (AtomicOp.OR, 8): atomic_or64,
    (AtomicOp.XOR, 4): atomic_xor32,
    (AtomicOp.XOR, 8): atomic_xor64,
    (AtomicOp.XCHG, 4): xchg32,
    (AtomicOp.XCHG, 8): xchg64,
}


def steps(code: Code) -> tuple[Step, ...]:
    """A step for each slot of the program. Raises UnsupportedError for what this engine cannot run."""
    unreachable = code.program.facts.unreachable
    return tuple(
        _never(pc) if pc in unreachable else step_of(code, pc, each) for pc, each in enumerate(code.program.spec.code)
    )


def step_of(code: Code, pc: int, instruction: Instruction) -> Step:
    """The step of one slot; raises UnsupportedError."""
    match instruction:
        case Alu() | MoveSigned() | Negate() | ByteSwap():
            return _compute(pc, instruction)
        case LoadImm64(dst, value):
            return _constant(pc + 2, dst, value)
        case LoadMap(dst, index):
            return _constant(pc + 2, dst, code.maps[index].address)
        case LoadFunction(dst, offset):
            return _constant(pc + 2, dst, pc + 1 + offset)
        case LoadMapValue():
            return _map_value(code, pc + 2, instruction)
        case Load():
            return _load(code, pc, instruction)
        case Store():
            return _store(code, pc, instruction)
        case Atomic():
            return _atomic(pc, instruction)
        case Jump(offset):
            return _jump(pc + 1 + offset)
        case Branch():
            return _branch(pc, instruction)
        case CallHelper():
            return call_helper(code, pc, instruction)
        case CallLocal():
            return call_local(code, pc, instruction)
        case Exit():
            return _jump(RETURN)
        case WideTail():
            return _never(pc)
        case CallBtf():
            raise UnsupportedError(f"instruction {pc}: calls of kernel functions cannot be run by this engine")
        case LoadPacket():
            raise UnsupportedError(f"instruction {pc}: legacy packet loads cannot be run by this engine")
        case _:
            assert_never(instruction)


def _never(pc: int) -> Step:
    def step(_machine: Machine, _r: Registers) -> int:
        raise InternalError(
            f"slot {pc} was reached, and is the second half of an instruction or proven to be out of reach"
        )

    return step


def _jump(target: int) -> Step:
    return lambda _machine, _r: target


def _constant(following: int, dst: int, value: int) -> Step:
    def step(_machine: Machine, r: Registers) -> int:
        r[dst] = value
        return following

    return step


def _word_of(source: Operand) -> Callable[[Registers], int]:
    """How an operand is read, as a 64-bit word."""
    match source:
        case Reg(index):
            return lambda r: r[index]
        case Imm(value):
            word = value & WORD
            return lambda _r: word
        case _:
            assert_never(source)


def _compute(pc: int, instruction: Alu | MoveSigned | Negate | ByteSwap) -> Step:
    dst = instruction.dst
    value = _value(instruction)

    def step(_machine: Machine, r: Registers) -> int:
        r[dst] = value(r)
        return pc + 1

    return step


def _value(instruction: Alu | MoveSigned | Negate | ByteSwap) -> Callable[[Registers], int]:
    """What the destination becomes."""
    match instruction:
        case Alu(op=op, width=width, dst=dst, src=source):
            apply, word, mask = ALU[op], _word_of(source), (1 << width) - 1
            return lambda r: apply(r[dst] & mask, word(r) & mask, width) & mask
        case MoveSigned(width=width, bits=bits, src=origin):
            return lambda r: extended(r[origin], bits, width)
        case Negate(width, dst):
            mask = (1 << width) - 1
            return lambda r: -r[dst] & mask
        case ByteSwap(kind=kind, bits=bits, dst=dst):
            return lambda r: swapped(kind, r[dst], bits)
        case _:
            assert_never(instruction)


def _branch(pc: int, instruction: Branch) -> Step:
    taken, following = pc + 1 + instruction.offset, pc + 1
    compare, word = COMPARISONS[instruction.op], _word_of(instruction.src)
    dst, width, mask = instruction.dst, instruction.width, (1 << instruction.width) - 1

    def step(_machine: Machine, r: Registers) -> int:
        return taken if compare(r[dst] & mask, word(r) & mask, width) else following

    return step


def _map_value(code: Code, following: int, instruction: LoadMapValue) -> Step:
    """The address of a byte in the value of a map that has one."""

    def step(machine: Machine, r: Registers) -> int:
        memory.store(machine.key, 4, 0)
        value = map_call(code.maps[instruction.map], MapOp.LOOKUP, machine.environment, (machine.key,))
        r[instruction.dst] = value + instruction.offset & WORD
        return following

    return step


def _shift(field: ContextField | None) -> int:
    """From the declared layout of the context to the record behind it; 0 for other memory."""
    return 0 if field is None else field.record_offset - field.offset


def _load(code: Code, pc: int, instruction: Load) -> Step:
    field = code.program.facts.context_fields.get(pc)
    dst, src, offset, size = instruction.dst, instruction.src, instruction.offset, instruction.size.bytes
    if field is not None and field.kind not in _SCALARS:
        at = field.record_offset

        def pointer(machine: Machine, r: Registers) -> int:
            r[dst] = memory.load(machine.context + at, 8) & WORD
            return pc + 1

        return pointer
    place, is_signed = offset + _shift(field), instruction.signed

    def step(_machine: Machine, r: Registers) -> int:
        value = memory.load(r[src] + place & WORD, size)
        r[dst] = (signed(value, size * 8) if is_signed else value) & WORD
        return pc + 1

    return step


def _store(code: Code, pc: int, instruction: Store) -> Step:
    place = instruction.offset + _shift(code.program.facts.context_fields.get(pc))
    dst, word, size = instruction.dst, _word_of(instruction.src), instruction.size.bytes

    def step(_machine: Machine, r: Registers) -> int:
        memory.store(r[dst] + place & WORD, size, word(r))
        return pc + 1

    return step


def _atomic(pc: int, instruction: Atomic) -> Step:
    size = instruction.size.bytes
    dst, src, offset, mask = instruction.dst, instruction.src, instruction.offset, (1 << size * 8) - 1
    if instruction.op is AtomicOp.CMPXCHG:
        exchange = cas64 if size == 8 else cas32

        def compare(_machine: Machine, r: Registers) -> int:
            r[0] = exchange(r[dst] + offset & WORD, r[0] & mask, r[src] & mask) & mask
            return pc + 1

        return compare
    change, fetches = _ATOMICS[instruction.op, size], instruction.fetch

    def step(_machine: Machine, r: Registers) -> int:
        old = change(r[dst] + offset & WORD, r[src] & mask) & mask
        if fetches:
            r[src] = old
        return pc + 1

    return step
