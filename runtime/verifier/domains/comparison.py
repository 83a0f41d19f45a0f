"""What a comparison that came out true says about its two operands.

Not here: deciding a branch; it is decided when one of the two outcomes is impossible.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.isa import JumpOp
from runtime.verifier.domains.word import View, Word

__all__ = ["assume", "assume_not", "holds"]

Refined = tuple[View, View] | None


def holds(op: JumpOp, word: Word, x: int, y: int) -> bool:
    """Whether `x OP y` for two words."""
    a, b = word.signed(x), word.signed(y)
    match op:
        case JumpOp.JEQ:
            return x == y
        case JumpOp.JNE:
            return x != y
        case JumpOp.JGT:
            return x > y
        case JumpOp.JGE:
            return x >= y
        case JumpOp.JLT:
            return x < y
        case JumpOp.JLE:
            return x <= y
        case JumpOp.JSGT:
            return a > b
        case JumpOp.JSGE:
            return a >= b
        case JumpOp.JSLT:
            return a < b
        case JumpOp.JSLE:
            return a <= b
        case _:
            return bool(x & y)


def assume(op: JumpOp, word: Word, a: View, b: View) -> Refined:
    """Both operands, narrowed by `a OP b`; None when that cannot be."""
    return _ASSUME[op](word, a, b)


def assume_not(op: JumpOp, word: Word, a: View, b: View) -> Refined:
    """Both operands, narrowed by not `a OP b`; None when that cannot be."""
    if op is JumpOp.JSET:
        return _not_set(word, a, b)
    return _ASSUME[_OPPOSITE[op]](word, a, b)


def _equal(_word: Word, a: View, b: View) -> Refined:
    if (a.value ^ b.value) & ~a.mask & ~b.mask:
        return None
    umin, umax = max(a.umin, b.umin), min(a.umax, b.umax)
    smin, smax = max(a.smin, b.smin), min(a.smax, b.smax)
    if umin > umax or smin > smax:
        return None
    mask = a.mask & b.mask
    both = View(umin, umax, smin, smax, (a.value | b.value) & ~mask, mask)
    return both, both


def _unequal(word: Word, a: View, b: View) -> Refined:
    left, right = _without(word, a, b), _without(word, b, a)
    return None if left is None or right is None else (left, right)


def _without(word: Word, a: View, b: View) -> View | None:
    """`a` without the one word that `b` is, where that shortens an interval."""
    if b.umin != b.umax:
        return a
    point, signed = b.umin, word.signed(b.umin)
    umin = a.umin + (a.umin == point)
    umax = a.umax - (a.umax == point)
    smin = a.smin + (a.smin == signed)
    smax = a.smax - (a.smax == signed)
    if umin > umax or smin > smax:
        return None
    return a._replace(umin=umin, umax=umax, smin=smin, smax=smax)


def _greater(_word: Word, a: View, b: View, gap: int = 1) -> Refined:
    low, high = b.umin + gap, a.umax - gap
    if low > a.umax or high < b.umin:
        return None
    return a._replace(umin=max(a.umin, low)), b._replace(umax=min(b.umax, high))


def _signed_greater(_word: Word, a: View, b: View, gap: int = 1) -> Refined:
    low, high = b.smin + gap, a.smax - gap
    if low > a.smax or high < b.smin:
        return None
    return a._replace(smin=max(a.smin, low)), b._replace(smax=min(b.smax, high))


def _swapped(rule: Callable[[Word, View, View, int], Refined], gap: int) -> Callable[[Word, View, View], Refined]:
    def turned(word: Word, a: View, b: View) -> Refined:
        found = rule(word, b, a, gap)
        return None if found is None else (found[1], found[0])

    return turned


def _set(_word: Word, a: View, b: View) -> Refined:
    possible = (a.value | a.mask) & (b.value | b.mask)
    if not possible:
        return None
    return _one_bit(a, possible), _one_bit(b, possible)


def _one_bit(a: View, possible: int) -> View:
    """Some bit of `possible` is set in `a`; when only one can be, it is."""
    least = possible & -possible
    if possible == least:
        return a._replace(value=a.value | least, mask=a.mask & ~least, umin=max(a.umin, least))
    return a._replace(umin=max(a.umin, least))


def _not_set(_word: Word, a: View, b: View) -> Refined:
    if a.value & b.value:
        return None
    return _cleared(a, b.value), _cleared(b, a.value)


def _cleared(a: View, bits: int) -> View:
    """The certain bits of the other operand are clear in `a`."""
    return a._replace(mask=a.mask & ~bits)


_OPPOSITE: Final = {
    JumpOp.JEQ: JumpOp.JNE,
    JumpOp.JNE: JumpOp.JEQ,
    JumpOp.JGT: JumpOp.JLE,
    JumpOp.JLE: JumpOp.JGT,
    JumpOp.JGE: JumpOp.JLT,
    JumpOp.JLT: JumpOp.JGE,
    JumpOp.JSGT: JumpOp.JSLE,
    JumpOp.JSLE: JumpOp.JSGT,
    JumpOp.JSGE: JumpOp.JSLT,
    JumpOp.JSLT: JumpOp.JSGE,
}

_ASSUME: Final[dict[JumpOp, Callable[[Word, View, View], Refined]]] = {
    JumpOp.JEQ: _equal,
    JumpOp.JNE: _unequal,
    JumpOp.JGT: _greater,
    JumpOp.JGE: lambda word, a, b: _greater(word, a, b, 0),
    JumpOp.JLT: _swapped(_greater, 1),
    JumpOp.JLE: _swapped(_greater, 0),
    JumpOp.JSGT: _signed_greater,
    JumpOp.JSGE: lambda word, a, b: _signed_greater(word, a, b, 0),
    JumpOp.JSLT: _swapped(_signed_greater, 1),
    JumpOp.JSLE: _swapped(_signed_greater, 0),
    JumpOp.JSET: _set,
}
