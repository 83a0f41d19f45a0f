"""Scalars are sound: exhaustively for small words, by random search for real ones."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

import pytest

from runtime.isa import AluOp, JumpOp, SwapKind
from runtime.verifier.domains import DOMAIN, Scalar, ScalarDomain, concrete, holds, scalar

ALU = [op for op in AluOp if op not in (AluOp.NEG, AluOp.END, AluOp.MOV)]
JUMPS = [op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]
SMALL = int(os.environ.get("XDPSIM_SCALAR_BITS", "4"))
ROUNDS = int(os.environ.get("XDPSIM_SCALAR_CHECKS", "15000"))


def _abstraction(domain: ScalarDomain, words: tuple[int, ...]) -> Scalar:
    found = domain.const(words[0])
    for word in words[1:]:
        found = domain.join(found, domain.const(word))
    return found


def _scalars(domain: ScalarDomain) -> list[tuple[Scalar, tuple[int, ...]]]:
    """Scalars of a small domain with all the words that each contains: intervals, strides, pairs and triples."""
    size = domain.whole.mask + 1
    seeds: Iterator[tuple[int, ...]] = itertools.chain(
        ((a,) for a in range(size)),
        itertools.combinations(range(size), 2),
        (tuple(range(a, b)) for a in range(size) for b in range(a + 3, size + 1, 2)),
        (tuple((x + size // 2) % size for x in range(a, b)) for a in range(size) for b in range(a + 3, size + 1, 3)),
        (tuple(range(a, size, s)) for s in (2, 4) for a in range(s)),
    )
    found = dict.fromkeys(_abstraction(domain, seed) for seed in seeds) | {domain.unknown: None}
    every = int(os.environ.get("XDPSIM_SCALAR_STEP", "3"))
    return [(s, tuple(x for x in range(size) if domain.contains(s, x))) for s in list(found)[::every]]


@pytest.fixture(scope="module")
def small() -> ScalarDomain:
    """A domain of 4-bit words with 2-bit halves, or of as many bits as the environment says."""
    return ScalarDomain(SMALL)


@pytest.mark.parametrize("op", ALU, ids=lambda op: op.name)
def test_arithmetic_contains_every_result(small: ScalarDomain, op: AluOp) -> None:
    """For all operands in both widths, the abstract result contains the concrete one."""
    scalars, words = _scalars(small), range(1 << SMALL)
    for word in (small.whole, small.half):
        table = {(x, y): concrete(op, word, x & word.mask, y & word.mask) for x in words for y in words}
        for (a, xs), (b, ys) in itertools.product(scalars, scalars):
            result = small.alu(op, word.bits, a, b)
            possible = {table[x, y] for x in xs for y in ys}
            assert all(small.contains(result, z) for z in possible), (op, word.bits, a, b, result)


@pytest.mark.parametrize("op", JUMPS, ids=lambda op: op.name)
def test_branches_lose_no_pair(small: ScalarDomain, op: JumpOp) -> None:
    """For all operands in both widths, a pair survives on the side of the branch that it takes."""
    scalars, words = _scalars(small), range(1 << SMALL)
    for word in (small.whole, small.half):
        table = {(x, y): holds(op, word, x & word.mask, y & word.mask) for x in words for y in words}
        for (a, xs), (b, ys) in itertools.product(scalars, scalars):
            sides = small.branch(op, word.bits, a, b)
            for x, y in itertools.product(xs, ys):
                side = sides[0] if table[x, y] else sides[1]
                assert side is not None, (op, word.bits, a, b, x, y)
                assert small.contains(side[0], x), (op, word.bits, a, b, side, x)
                assert small.contains(side[1], y), (op, word.bits, a, b, side, y)


def test_the_lattice_holds_together(small: ScalarDomain) -> None:
    """Join and widening contain both sides, meet keeps what both contain, entailment is inclusion."""
    scalars = _scalars(small)
    for (a, xs), (b, ys) in itertools.product(scalars, scalars):
        joined, widened, met = small.join(a, b), small.widen(a, b, (3, 7)), small.meet(a, b)
        assert small.entails(a, joined)
        assert small.entails(b, joined)
        assert all(small.contains(widened, x) for x in xs + ys)
        common = set(xs) & set(ys)
        assert not common or (met is not None and all(small.contains(met, x) for x in common))
        if small.entails(a, b):
            assert set(xs) <= set(ys)


def test_a_constant_is_only_itself(small: ScalarDomain) -> None:
    """The abstraction of one word contains no other."""
    for x in range(1 << SMALL):
        assert [y for y in range(1 << SMALL) if small.contains(small.const(x), y)] == [x]


def _interesting(rng: random.Random) -> int:
    edge = rng.choice(
        [0, 1, 7, 0xFF, 0xFFFF, 1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1]
    )
    match rng.randrange(4):
        case 0:
            return edge
        case 1:
            return (edge + rng.randrange(-9, 9)) % (1 << 64)
        case 2:
            return rng.getrandbits(rng.choice([4, 8, 16, 31, 32, 33, 63, 64]))
        case _:
            return -rng.getrandbits(rng.choice([4, 16, 31, 33])) % (1 << 64)


def _member(rng: random.Random) -> tuple[Scalar, int]:
    """A random scalar and a word in it."""
    words = [_interesting(rng) for _ in range(rng.choice([1, 2, 2, 3]))]
    scalar = _abstraction(DOMAIN, tuple(words))
    if rng.random() < 0.3:
        low = rng.getrandbits(rng.choice([8, 16, 32, 63]))
        high = low + rng.getrandbits(rng.choice([3, 12, 31, 62]))
        if high < 1 << 64:
            return DOMAIN.unsigned_range(low, high), rng.randint(low, high)
    return scalar, rng.choice(words)


def test_random_words_stay_inside() -> None:
    """64-bit operands chosen around the edges: results and refinements contain the concrete words."""
    rng = random.Random(ROUNDS)
    for turn in range(ROUNDS):
        if turn % 10_000 == 0:
            DOMAIN.trim()
        (a, x), (b, y) = _member(rng), _member(rng)
        word = rng.choice([DOMAIN.whole, DOMAIN.half])
        low_x, low_y = x & word.mask, y & word.mask
        op = rng.choice(ALU)
        assert DOMAIN.contains(DOMAIN.alu(op, word.bits, a, b), concrete(op, word, low_x, low_y)), (op, word.bits, a, b)
        jump = rng.choice(JUMPS)
        sides = DOMAIN.branch(jump, word.bits, a, b)
        side = sides[0] if holds(jump, word, low_x, low_y) else sides[1]
        assert side is not None, (jump, word.bits, a, b, x, y)
        assert DOMAIN.contains(side[0], x)
        assert DOMAIN.contains(side[1], y)
        bits = rng.choice([8, 16, 32])
        assert DOMAIN.contains(DOMAIN.truncate(a, bits), x & ((1 << bits) - 1))
        narrow = x & ((1 << bits) - 1)
        extended = narrow - (1 << bits) if narrow >> (bits - 1) else narrow
        assert DOMAIN.contains(DOMAIN.sign_extend(a, bits, 64), extended % (1 << 64))
        assert DOMAIN.contains(DOMAIN.sign_extend(a, bits, 32), extended % (1 << 32))
        swapped = int.from_bytes(narrow.to_bytes(bits // 8, "little"), "big")
        assert DOMAIN.contains(DOMAIN.byteswap(SwapKind.SWAP, bits, a), swapped)
        assert DOMAIN.contains(DOMAIN.byteswap(SwapKind.LE, bits, a), narrow)


def test_a_range_check_bounds_the_register() -> None:
    """`if w1 > 100` not taken leaves 0..100 for a zero-extended register."""
    word = DOMAIN.unsigned_range(0, (1 << 32) - 1)
    taken, not_taken = DOMAIN.branch(JumpOp.JGT, 32, word, DOMAIN.const(100))
    assert taken is not None
    assert not_taken is not None
    assert (not_taken[0].umin, not_taken[0].umax) == (0, 100)
    assert taken[0].umin == 101


def test_constants_stay_the_same_when_memory_is_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity is equality, also between a 0 from before and one that is computed afterwards."""
    monkeypatch.setattr(scalar, "_CAPACITY", 0)
    domain = ScalarDomain(8)
    zero = domain.const(0)
    domain.trim()
    assert domain.alu(AluOp.AND, 8, domain.unknown, zero) is zero
    assert domain.const(0) is zero
