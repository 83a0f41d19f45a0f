"""Random programs over scalars, a frame and a packet, that every verifier accepts: for comparing engines.

Not here: engines. A program checks that the packet has PACKET bytes, loads r0 to r8 from it, works, and
stores registers and frame back into it, so that nothing that it computed stays hidden.
"""

from __future__ import annotations

from hypothesis import strategies as st

from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    ByteSwap,
    Exit,
    Imm,
    Instruction,
    Jump,
    JumpOp,
    Load,
    LoadImm64,
    MoveSigned,
    Negate,
    Reg,
    Size,
    Store,
    SwapKind,
    WideTail,
)

PACKET = 256
FRAME = 64
_SCALARS = 9
_DATA = 9

_register = st.integers(0, _SCALARS - 1)
_immediate = st.one_of(st.integers(-3, 70), st.integers(-(1 << 31), (1 << 31) - 1))
_operand = st.one_of(_register.map(Reg), _immediate.map(Imm))
_width = st.sampled_from([32, 64])
_size = st.sampled_from(list(Size))


@st.composite
def _alu(draw: st.DrawFn) -> list[Instruction]:
    op = draw(st.sampled_from([op for op in AluOp if op not in (AluOp.NEG, AluOp.END)]))
    width = draw(_width)
    source = draw(_operand)
    if isinstance(source, Imm):  # the kernel refuses these two
        if op in (AluOp.LSH, AluOp.RSH, AluOp.ARSH):
            source = Imm(source.value % width)
        elif op in (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD) and source.value == 0:
            source = Imm(1)
    return [Alu(op=op, width=width, dst=draw(_register), src=source)]


@st.composite
def _unary(draw: st.DrawFn) -> list[Instruction]:
    dst = draw(_register)
    match draw(st.integers(0, 3)):
        case 0:
            return [Negate(draw(_width), dst)]
        case 1:
            return [ByteSwap(kind=draw(st.sampled_from(SwapKind)), bits=draw(st.sampled_from([16, 32, 64])), dst=dst)]
        case 2:
            width = draw(_width)
            bits = draw(st.sampled_from([8, 16] if width == 32 else [8, 16, 32]))
            return [MoveSigned(width=width, bits=bits, dst=dst, src=draw(_register))]
        case _:
            return [LoadImm64(dst, draw(st.integers(0, (1 << 64) - 1))), WideTail()]


@st.composite
def _memory(draw: st.DrawFn) -> list[Instruction]:
    """A load or store, in the frame at an aligned offset or in the packet at any."""
    size = draw(_size)
    if draw(st.booleans()):
        base, offset = 10, -FRAME + size.bytes * draw(st.integers(0, FRAME // size.bytes - 1))
    else:
        base, offset = _DATA, draw(st.integers(0, PACKET - size.bytes))
    if draw(st.booleans()):
        return [Store(size=size, dst=base, offset=offset, src=draw(_operand))]
    signed = size is not Size.DW and draw(st.booleans())
    return [Load(size=size, signed=signed, dst=draw(_register), src=base, offset=offset)]


@st.composite
def _atomic(draw: st.DrawFn) -> list[Instruction]:
    op = draw(st.sampled_from(AtomicOp))
    size = draw(st.sampled_from([Size.W, Size.DW]))
    fetch = op in (AtomicOp.XCHG, AtomicOp.CMPXCHG) or draw(st.booleans())
    offset = -FRAME + size.bytes * draw(st.integers(0, FRAME // size.bytes - 1))
    return [Atomic(op=op, size=size, fetch=fetch, dst=10, src=draw(_register), offset=offset)]


_step = st.one_of(_alu(), _alu(), _unary(), _memory(), _atomic())


@st.composite
def _branch(draw: st.DrawFn) -> list[Instruction]:
    """A branch over a few steps, or to one of two arms."""
    op = draw(st.sampled_from([op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]))
    first = [each for step in draw(st.lists(_step, min_size=1, max_size=4)) for each in step]
    second = [each for step in draw(st.lists(_step, max_size=3)) for each in step]
    if second:
        first.append(Jump(len(second), wide=draw(st.booleans())))
    source = draw(_operand)
    return [Branch(op=op, width=draw(_width), dst=draw(_register), src=source, offset=len(first)), *first, *second]


@st.composite
def programs(draw: st.DrawFn) -> tuple[Instruction, ...]:
    """The code of a program for a context whose first two 32-bit fields are data and data_end."""
    body = [each for step in draw(st.lists(st.one_of(_step, _step, _branch()), max_size=24)) for each in step]
    start = [
        Load(size=Size.W, signed=False, dst=2, src=1, offset=0),
        Load(size=Size.W, signed=False, dst=3, src=1, offset=4),
        Alu(op=AluOp.MOV, width=64, dst=_DATA, src=Reg(2)),
        Alu(op=AluOp.ADD, width=64, dst=2, src=Imm(PACKET)),
        Branch(op=JumpOp.JGT, width=64, dst=2, src=Reg(3), offset=0),
    ]
    work: list[Instruction] = [
        *(Store(size=Size.DW, dst=10, offset=-8 * at, src=Imm(at)) for at in range(1, FRAME // 8 + 1)),
        *(Load(size=Size.DW, signed=False, dst=at, src=_DATA, offset=8 * at) for at in range(_SCALARS)),
        *body,
        *(Store(size=Size.DW, dst=_DATA, offset=8 * at, src=Reg(at)) for at in range(_SCALARS)),
    ]
    for at in range(1, FRAME // 8 + 1):
        work += [
            Load(size=Size.DW, signed=False, dst=1, src=10, offset=-8 * at),
            Store(size=Size.DW, dst=_DATA, offset=8 * (_SCALARS + at), src=Reg(1)),
        ]
    start[4] = Branch(op=JumpOp.JGT, width=64, dst=2, src=Reg(3), offset=len(work) + 1)
    return (*start, *work, Exit(), Alu(op=AluOp.MOV, width=64, dst=0, src=Imm(0)), Exit())
