"""Scalars: what is known of a 64-bit register that holds a number, and of its lower half.

Not here: transfer functions (arithmetic.py, comparison.py). A scalar is two views, one of the whole word and one of the
half, reduced against each other and interned, so that equality is identity and results can be remembered by it.
The width is a parameter of the domain: the product uses 64, tests enumerate small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from runtime.isa import AluOp, JumpOp, SwapKind
from runtime.verifier.domains.arithmetic import concrete, transfer
from runtime.verifier.domains.comparison import assume, assume_not
from runtime.verifier.domains.word import View, Word

__all__ = ["Branches", "Scalar", "ScalarDomain"]

Branches = tuple["tuple[Scalar, Scalar] | None", "tuple[Scalar, Scalar] | None"]

_CAPACITY: Final = 200_000
_ROUNDS: Final = 5


@final
class Scalar:
    """One abstract number. `const` is the value when only one is possible. Identity is equality."""

    __slots__ = (
        "const", "half", "mask", "s32max", "s32min", "smax", "smin", "u32max", "u32min", "umax", "umin", "value", "whole",
    )  # fmt: skip

    def __init__(self, whole: View, half: View) -> None:
        self.whole: Final = whole
        self.half: Final = half
        self.umin, self.umax, self.smin, self.smax, self.value, self.mask = whole
        self.u32min, self.u32max, self.s32min, self.s32max = half[:4]
        self.const: Final = whole.value if not whole.mask else None

    def __repr__(self) -> str:
        if self.const is not None:
            return str(self.smin) if self.const < 1 << 16 or self.smin < 0 else hex(self.const)
        parts = []
        if (self.smin, self.smax) != (self.umin, self.umax):
            parts.append(f"s[{self.smin},{self.smax}]")
        return f"number({' '.join([f'u[{self.umin},{self.umax}]', *parts, f'bits({self.value:#x};{self.mask:#x})'])})"


@final
class ScalarDomain:
    """Everything that can be asked of scalars of one width."""

    def __init__(self, bits: int = 64) -> None:
        self.whole: Final = Word(bits)
        self.half: Final = Word(bits // 2)
        self._interned: dict[tuple[View, View], Scalar | None] = {}
        self._results: dict[tuple[AluOp, int, Scalar, Scalar], Scalar] = {}
        self._branches: dict[tuple[JumpOp, int, Scalar, Scalar], Branches] = {}
        self._entailed: dict[tuple[Scalar, Scalar], bool] = {}
        self._constants: dict[int, Scalar] = {}
        unknown = self.make(self.whole.top, self.half.top)
        assert unknown is not None
        self.unknown: Final[Scalar] = unknown

    def make(self, whole: View, half: View) -> Scalar | None:
        """The scalar within both views, or None when they contradict each other."""
        key = (whole, half)
        if key in self._interned:
            return self._interned[key]
        reduced = self._reduce(whole, half)
        result: Scalar | None = None
        if reduced is not None:
            kept = self._interned.get(reduced)
            result = kept if kept is not None else Scalar(*reduced)
            self._interned[reduced] = result
        self._interned[key] = result
        return result

    def _reduce(self, whole: View, half: View) -> tuple[View, View] | None:
        for _ in range(_ROUNDS):
            before = (whole, half)
            narrowed = _tighten(self.whole, whole)
            if narrowed is None:
                return None
            lower = _tighten(self.half, self._lower(narrowed, half))
            if lower is None:
                return None
            upper = _tighten(self.whole, self._upper(narrowed, lower))
            if upper is None:
                return None
            whole, half = upper, lower
            if (whole, half) == before:
                break
        return whole, half

    def _lower(self, whole: View, half: View) -> View:
        """What the whole word says about its lower half."""
        word = self.half
        umin, umax, smin, smax, value, mask = half
        if whole.umin >> word.bits == whole.umax >> word.bits:
            umin, umax = max(umin, whole.umin & word.mask), min(umax, whole.umax & word.mask)
        if whole.smin >> word.bits == whole.smax >> word.bits:
            umin, umax = max(umin, whole.smin & word.mask), min(umax, whole.smax & word.mask)
        if word.smin <= whole.smin and whole.smax <= word.smax:
            smin, smax = max(smin, whole.smin), min(smax, whole.smax)
        known = ~whole.mask & word.mask
        if (value ^ whole.value) & known & ~mask:
            return half._replace(umin=1, umax=0)
        return View(umin, umax, smin, smax, value | whole.value & known, mask & ~known)

    def _upper(self, whole: View, half: View) -> View:
        """What the lower half says about the whole word."""
        bits, low = self.half.bits, self.half.mask
        umin, umax, smin, smax, value, mask = whole
        if (umin & low) > half.umax:
            umin = ((umin >> bits) + 1 << bits) | half.umin
        elif (umin & low) < half.umin:
            umin = umin & ~low | half.umin
        if (umax & low) < half.umin:
            umax = ((umax >> bits) - 1 << bits) | half.umax
        elif (umax & low) > half.umax:
            umax = umax & ~low | half.umax
        if self.half.smin <= smin and smax <= self.half.smax:
            smin, smax = max(smin, half.smin), min(smax, half.smax)
        known = ~half.mask & low
        return View(umin, umax, smin, smax, value | half.value & known, mask & ~known)

    def const(self, value: int) -> Scalar:
        """Exactly that word."""
        value &= self.whole.mask
        found = self._constants.get(value)
        if found is None:
            if len(self._constants) > _CAPACITY:
                self._constants.clear()
            made = self.make(self.whole.constant(value), self.half.constant(value))
            assert made is not None
            found = self._constants[value] = made
        return found

    def unsigned_range(self, low: int, high: int) -> Scalar:
        """Words from low to high, unsigned; low <= high."""
        return self._sure(self.whole.unsigned_view(low, high), self.half.top)

    def signed_range(self, low: int, high: int) -> Scalar:
        """Words from low to high, signed; low <= high."""
        return self._sure(self.whole.signed_view(low, high), self.half.top)

    def _sure(self, whole: View, half: View) -> Scalar:
        made = self.make(whole, half)
        return self.unknown if made is None else made

    def trim(self) -> None:
        """Forget remembered results once they are many; scalars stay what they are, 0 and the unknown one identical."""
        zero = self.const(0)
        for memo in (self._results, self._branches, self._entailed):
            if len(memo) > _CAPACITY:
                memo.clear()
        if len(self._constants) > _CAPACITY:
            self._constants = {0: zero}
        if len(self._interned) > _CAPACITY:
            kept = (self.unknown, *self._constants.values())
            self._interned = {(each.whole, each.half): each for each in kept}

    def alu(self, op: AluOp, width: int, a: Scalar, b: Scalar) -> Scalar:
        """`a OP b`; `width` is that of the operation, half-width results are zero-extended."""
        if a.const is not None and b.const is not None:  # not remembered: loops count through many
            word = self.half if width == self.half.bits else self.whole
            return self.const(concrete(op, word, a.const & word.mask, b.const & word.mask))
        key = (op, width, a, b)
        found: Scalar | None = self._results.get(key)
        if found is None:
            found = self._alu_half(op, a, b) if width == self.half.bits else self._alu_whole(op, a, b)
            self._results[key] = found
        return found

    def _alu_whole(self, op: AluOp, a: Scalar, b: Scalar) -> Scalar:
        half = self.half.top
        if op in _LOW_BITS_SUFFICE or (op is AluOp.LSH and b.const is not None and b.const < self.half.bits):
            half = transfer(op, self.half, a.half, b.half)
        return self._sure(transfer(op, self.whole, a.whole, b.whole), half)

    def _alu_half(self, op: AluOp, a: Scalar, b: Scalar) -> Scalar:
        return self._extended(transfer(op, self.half, a.half, b.half))

    def _extended(self, half: View) -> Scalar:
        """The half, zero-extended."""
        top = self.half.mask
        return self._sure(View(0, top, 0, top, half.value, half.mask), half)

    def negate(self, width: int, a: Scalar) -> Scalar:
        """`-a`."""
        return self.alu(AluOp.SUB, width, self.const(0), a)

    def truncate(self, a: Scalar, bits: int) -> Scalar:
        """The low bits, zero-extended."""
        top = (1 << bits) - 1
        if a.umax <= top:
            return a
        if bits == self.half.bits:
            return self._extended(a.half)
        return self.alu(AluOp.AND, self.whole.bits, a, self.const(top))

    def sign_extend(self, a: Scalar, bits: int, width: int) -> Scalar:
        """The low bits, sign-extended to `width`, zero-extended beyond."""
        narrow = Word(bits)
        low, high = narrow.smin, narrow.smax
        if not (low <= a.smin and a.smax <= high):
            shift = self.const(self.whole.bits - bits)
            raised = self.alu(AluOp.LSH, self.whole.bits, a, shift)
            a = self.alu(AluOp.ARSH, self.whole.bits, raised, shift)
        return a if width == self.whole.bits else self.truncate(a, width)

    def byteswap(self, kind: SwapKind, bits: int, a: Scalar) -> Scalar:
        """The low bits in another byte order, zero-extended; machines here are little-endian."""
        if kind is SwapKind.LE:
            return self.truncate(a, bits)
        size = bits // 8
        low = (1 << bits) - 1
        value = int.from_bytes((a.value & low).to_bytes(size, "little"), "big")
        mask = int.from_bytes((a.mask & low).to_bytes(size, "little"), "big")
        whole = View(0, low, self.whole.smin, self.whole.smax, value, mask)
        return self._sure(whole, self.half.top._replace(value=value & self.half.mask, mask=mask & self.half.mask))

    def branch(self, op: JumpOp, width: int, a: Scalar, b: Scalar) -> Branches:
        """Both operands if `a OP b`, and if not; None for an outcome that cannot be."""
        key = (op, width, a, b)
        found = self._branches.get(key)
        if found is None:
            found = (self._assume(assume, op, width, a, b), self._assume(assume_not, op, width, a, b))
            self._branches[key] = found
        return found

    def _assume(self, rule: _Rule, op: JumpOp, width: int, a: Scalar, b: Scalar) -> tuple[Scalar, Scalar] | None:
        if width == self.half.bits:
            halves = rule(op, self.half, a.half, b.half)
            if halves is None:
                return None
            left, right = self.make(a.whole, halves[0]), self.make(b.whole, halves[1])
        else:
            wholes = rule(op, self.whole, a.whole, b.whole)
            if wholes is None:
                return None
            left, right = self.make(wholes[0], a.half), self.make(wholes[1], b.half)
        return None if left is None or right is None else (left, right)

    def meet(self, a: Scalar, b: Scalar) -> Scalar | None:
        """What both say; None when they contradict each other."""
        if a is b:
            return a
        whole, half = _meet(a.whole, b.whole), _meet(a.half, b.half)
        return None if whole is None or half is None else self.make(whole, half)

    def join(self, a: Scalar, b: Scalar) -> Scalar:
        """The least scalar here that contains both."""
        return a if a is b else self._sure(_join(a.whole, b.whole), _join(a.half, b.half))

    def widen(self, a: Scalar, b: Scalar, thresholds: Sequence[int] = ()) -> Scalar:
        """A scalar that contains both and, of a growing bound, keeps only the next threshold (sorted, unsigned)."""
        if a is b:
            return a
        joined = self.join(a, b)
        whole, word = joined.whole, self.whole
        if a.smin >= 0 and b.smin >= 0:
            low = a.umin if b.umin >= a.umin else max((t for t in thresholds if t <= b.umin), default=0)
            limit = word.smax
            high = a.umax if b.umax <= a.umax else min((t for t in thresholds if b.umax <= t <= limit), default=limit)
            whole = View(low, high, low, high, whole.value, whole.mask)
        else:
            low = a.smin if b.smin >= a.smin else word.smin
            high = a.smax if b.smax <= a.smax else word.smax
            whole = View(0, word.mask, low, high, whole.value, whole.mask)
        return self._sure(self._stride(whole), self.half.top)

    def _stride(self, view: View) -> View:
        """Of the known bits, those below the lowest unknown one: a stride survives widening, a prefix does not."""
        if not view.mask:
            return view
        low = (view.mask & -view.mask) - 1
        return view._replace(value=view.value & low, mask=self.whole.mask & ~low)

    def entails(self, a: Scalar, b: Scalar) -> bool:
        """Whether every word that `a` contains, `b` contains too."""
        if a is b or b is self.unknown:
            return True
        key = (a, b)
        found = self._entailed.get(key)
        if found is None:
            found = self._entailed[key] = _within(a.whole, b.whole) and _within(a.half, b.half)
        return found

    def contains(self, a: Scalar, x: int) -> bool:
        """Whether the concrete word is possible."""
        whole, half = self.whole.constant(x), self.half.constant(x)
        return _within(whole, a.whole) and _within(half, a.half)


_Rule = Callable[[JumpOp, Word, View, View], tuple[View, View] | None]

_LOW_BITS_SUFFICE: Final = frozenset({AluOp.ADD, AluOp.SUB, AluOp.MUL, AluOp.AND, AluOp.OR, AluOp.XOR})


def _tighten(word: Word, view: View) -> View | None:
    """Bounds and bits of one word, each narrowed by the others; None when nothing is left."""
    umin, umax, smin, smax, value, mask = view
    umin, umax = max(umin, value), min(umax, value | mask)
    stride = mask & -mask
    if stride > 1:  # bounds are multiples of it, but for the bits below
        umin += (value - umin) % stride
        umax -= (umax - value) % stride
    smin = max(smin, word.signed(value | mask & word.sign))
    smax = min(smax, word.signed(value | mask & word.smax))
    if umin > umax or smin > smax:
        return None
    if (umin ^ umax) < word.sign:  # one sign only
        smin, smax = max(smin, word.signed(umin)), min(smax, word.signed(umax))
    if smin > smax:
        return None
    if (smin < 0) == (smax < 0):
        umin, umax = max(umin, smin & word.mask), min(umax, smax & word.mask)
    elif umin > smax:  # only the negative part is left
        umin = max(umin, smin & word.mask)
    elif umax < smin & word.mask:  # only the positive part is left
        umax = min(umax, smax)
    if umin > umax:
        return None
    prefix, unknown = word.interval_bits(umin, umax)
    if (prefix ^ value) & ~unknown & ~mask:
        return None
    mask &= unknown
    return View(umin, umax, smin, smax, (value | prefix) & ~mask, mask)


def _meet(a: View, b: View) -> View | None:
    if (a.value ^ b.value) & ~a.mask & ~b.mask:
        return None
    umin, umax = max(a.umin, b.umin), min(a.umax, b.umax)
    smin, smax = max(a.smin, b.smin), min(a.smax, b.smax)
    if umin > umax or smin > smax:
        return None
    mask = a.mask & b.mask
    return View(umin, umax, smin, smax, (a.value | b.value) & ~mask, mask)


def _join(a: View, b: View) -> View:
    mask = (a.value ^ b.value) | a.mask | b.mask
    return View(
        min(a.umin, b.umin),
        max(a.umax, b.umax),
        min(a.smin, b.smin),
        max(a.smax, b.smax),
        a.value & ~mask,
        mask,
    )


def _within(a: View, b: View) -> bool:
    return (
        b.umin <= a.umin
        and a.umax <= b.umax
        and b.smin <= a.smin
        and a.smax <= b.smax
        and not a.mask & ~b.mask
        and not (a.value ^ b.value) & ~b.mask
    )
