"""Instructions of every form, chosen at random or one of each: for tests of codec, text and their oracles.

Not here: programs that make sense.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st

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
    Code,
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
    Size,
    Store,
    SwapKind,
    WideTail,
    Width,
)

__all__ = ["codes", "one_of_each"]

_ALU = [op for op in AluOp if op not in (AluOp.NEG, AluOp.END)]
_TESTS = [op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]
_WIDTHS: tuple[Width, Width] = (32, 64)
_EXTENDED: tuple[tuple[Width, int], ...] = ((32, 8), (32, 16), (64, 8), (64, 16), (64, 32))
_NARROW = (Size.B, Size.H, Size.W)
_WORDS = (Size.W, Size.DW)
_IMMEDIATES = (5, -7, -(1 << 31), (1 << 31) - 1)

_register = st.integers(0, 10)
_s16 = st.integers(-(1 << 15), (1 << 15) - 1)
_s32 = st.integers(-(1 << 31), (1 << 31) - 1)
_operand = st.one_of(st.builds(Reg, _register), st.builds(Imm, _s32))
_width = st.sampled_from(_WIDTHS)
_size = st.sampled_from(Size)
_always = st.just(True)


@st.composite
def _moves(draw: st.DrawFn) -> MoveSigned:
    width, bits = draw(st.sampled_from(_EXTENDED))
    return MoveSigned(width=width, bits=bits, dst=draw(_register), src=draw(_register))


@st.composite
def _atomics(draw: st.DrawFn) -> Atomic:
    op = draw(st.sampled_from(AtomicOp))
    fetch = op in (AtomicOp.XCHG, AtomicOp.CMPXCHG) or draw(st.booleans())
    size = draw(st.sampled_from(_WORDS))
    return Atomic(op=op, size=size, fetch=fetch, dst=draw(_register), src=draw(_register), offset=draw(_s16))


_instruction: st.SearchStrategy[Instruction] = st.one_of(
    st.builds(Alu, op=st.sampled_from(_ALU), width=_width, dst=_register, src=_operand),
    _moves(),
    st.builds(Negate, _width, _register),
    st.builds(ByteSwap, kind=st.sampled_from(SwapKind), bits=st.sampled_from([16, 32, 64]), dst=_register),
    st.builds(LoadImm64, _register, st.integers(0, (1 << 64) - 1)),
    st.builds(LoadMap, _register, _s32),
    st.builds(LoadMapValue, dst=_register, map=_s32, offset=st.integers(0, (1 << 32) - 1)),
    st.builds(LoadFunction, _register, _s32),
    st.builds(Load, size=_size, signed=st.just(False), dst=_register, src=_register, offset=_s16),
    st.builds(Load, size=st.sampled_from(_NARROW), signed=_always, dst=_register, src=_register, offset=_s16),
    st.builds(LoadPacket, size=st.sampled_from(_NARROW), src=st.one_of(st.none(), _register), imm=_s32),
    st.builds(Store, size=_size, dst=_register, offset=_s16, src=_operand),
    _atomics(),
    st.builds(Jump, _s16),
    st.builds(Jump, _s32, wide=_always),
    st.builds(Branch, op=st.sampled_from(_TESTS), width=_width, dst=_register, src=_operand, offset=_s16),
    st.builds(CallHelper, _s32),
    st.builds(CallLocal, _s32),
    st.builds(CallBtf, _s32, _s16),
    st.just(Exit()),
)


def _with_tails(instructions: list[Instruction]) -> Code:
    wide = (LoadImm64, LoadMap, LoadMapValue, LoadFunction)
    return tuple(part for each in instructions for part in ([each, WideTail()] if isinstance(each, wide) else [each]))


codes = st.lists(_instruction, max_size=30).map(_with_tails)
"""Instructions with any fields, one after the other."""


def one_of_each() -> Code:
    """Every operation in every width with every kind of operand."""
    return _with_tails([*_arithmetic(), *_memory(), *_wide(), *_flow()])


def _operands() -> Iterator[Operand]:
    yield Reg(2)
    yield from map(Imm, _IMMEDIATES)


def _arithmetic() -> Iterator[Instruction]:
    width: Width
    for width in _WIDTHS:
        for op in _ALU:
            for source in _operands():
                yield Alu(op=op, width=width, dst=1, src=source)
        yield Negate(width, 3)
    for width, bits in _EXTENDED:
        yield MoveSigned(width=width, bits=bits, dst=1, src=2)
    for kind in SwapKind:
        for bits in (16, 32, 64):
            yield ByteSwap(kind=kind, bits=bits, dst=4)


def _memory() -> Iterator[Instruction]:
    for offset in (-8, 0, 4):
        for size in Size:
            yield Load(size=size, signed=False, dst=1, src=2, offset=offset)
            yield from (Store(size=size, dst=2, offset=offset, src=source) for source in _operands())
        for size in _NARROW:
            yield Load(size=size, signed=True, dst=1, src=2, offset=offset)
        for size in _WORDS:
            for op in AtomicOp:
                if op not in (AtomicOp.XCHG, AtomicOp.CMPXCHG):
                    yield Atomic(op=op, size=size, fetch=False, dst=10, src=1, offset=offset)
                yield Atomic(op=op, size=size, fetch=True, dst=10, src=1, offset=offset)
    for size in _NARROW:
        yield LoadPacket(size=size, src=None, imm=14)
        yield LoadPacket(size=size, src=6, imm=0)


def _wide() -> Iterator[Instruction]:
    yield from (LoadImm64(1, value) for value in (0, 5, 0x123456789ABCDEF0, 1 << 63, (1 << 64) - 1))
    yield LoadMap(1, 3)
    yield LoadMapValue(dst=1, map=2, offset=8)
    yield LoadFunction(1, 3)


def _flow() -> Iterator[Instruction]:
    yield from (Jump(3), Jump(-2), Jump(3, wide=True), Jump(-2, wide=True))
    for op in _TESTS:
        for width in _WIDTHS:
            for source in _operands():
                yield Branch(op=op, width=width, dst=1, src=source, offset=3)
    yield from (CallHelper(12), CallLocal(3), CallLocal(-4), CallBtf(77), CallBtf(77, 2), Exit())
