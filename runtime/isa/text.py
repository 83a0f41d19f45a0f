"""Instructions as text, in the dialect that the kernel and llvm-objdump share, and its signs and words as tables.

Not here: reading text (assemble.py). Where the two differ, the kernel's form stands: immediates are decimal, narrow loads
name the 64-bit register that they clear, and maps, functions and calls inside the program say what they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

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
)
from runtime.isa.opcodes import AluOp, AtomicOp, JumpOp, Size, SwapKind

__all__ = [
    "ALU_SIGNS",
    "ATOMIC_SIGNS",
    "EXCHANGE_WORDS",
    "JUMP_SIGNS",
    "SWAP_WORDS",
    "disassemble",
    "disassemble_one",
]

ALU_SIGNS: Final = {
    AluOp.ADD: "+=",
    AluOp.SUB: "-=",
    AluOp.MUL: "*=",
    AluOp.DIV: "/=",
    AluOp.OR: "|=",
    AluOp.AND: "&=",
    AluOp.LSH: "<<=",
    AluOp.RSH: ">>=",
    AluOp.MOD: "%=",
    AluOp.XOR: "^=",
    AluOp.MOV: "=",
    AluOp.ARSH: "s>>=",
    AluOp.SDIV: "s/=",
    AluOp.SMOD: "s%=",
}
JUMP_SIGNS: Final = {
    JumpOp.JEQ: "==",
    JumpOp.JNE: "!=",
    JumpOp.JGT: ">",
    JumpOp.JGE: ">=",
    JumpOp.JLT: "<",
    JumpOp.JLE: "<=",
    JumpOp.JSGT: "s>",
    JumpOp.JSGE: "s>=",
    JumpOp.JSLT: "s<",
    JumpOp.JSLE: "s<=",
    JumpOp.JSET: "&",
}
ATOMIC_SIGNS: Final = {AtomicOp.ADD: "+=", AtomicOp.OR: "|=", AtomicOp.AND: "&=", AtomicOp.XOR: "^="}
SWAP_WORDS: Final = {SwapKind.LE: "le", SwapKind.BE: "be", SwapKind.SWAP: "bswap"}
EXCHANGE_WORDS: Final = {
    (AtomicOp.XCHG, 64): "xchg_64",
    (AtomicOp.XCHG, 32): "xchg32_32",
    (AtomicOp.CMPXCHG, 64): "cmpxchg_64",
    (AtomicOp.CMPXCHG, 32): "cmpxchg32_32",
}


def disassemble(code: Code, *, maps: Sequence[str] | None = None, helper_name: Mapping[int, str] | None = None) -> str:
    """One line an instruction; `maps` and `helper_name` give names in place of numbers."""
    return "\n".join(
        disassemble_one(each, pc, maps=maps, helper_name=helper_name)
        for pc, each in enumerate(code)
        if not isinstance(each, WideTail)
    )


def disassemble_one(
    instruction: Instruction,
    pc: int,
    *,
    maps: Sequence[str] | None = None,
    helper_name: Mapping[int, str] | None = None,
) -> str:
    """The instruction at slot `pc`."""
    del pc
    match instruction:
        case Alu() | MoveSigned() | Negate() | ByteSwap():
            return _alu(instruction)
        case LoadImm64() | LoadMap() | LoadMapValue() | LoadFunction():
            return _wide(instruction, maps)
        case Load() | Store() | Atomic() | LoadPacket():
            return _memory(instruction)
        case Jump() | Branch() | CallHelper() | CallLocal() | CallBtf() | Exit():
            return _jump(instruction, helper_name)
        case WideTail():
            return ""
        case _:
            assert_never(instruction)


def _register(index: int, width: int = 64) -> str:
    return f"{'r' if width == 64 else 'w'}{index}"


def _operand(src: Operand, width: int) -> str:
    match src:
        case Reg(index):
            return _register(index, width)
        case Imm(value):
            return str(value)
        case _:
            assert_never(src)


def _alu(instruction: Alu | MoveSigned | Negate | ByteSwap) -> str:
    match instruction:
        case Alu(op=op, width=width, dst=dst, src=src):
            return f"{_register(dst, width)} {ALU_SIGNS[op]} {_operand(src, width)}"
        case MoveSigned(width=width, bits=bits, dst=dst, src=source):
            return f"{_register(dst, width)} = (s{bits}){_register(source, width)}"
        case Negate(width, dst):
            return f"{_register(dst, width)} = -{_register(dst, width)}"
        case ByteSwap(kind=kind, bits=bits, dst=dst):
            return f"r{dst} = {SWAP_WORDS[kind]}{bits} r{dst}"
        case _:
            assert_never(instruction)


def _wide(instruction: LoadImm64 | LoadMap | LoadMapValue | LoadFunction, maps: Sequence[str] | None) -> str:
    match instruction:
        case LoadImm64(dst, value):
            return f"r{dst} = 0x{value:x} ll"
        case LoadMap(dst, index):
            return f"r{dst} = map[{_map(index, maps)}] ll"
        case LoadMapValue(dst=dst, map=index, offset=offset):
            return f"r{dst} = map_value[{_map(index, maps)}]+{offset} ll"
        case LoadFunction(dst, offset):
            return f"r{dst} = func[pc{offset:+}] ll"
        case _:
            assert_never(instruction)


def _map(index: int, maps: Sequence[str] | None) -> str:
    return maps[index] if maps is not None and 0 <= index < len(maps) else str(index)


def _place(size: Size, register: int, offset: int, sign: str = "u") -> str:
    return f"({sign}{size.bytes * 8} *)(r{register} {'-' if offset < 0 else '+'} {abs(offset)})"


def _inside(register: int | None, offset: int) -> str:
    if register is None:
        return str(offset)
    return f"r{register} {'-' if offset < 0 else '+'} {abs(offset)}" if offset else f"r{register}"


def _memory(instruction: Load | Store | Atomic | LoadPacket) -> str:
    match instruction:
        case Load(size=size, signed=signed, dst=dst, src=base, offset=offset):
            return f"r{dst} = *{_place(size, base, offset, 's' if signed else 'u')}"
        case Store(size=size, dst=dst, offset=offset, src=src):
            return f"*{_place(size, dst, offset)} = {_operand(src, 64)}"
        case LoadPacket(size=size, src=index, imm=imm):
            return f"r0 = *(u{size.bytes * 8} *)skb[{_inside(index, imm)}]"
        case Atomic():
            return _atomic(instruction)
        case _:
            assert_never(instruction)


def _atomic(atomic: Atomic) -> str:
    place = _place(atomic.size, atomic.dst, atomic.offset)
    address = place.partition(")(")[2].rstrip(")")
    width = 64 if atomic.size is Size.DW else 32
    source = _register(atomic.src, width)
    if atomic.op is AtomicOp.CMPXCHG:
        zero = _register(0, width)
        return f"{zero} = {EXCHANGE_WORDS[atomic.op, width]}({address}, {zero}, {source})"
    if atomic.op is AtomicOp.XCHG:
        return f"{source} = {EXCHANGE_WORDS[atomic.op, width]}({address}, {source})"
    if atomic.fetch:
        return f"{source} = atomic_fetch_{atomic.op.name.lower()}({place}, {source})"
    return f"lock *{place} {ATOMIC_SIGNS[atomic.op]} {source}"


def _jump(
    instruction: Jump | Branch | CallHelper | CallLocal | CallBtf | Exit, helper_name: Mapping[int, str] | None
) -> str:
    match instruction:
        case Jump(offset, wide):
            return f"{'gotol' if wide else 'goto'} {offset:+}"
        case Branch(op=op, width=width, dst=dst, src=src, offset=offset):
            return f"if {_register(dst, width)} {JUMP_SIGNS[op]} {_operand(src, width)} goto {offset:+}"
        case CallHelper(number):
            name = (helper_name or {}).get(number)
            return f"call bpf_{name}#{number}" if name else f"call {number}"
        case CallLocal(offset):
            return f"call pc{offset:+}"
        case CallBtf(number, module):
            return f"call kernel-function#{number}" + (f"@{module}" if module else "")
        case Exit():
            return "exit"
        case _:
            assert_never(instruction)
