"""Bytes to instructions and back: the only place that knows how an instruction is encoded.

Not here: what the numbers are called (opcodes.py) and what jumps may reach (flow is the verifier's business).
RFC 9669 §3 is the source; reserved fields must be zero, as the kernel demands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never, final

from runtime.errors import DecodeError
from runtime.isa.instruction import (
    Alu,
    Atomic,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Code,
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
    Width,
)
from runtime.isa.opcodes import AluOp, AtomicOp, CallKind, Class, JumpOp, Mode, PseudoLoad, Size, Source, SwapKind

__all__ = ["Slot", "decode", "encode"]

_FORMAT: Final = struct.Struct("<BBhi")
_WORD: Final = (1 << 64) - 1
_LAST_REGISTER: Final = 10
_FETCH: Final = 1


@final
@dataclass(frozen=True, slots=True)
class Slot:
    """The five fields of one 8-byte slot."""

    opcode: int
    dst: int
    src: int
    offset: int
    imm: int

    @classmethod
    def unpack(cls, data: bytes, pc: int) -> Slot:
        """The slot at index `pc` of a program's bytes."""
        opcode, registers, offset, imm = _FORMAT.unpack_from(data, pc * 8)
        return cls(opcode, registers & 15, registers >> 4, offset, imm)

    def pack(self) -> bytes:
        """The 8 bytes of the slot."""
        return _FORMAT.pack(self.opcode, self.src << 4 | self.dst, self.offset, self.imm)


