"""Every instruction as machine code, against its meaning in plain integers."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
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
    Width,
)
from tests.support.sealed import Runner, run, seal

_ALU = [op for op in AluOp if op not in (AluOp.NEG, AluOp.END)]
_JUMPS = [op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]
_EDGES = [
    0,
    1,
    2,
    31,
    32,
    63,
    64,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
]
_WORD = st.one_of(st.sampled_from(_EDGES), st.integers(0, (1 << 64) - 1))
_IMMEDIATES = [0, 1, -1, 7, 31, 32, 63, 64, -(1 << 31), (1 << 31) - 1]


def _signed(value: int, width: int) -> int:
    half = 1 << width - 1
    return ((value + half) % (1 << width)) - half


def _truncated(a: int, b: int) -> int:
    """Quotient towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _meaning(op: AluOp, width: int, a: int, b: int) -> int:
    """RFC 9669 §4.1 in unsigned words of that width."""
    a, b = a % (1 << width), b % (1 << width)
    p, q = _signed(a, width), _signed(b, width)
    count = b % width
    match op:
        case AluOp.ADD:
            result = a + b
        case AluOp.SUB:
            result = a - b
        case AluOp.MUL:
            result = a * b
        case AluOp.DIV:
            result = a // b if b else 0
        case AluOp.MOD:
            result = a % b if b else a
        case AluOp.SDIV:
            result = _truncated(p, q) if q else 0
        case AluOp.SMOD:
            result = p - _truncated(p, q) * q if q else p
        case AluOp.OR:
            result = a | b
        case AluOp.AND:
            result = a & b
        case AluOp.XOR:
            result = a ^ b
        case AluOp.LSH:
            result = a << count
        case AluOp.RSH:
            result = a >> count
        case AluOp.ARSH:
            result = p >> count
        case AluOp.MOV:
            result = b
    return result % (1 << width)


def _operands(instructions: list[Instruction]) -> Runner:
    """r2 and r3 are the first two words; the result is r2."""
    loads = [Load(size=Size.DW, signed=False, dst=d, src=1, offset=8 * (d - 2)) for d in (2, 3)]
    return Runner(seal([*loads, *instructions, Alu(op=AluOp.MOV, width=64, dst=0, src=Reg(2)), Exit()]))


@cache
def _alu(op: AluOp, width: Width, immediate: int | None) -> Runner:
    source = Reg(3) if immediate is None else Imm(immediate)
    return _operands([Alu(op=op, width=width, dst=2, src=source)])


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", _ALU, ids=lambda op: op.name)
def test_arithmetic(op: AluOp, width: Width) -> None:
    """Arithmetic between registers, on all pairs of edge values."""
    runner = _alu(op, width, None)
    for a in _EDGES:
        for b in _EDGES:
            assert runner(a, b) == _meaning(op, width, a, b), (a, b)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", _ALU, ids=lambda op: op.name)
def test_arithmetic_with_immediates(op: AluOp, width: Width) -> None:
    """Immediates are sign-extended to the operation's width."""
    for immediate in _IMMEDIATES:
        runner = _alu(op, width, immediate)
        for a in _EDGES:
            assert runner(a, 0) == _meaning(op, width, a, immediate), (a, immediate)


@cache
def _branch(op: JumpOp, width: Width, immediate: int | None) -> Runner:
    source = Reg(3) if immediate is None else Imm(immediate)
    return _operands(
        [
            Branch(op=op, width=width, dst=2, src=source, offset=2),
            Alu(op=AluOp.MOV, width=64, dst=2, src=Imm(0)),
            Jump(1, wide=True),
            Alu(op=AluOp.MOV, width=64, dst=2, src=Imm(1)),
        ]
    )


def _holds(op: JumpOp, width: int, a: int, b: int) -> bool:
    a, b = a % (1 << width), b % (1 << width)
    p, q = _signed(a, width), _signed(b, width)
    return {
        JumpOp.JEQ: a == b,
        JumpOp.JNE: a != b,
        JumpOp.JGT: a > b,
        JumpOp.JGE: a >= b,
        JumpOp.JLT: a < b,
        JumpOp.JLE: a <= b,
        JumpOp.JSET: a & b != 0,
        JumpOp.JSGT: p > q,
        JumpOp.JSGE: p >= q,
        JumpOp.JSLT: p < q,
        JumpOp.JSLE: p <= q,
    }[op]


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", _JUMPS, ids=lambda op: op.name)
def test_branches(op: JumpOp, width: Width) -> None:
    """Comparisons of both widths, with registers and with immediates."""
    for immediate in (None, -1, 5):
        runner = _branch(op, width, immediate)
        for a in _EDGES:
            for b in _EDGES if immediate is None else [immediate]:
                assert runner(a, b) == _holds(op, width, a, b), (a, b)


