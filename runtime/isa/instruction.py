"""Instructions as values: a closed union, one member for each thing a machine must do differently.

Not here: bits. Quirks of the encoding (the offset that turns DIV into SDIV, the immediate that names an
atomic, pseudo sources) end in codec.py.

A program's code is a tuple indexed by *slot* (what the kernel calls the instruction number, pc): a
64-bit immediate load fills its own slot and a `WideTail` behind it, so that every jump offset means
the same here, in the kernel's log and in llvm-objdump: target = pc + 1 + offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from runtime.isa.opcodes import AluOp, AtomicOp, JumpOp, Size, SwapKind

__all__ = [
    "Alu",
    "Atomic",
    "Branch",
    "ByteSwap",
    "CallBtf",
    "CallHelper",
    "CallLocal",
    "Code",
    "Exit",
    "Imm",
    "Instruction",
    "Jump",
    "Load",
    "LoadFunction",
    "LoadImm64",
    "LoadMap",
    "LoadMapValue",
    "LoadPacket",
    "MoveSigned",
    "Negate",
    "Operand",
    "Reg",
    "Store",
    "WideTail",
    "Width",
]

Width = Literal[32, 64]


@final
@dataclass(frozen=True, slots=True)
class Reg:
    """A register as an operand, r0 to r10."""

    index: int


@final
@dataclass(frozen=True, slots=True)
class Imm:
    """A signed 32-bit immediate as an operand; 64-bit operations sign-extend it."""

    value: int


Operand = Reg | Imm


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Alu:
    """dst = dst OP src; MOV copies. `op` is never NEG or END. 32-bit results clear the upper half."""

    op: AluOp
    width: Width
    dst: int
    src: Operand


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSigned:
    """dst = sign extension of the low `bits` (8, 16, 32) of src to `width`."""

    width: Width
    bits: int
    dst: int
    src: int


@final
@dataclass(frozen=True, slots=True)
class Negate:
    """dst = -dst."""

    width: Width
    dst: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ByteSwap:
    """dst = the low `bits` (16, 32, 64) of dst in another byte order, zero-extended."""

    kind: SwapKind
    bits: int
    dst: int


@final
@dataclass(frozen=True, slots=True)
class LoadImm64:
    """dst = a 64-bit constant, held unsigned."""

    dst: int
    value: int


@final
@dataclass(frozen=True, slots=True)
class LoadMap:
    """dst = the map with that index in the object's maps (MAP_FD and MAP_IDX alike)."""

    dst: int
    map: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMapValue:
    """dst = the address of a byte inside the value of a one-element map (global data)."""

    dst: int
    map: int
    offset: int


@final
@dataclass(frozen=True, slots=True)
class LoadFunction:
    """dst = a function of this program, at pc + 1 + offset (callbacks)."""

    dst: int
    offset: int


@final
@dataclass(frozen=True, slots=True)
class WideTail:
    """The second slot of a 64-bit immediate load; never executed, never a jump target."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """dst = *(size *)(src + offset), zero- or sign-extended to 64 bits."""

    size: Size
    signed: bool
    dst: int
    src: int
    offset: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPacket:
    """r0 = the packet's big-endian word at imm (+ src, when not None); the legacy ABS and IND loads."""

    size: Size
    src: int | None
    imm: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """*(size *)(dst + offset) = src."""

    size: Size
    dst: int
    offset: int
    src: Operand


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Atomic:
    """*(size *)(dst + offset) OP= src, in one step.

    With `fetch`, src receives the old value; CMPXCHG compares with r0, stores src and leaves the old
    value in r0. XCHG and CMPXCHG always fetch. `size` is W or DW; W results are zero-extended.
    """

    op: AtomicOp
    size: Size
    fetch: bool
    dst: int
    src: int
    offset: int


@final
@dataclass(frozen=True, slots=True)
class Jump:
    """goto pc + 1 + offset; `wide` is the 32-bit form (gotol)."""

    offset: int
    wide: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """if dst OP src goto pc + 1 + offset; `op` is a comparison or JSET."""

    op: JumpOp
    width: Width
    dst: int
    src: Operand
    offset: int


@final
@dataclass(frozen=True, slots=True)
class CallHelper:
    """r0 = helper(r1 … r5), by number."""

    helper: int


@final
@dataclass(frozen=True, slots=True)
class CallLocal:
    """r0 = the function of this program at pc + 1 + offset, called with r1 … r5."""

    offset: int


@final
@dataclass(frozen=True, slots=True)
class CallBtf:
    """A call of a kernel function by BTF id (kfunc)."""

    btf_id: int
    module: int = 0


@final
@dataclass(frozen=True, slots=True)
class Exit:
    """Return r0 from the function."""


Instruction = (
    Alu
    | MoveSigned
    | Negate
    | ByteSwap
    | LoadImm64
    | LoadMap
    | LoadMapValue
    | LoadFunction
    | WideTail
    | Load
    | LoadPacket
    | Store
    | Atomic
    | Jump
    | Branch
    | CallHelper
    | CallLocal
    | CallBtf
    | Exit
)

Code = tuple[Instruction, ...]