def decode(data: bytes) -> Code:
    """Instructions, indexed by slot; raises DecodeError with the slot at fault."""
    if len(data) % 8:
        raise DecodeError(f"{len(data)} bytes are no whole number of 8-byte slots", pc=len(data) // 8)
    code: list[Instruction] = []
    count = len(data) // 8
    while (pc := len(code)) < count:
        slot = Slot.unpack(data, pc)
        if slot.dst > _LAST_REGISTER or slot.src > _LAST_REGISTER:
            raise DecodeError(f"register r{max(slot.dst, slot.src)} does not exist", pc=pc)
        if slot.opcode == Class.LD | Size.DW | Mode.IMM:
            code += [_wide(slot, data, pc, count), WideTail()]
        else:
            code.append(_BY_CLASS[slot.opcode & 7](slot, pc))
    return tuple(code)


def _zero(pc: int, **fields: int) -> None:
    for name, value in fields.items():
        if value:
            raise DecodeError(f"reserved field {name} is {value}, not 0", pc=pc)


def _illegal(slot: Slot, pc: int) -> DecodeError:
    return DecodeError(f"unknown opcode 0x{slot.opcode:02x}", pc=pc)


def _wide(slot: Slot, data: bytes, pc: int, count: int) -> Instruction:
    if pc + 1 >= count:
        raise DecodeError("the second half of a 64-bit load is missing", pc=pc)
    tail = Slot.unpack(data, pc + 1)
    _zero(pc + 1, opcode=tail.opcode, dst=tail.dst, src=tail.src, offset=tail.offset)
    _zero(pc, offset=slot.offset)
    match slot.src:
        case PseudoLoad.IMM:
            return LoadImm64(slot.dst, (tail.imm & 0xFFFFFFFF) << 32 | slot.imm & 0xFFFFFFFF)
        case PseudoLoad.MAP_FD | PseudoLoad.MAP_IDX:
            _zero(pc, next_imm=tail.imm)
            return LoadMap(slot.dst, slot.imm)
        case PseudoLoad.MAP_VALUE | PseudoLoad.MAP_IDX_VALUE:
            return LoadMapValue(dst=slot.dst, map=slot.imm, offset=tail.imm & 0xFFFFFFFF)
        case PseudoLoad.FUNCTION:
            _zero(pc, next_imm=tail.imm)
            return LoadFunction(slot.dst, slot.imm)
        case _:
            raise DecodeError(f"64-bit load of unknown kind {slot.src}", pc=pc)


def _operand(slot: Slot, pc: int) -> Operand:
    if slot.opcode & Source.X:
        _zero(pc, imm=slot.imm)
        return Reg(slot.src)
    _zero(pc, src=slot.src)
    return Imm(slot.imm)


_ATOMICS: Final = frozenset(int(op) for op in AtomicOp)
_PLAIN_ALU: Final = frozenset(op for op in AluOp if op not in (AluOp.NEG, AluOp.END, AluOp.MOV) and op < 0x100)


def _alu(slot: Slot, pc: int) -> Instruction:
    width: Width = 64 if slot.opcode & 7 == Class.ALU64 else 32
    op = slot.opcode & 0xF0
    if op == AluOp.END:
        return _swap(slot, pc, width)
    if op == AluOp.NEG:
        _zero(pc, src=slot.src, offset=slot.offset, imm=slot.imm, source=slot.opcode & Source.X)
        return Negate(width, slot.dst)
    if op == AluOp.MOV:
        return _move(slot, pc, width)
    if op not in _PLAIN_ALU:
        raise _illegal(slot, pc)
    if op in (AluOp.DIV, AluOp.MOD) and slot.offset == 1:
        op |= 0x100
    elif slot.offset:
        raise DecodeError(f"reserved field offset is {slot.offset}, not 0", pc=pc)
    return Alu(op=AluOp(op), width=width, dst=slot.dst, src=_operand(slot, pc))


def _move(slot: Slot, pc: int, width: Width) -> Instruction:
    if not slot.offset:
        return Alu(op=AluOp.MOV, width=width, dst=slot.dst, src=_operand(slot, pc))
    if not slot.opcode & Source.X or slot.offset not in ((8, 16, 32) if width == 64 else (8, 16)):
        raise DecodeError(f"a move cannot sign-extend from {slot.offset} bits", pc=pc)
    _zero(pc, imm=slot.imm)
    return MoveSigned(width=width, bits=slot.offset, dst=slot.dst, src=slot.src)


def _swap(slot: Slot, pc: int, width: Width) -> Instruction:
    _zero(pc, src=slot.src, offset=slot.offset)
    if slot.imm not in (16, 32, 64):
        raise DecodeError(f"byte swap of {slot.imm} bits", pc=pc)
    to_big = bool(slot.opcode & Source.X)
    if width == 64:
        _zero(pc, source=int(to_big))
        return ByteSwap(kind=SwapKind.SWAP, bits=slot.imm, dst=slot.dst)
    return ByteSwap(kind=SwapKind.BE if to_big else SwapKind.LE, bits=slot.imm, dst=slot.dst)


def _jump(slot: Slot, pc: int) -> Instruction:
    width: Width = 64 if slot.opcode & 7 == Class.JMP else 32
    op = slot.opcode & 0xF0
    if op > JumpOp.JSLE:
        raise _illegal(slot, pc)
    if op in (JumpOp.CALL, JumpOp.EXIT) and (width == 32 or slot.opcode & Source.X):
        raise _illegal(slot, pc)
    if op == JumpOp.CALL:
        return _call(slot, pc)
    if op == JumpOp.EXIT:
        _zero(pc, dst=slot.dst, src=slot.src, offset=slot.offset, imm=slot.imm)
        return Exit()
    if op == JumpOp.JA:
        _zero(pc, source=slot.opcode & Source.X, dst=slot.dst, src=slot.src)
        _zero(pc, **({"imm": slot.imm} if width == 64 else {"offset": slot.offset}))
        return Jump(slot.offset) if width == 64 else Jump(slot.imm, wide=True)
    return Branch(op=JumpOp(op), width=width, dst=slot.dst, src=_operand(slot, pc), offset=slot.offset)


def _call(slot: Slot, pc: int) -> Instruction:
    _zero(pc, dst=slot.dst)
    match slot.src:
        case CallKind.HELPER:
            _zero(pc, offset=slot.offset)
            return CallHelper(slot.imm)
        case CallKind.LOCAL:
            _zero(pc, offset=slot.offset)
            return CallLocal(slot.imm)
        case CallKind.BTF:
            return CallBtf(slot.imm, slot.offset)
        case _:
            raise DecodeError(f"call of unknown kind {slot.src}", pc=pc)


def _ldx(slot: Slot, pc: int) -> Instruction:
    size, mode = Size(slot.opcode & 0x18), slot.opcode & 0xE0
    if mode not in (Mode.MEM, Mode.MEMSX) or (mode == Mode.MEMSX and size == Size.DW):
        raise _illegal(slot, pc)
    _zero(pc, imm=slot.imm)
    return Load(size=size, signed=mode == Mode.MEMSX, dst=slot.dst, src=slot.src, offset=slot.offset)


def _ld(slot: Slot, pc: int) -> Instruction:
    size, mode = Size(slot.opcode & 0x18), slot.opcode & 0xE0
    if mode not in (Mode.ABS, Mode.IND) or size == Size.DW:
        raise _illegal(slot, pc)
    _zero(pc, dst=slot.dst, offset=slot.offset)
    if mode == Mode.ABS:
        _zero(pc, src=slot.src)
        return LoadPacket(size=size, src=None, imm=slot.imm)
    return LoadPacket(size=size, src=slot.src, imm=slot.imm)


def _st(slot: Slot, pc: int) -> Instruction:
    if slot.opcode & 0xE0 != Mode.MEM:
        raise _illegal(slot, pc)
    _zero(pc, src=slot.src)
    return Store(size=Size(slot.opcode & 0x18), dst=slot.dst, offset=slot.offset, src=Imm(slot.imm))


def _stx(slot: Slot, pc: int) -> Instruction:
    size, mode = Size(slot.opcode & 0x18), slot.opcode & 0xE0
    if mode == Mode.MEM:
        _zero(pc, imm=slot.imm)
        return Store(size=size, dst=slot.dst, offset=slot.offset, src=Reg(slot.src))
    if mode != Mode.ATOMIC or size not in (Size.W, Size.DW):
        raise _illegal(slot, pc)
    fetch, op = bool(slot.imm & _FETCH), slot.imm & ~_FETCH
    if op not in _ATOMICS or (op in (AtomicOp.XCHG, AtomicOp.CMPXCHG) and not fetch):
        raise DecodeError(f"unknown atomic operation 0x{slot.imm & 0xFFFFFFFF:x}", pc=pc)
    return Atomic(op=AtomicOp(op), size=size, fetch=fetch, dst=slot.dst, src=slot.src, offset=slot.offset)


_BY_CLASS: Final[tuple[Callable[[Slot, int], Instruction], ...]] = (_ld, _ldx, _st, _stx, _alu, _jump, _jump, _alu)


def encode(code: Code) -> bytes:
    """The bytes of a program; the inverse of `decode`."""
    slots: list[Slot] = []
    for instruction in code:
        if not isinstance(instruction, WideTail):
            slots += _slots(instruction)
    return b"".join(slot.pack() for slot in slots)


def _source(src: Operand) -> tuple[int, int, int]:
    """Source bit, source register, immediate."""
    match src:
        case Reg(index):
            return Source.X, index, 0
        case Imm(value):
            return Source.K, 0, value
        case _:
            assert_never(src)


def _pair(dst: int, pseudo: int, low: int, high: int) -> list[Slot]:
    return [
        Slot(Class.LD | Size.DW | Mode.IMM, dst, pseudo, 0, _signed(low)),
        Slot(0, 0, 0, 0, _signed(high)),
    ]


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _slots(instruction: Instruction) -> list[Slot]:
    match instruction:
        case LoadImm64(dst, value):
            return _pair(dst, PseudoLoad.IMM, value, (value & _WORD) >> 32)
        case LoadMap(dst, index):
            return _pair(dst, PseudoLoad.MAP_FD, index, 0)
        case LoadMapValue():
            return _pair(instruction.dst, PseudoLoad.MAP_VALUE, instruction.map, instruction.offset)
        case LoadFunction(dst, offset):
            return _pair(dst, PseudoLoad.FUNCTION, offset, 0)
        case Alu() | MoveSigned() | Negate() | ByteSwap():
            return [_alu_slot(instruction)]
        case Load() | LoadPacket() | Store() | Atomic():
            return [_memory_slot(instruction)]
        case Jump() | Branch() | CallHelper() | CallLocal() | CallBtf() | Exit():
            return [_jump_slot(instruction)]
        case WideTail():
            return []
        case _:
            assert_never(instruction)


def _alu_slot(instruction: Alu | MoveSigned | Negate | ByteSwap) -> Slot:
    match instruction:
        case Alu(op=op, width=width, dst=dst, src=src):
            bit, register, imm = _source(src)
            return Slot(_alu_class(width) | op & 0xF0 | bit, dst, register, op >> 8, imm)
        case MoveSigned(width=width, bits=bits, dst=dst, src=source):
            return Slot(_alu_class(width) | AluOp.MOV | Source.X, dst, source, bits, 0)
        case Negate(width, dst):
            return Slot(_alu_class(width) | AluOp.NEG, dst, 0, 0, 0)
        case ByteSwap(kind=kind, bits=bits, dst=dst):
            number = Class.ALU64 if kind is SwapKind.SWAP else Class.ALU
            return Slot(number | AluOp.END | (Source.X if kind is SwapKind.BE else Source.K), dst, 0, 0, bits)
        case _:
            assert_never(instruction)


def _alu_class(width: Width) -> int:
    return Class.ALU64 if width == 64 else Class.ALU


def _memory_slot(instruction: Load | LoadPacket | Store | Atomic) -> Slot:
    match instruction:
        case Load(size=size, signed=signed, dst=dst, src=base, offset=offset):
            return Slot(Class.LDX | size | (Mode.MEMSX if signed else Mode.MEM), dst, base, offset, 0)
        case LoadPacket(size=size, src=index, imm=imm):
            mode = Mode.ABS if index is None else Mode.IND
            return Slot(Class.LD | size | mode, 0, index or 0, 0, imm)
        case Store(size=size, dst=dst, offset=offset, src=src):
            bit, register, imm = _source(src)
            return Slot((Class.STX if bit else Class.ST) | size | Mode.MEM, dst, register, offset, imm)
        case Atomic(op=op, size=size, fetch=fetch, dst=dst, src=register, offset=offset):
            return Slot(Class.STX | size | Mode.ATOMIC, dst, register, offset, op | fetch)
        case _:
            assert_never(instruction)


def _jump_slot(instruction: Jump | Branch | CallHelper | CallLocal | CallBtf | Exit) -> Slot:
    match instruction:
        case Jump(offset, wide):
            return Slot(Class.JMP32, 0, 0, 0, offset) if wide else Slot(Class.JMP, 0, 0, offset, 0)
        case Branch(op=op, width=width, dst=dst, src=src, offset=offset):
            bit, register, imm = _source(src)
            return Slot((Class.JMP if width == 64 else Class.JMP32) | op | bit, dst, register, offset, imm)
        case CallHelper(number):
            return Slot(Class.JMP | JumpOp.CALL, 0, CallKind.HELPER, 0, number)
        case CallLocal(offset):
            return Slot(Class.JMP | JumpOp.CALL, 0, CallKind.LOCAL, 0, offset)
        case CallBtf(number, module):
            return Slot(Class.JMP | JumpOp.CALL, 0, CallKind.BTF, module, number)
        case Exit():
            return Slot(Class.JMP | JumpOp.EXIT, 0, 0, 0, 0)
        case _:
            assert_never(instruction)