@settings(deadline=None)  # the first example compiles
@given(_WORD)
def test_moves_and_byte_order(a: int) -> None:
    """Sign-extending moves, negation and byte swaps."""
    for width, bits in ((32, 8), (32, 16), (64, 8), (64, 16), (64, 32)):
        assert _one(MoveSigned(width=width, bits=bits, dst=2, src=2))(a) == _signed(a, bits) % (1 << width)  # type: ignore[arg-type]
    assert _one(Negate(64, 2))(a) == -a % (1 << 64)
    assert _one(Negate(32, 2))(a) == -a % (1 << 32)
    for bits in (16, 32, 64):
        low = a % (1 << bits)
        swapped = int.from_bytes(low.to_bytes(bits // 8, "little"), "big")
        assert _one(ByteSwap(kind=SwapKind.LE, bits=bits, dst=2))(a) == low
        assert _one(ByteSwap(kind=SwapKind.BE, bits=bits, dst=2))(a) == swapped
        assert _one(ByteSwap(kind=SwapKind.SWAP, bits=bits, dst=2))(a) == swapped


@cache
def _one(instruction: Instruction) -> Runner:
    return _operands([instruction])


@pytest.mark.parametrize("size", list(Size), ids=lambda size: size.name)
def test_loads_and_stores(size: Size) -> None:
    """Every width, signed and not, at odd addresses, from registers and immediates, with negative offsets."""
    bits = size.bytes * 8
    word = 0x8182_8384_8586_8788
    for signed in (False, True):
        expected = _signed(word >> 8, bits) % (1 << 64) if signed else (word >> 8) % (1 << bits)
        if bits < 64 or not signed:
            runner = Runner(
                seal(
                    [
                        Alu(op=AluOp.ADD, width=64, dst=1, src=Imm(16)),
                        Load(size=size, signed=signed, dst=0, src=1, offset=-15),
                        Exit(),
                    ]
                )
            )
            assert runner(word, 0) == expected % (1 << 64) if bits < 64 else (word >> 8)
    store = Runner(
        seal(
            [
                Load(size=Size.DW, signed=False, dst=2, src=1, offset=0),
                Store(size=size, dst=1, offset=17, src=Reg(2)),
                Store(size=size, dst=1, offset=33, src=Imm(-2)),
                Load(size=size, signed=False, dst=0, src=1, offset=17),
                Exit(),
            ]
        )
    )
    assert store(word, 0, 0, 0, 0, 0) == word % (1 << bits)
    data = bytes(store.record)
    assert data[17 : 17 + size.bytes] == (word % (1 << bits)).to_bytes(size.bytes, "little")
    assert data[33 : 33 + size.bytes] == (-2 % (1 << bits)).to_bytes(size.bytes, "little")
    assert data[17 + size.bytes : 33] == bytes(16 - size.bytes)


def test_wide_constants() -> None:
    """64-bit constants of either sign."""
    for value in _EDGES:
        assert run([LoadImm64(0, value), WideTail()]) == value


@pytest.mark.parametrize("size", [Size.W, Size.DW], ids=lambda size: size.name)
@pytest.mark.parametrize("op", list(AtomicOp), ids=lambda op: op.name)
def test_atomics(op: AtomicOp, size: Size) -> None:
    """What atomics leave in memory and in registers; narrow results are zero-extended."""
    bits = size.bytes * 8
    exchange = op in (AtomicOp.XCHG, AtomicOp.CMPXCHG)
    for fetch in (True,) if exchange else (False, True):
        code = [
            Load(size=Size.DW, signed=False, dst=2, src=1, offset=8),
            Load(size=Size.DW, signed=False, dst=0, src=1, offset=16),
            Atomic(op=op, size=size, fetch=fetch, dst=1, src=2, offset=0),
            Store(size=Size.DW, dst=1, offset=24, src=Reg(2)),
            Exit(),
        ]
        runner = Runner(seal(code))
        for memory in _EDGES:
            for value in _EDGES:
                for expected in (memory, memory ^ 1 << 40, value):
                    r0 = runner(memory, value, expected)
                    _check_atomic(op, bits, fetch, (memory, value, expected), r0, list(runner.record[:4]))


def _check_atomic(
    op: AtomicOp, bits: int, fetch: bool, before: tuple[int, int, int], r0: int, after: list[int]
) -> None:
    memory, value, expected = before
    top, low = memory >> bits << bits, memory % (1 << bits)
    operand = value % (1 << bits)
    equal = low == expected % (1 << bits)
    new = {
        AtomicOp.ADD: (low + operand) % (1 << bits),
        AtomicOp.OR: low | operand,
        AtomicOp.AND: low & operand,
        AtomicOp.XOR: low ^ operand,
        AtomicOp.XCHG: operand,
        AtomicOp.CMPXCHG: operand if equal else low,
    }[op]
    assert after[0] == top | new
    if op is AtomicOp.CMPXCHG:
        assert (r0, after[3]) == (low, value)
    else:
        assert (r0, after[3]) == (expected, low if fetch else value)
