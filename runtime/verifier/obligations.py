"""What each instruction takes for granted, as data.

Not here: whether it holds (checker.py). One function, `obligations_of`, reads an instruction and lists them in the order in which
they are judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never, final

from runtime.isa import (
    Alu,
    AluOp,
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
    JumpOp,
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

__all__ = [
    "Access",
    "Arithmetic",
    "HelperCall",
    "KnownMap",
    "NoPointer",
    "Obligation",
    "PacketLoad",
    "Readable",
    "Returns",
    "Revealed",
    "ShiftInWidth",
    "Storable",
    "Supported",
    "Writable",
]


@final
@dataclass(frozen=True, slots=True)
class Readable:
    """The register has been written on every path."""

    register: int


@final
@dataclass(frozen=True, slots=True)
class Writable:
    """The register is not the frame pointer."""

    register: int


@final
@dataclass(frozen=True, slots=True)
class NoPointer:
    """The register holds a number; `what` names the operation for the message."""

    register: int
    what: str


@final
@dataclass(frozen=True, slots=True)
class Revealed:
    """The register holds a number, or what is made of an address may be known; `what` names the operation for the message."""

    register: int
    what: str


@final
@dataclass(frozen=True, slots=True)
class Whole:
    """The register is no pointer of which 32 bits would become a number."""

    register: int


@final
@dataclass(frozen=True, slots=True)
class Comparable:
    """The outcome does not depend on addresses: numbers, pointers into the same memory, or a test for null."""

    op: JumpOp
    width: Width
    left: int
    right: Operand


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """The operands go together: numbers, or a pointer moved by a bounded number."""

    op: AluOp
    width: Width
    dst: int
    src: Operand


@final
@dataclass(frozen=True, slots=True)
class ShiftInWidth:
    """An immediate shift is below the width, an immediate divisor is not zero."""

    op: AluOp
    width: Width
    value: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """`size` bytes at register + offset are there, and may be read or written."""

    base: int
    offset: int
    size: int
    write: bool
    atomic: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Storable:
    """The value may be stored through the base: pointers go to the stack only, and whole."""

    base: int
    value: int
    size: int


@final
@dataclass(frozen=True, slots=True)
class KnownMap:
    """The map index exists; `offset` is inside its value where one is asked for."""

    map: int
    offset: int | None = None


@final
@dataclass(frozen=True, slots=True)
class HelperCall:
    """The helper exists for this program type, and its arguments are what its prototype says."""

    helper: int


@final
@dataclass(frozen=True, slots=True)
class PacketLoad:
    """The program type has the packet loads of classic BPF, and r6 is its context."""


@final
@dataclass(frozen=True, slots=True)
class Returns:
    """r0 may be returned."""


@final
@dataclass(frozen=True, slots=True)
class Supported:
    """Never holds: the instruction is beyond this verifier."""

    what: str


Obligation = (
    Readable
    | Writable
    | NoPointer
    | Whole
    | Comparable
    | Arithmetic
    | ShiftInWidth
    | Access
    | Storable
    | KnownMap
    | HelperCall
    | PacketLoad
    | Returns
    | Revealed
    | Supported
)


def obligations_of(instruction: Instruction) -> tuple[Obligation, ...]:
    """What must hold before the instruction runs."""
    match instruction:
        case Alu():
            return _alu(instruction)
        case MoveSigned(dst=dst, src=source):
            return Readable(source), Writable(dst), NoPointer(source, "a sign extension")
        case Negate(_, dst):
            return Readable(dst), Writable(dst), Revealed(dst, "a negation")
        case ByteSwap(dst=dst):
            return Readable(dst), Writable(dst), Revealed(dst, "a byte swap")
        case LoadImm64(dst) | LoadFunction(dst):
            return (Writable(dst),)
        case LoadMap(dst, index):
            return Writable(dst), KnownMap(index)
        case LoadMapValue():
            return Writable(instruction.dst), KnownMap(instruction.map, instruction.offset)
        case Load(size=size, dst=dst, src=base, offset=offset):
            return Readable(base), Writable(dst), Access(base=base, offset=offset, size=size.bytes, write=False)
        case Store() | Atomic():
            return _store(instruction)
        case Branch(op=op, width=width, dst=dst, src=src):
            readable = (Readable(dst), Readable(src.index)) if isinstance(src, Reg) else (Readable(dst),)
            return *readable, Comparable(op, width, dst, src)
        case CallHelper(number):
            return (HelperCall(number),)
        case Exit():
            return (Returns(),)
        case LoadPacket(src=index):
            return (
                (PacketLoad(),) if index is None else (PacketLoad(), Readable(index), Revealed(index, "a packet load"))
            )
        case CallBtf():
            return (Supported("calls of kernel functions"),)
        case CallLocal() | Jump() | WideTail():
            return ()
        case _:
            assert_never(instruction)


_SHIFTS = frozenset({AluOp.LSH, AluOp.RSH, AluOp.ARSH})
_DIVISIONS = frozenset({AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD})


def _alu(instruction: Alu) -> tuple[Obligation, ...]:
    found: list[Obligation] = [Writable(instruction.dst)]
    match instruction.src:
        case Reg(index):
            found.append(Readable(index))
            if instruction.op is AluOp.MOV and instruction.width == 32:
                found.append(Whole(index))
        case Imm(value):
            if instruction.op in _SHIFTS | _DIVISIONS:
                found.append(ShiftInWidth(instruction.op, instruction.width, value))
    if instruction.op is not AluOp.MOV:
        found.append(Readable(instruction.dst))
        found.append(Arithmetic(op=instruction.op, width=instruction.width, dst=instruction.dst, src=instruction.src))
    return tuple(found)


def _store(instruction: Store | Atomic) -> tuple[Obligation, ...]:
    size = instruction.size.bytes
    found: list[Obligation] = [Readable(instruction.dst)]
    atomic = isinstance(instruction, Atomic)
    access = Access(base=instruction.dst, offset=instruction.offset, size=size, write=True, atomic=atomic)
    match instruction:
        case Store(src=Reg(index)):
            found += [Readable(index), access, Storable(base=instruction.dst, value=index, size=size)]
        case Store():
            found.append(access)
        case Atomic(op=op, src=index, fetch=fetch):
            found += [Readable(index), NoPointer(index, "an atomic operation")]
            if op is AtomicOp.CMPXCHG:
                found += [Readable(0), NoPointer(0, "an atomic operation")]
            elif fetch:
                found.append(Writable(index))
            found.append(access)
    return tuple(found)
