"""What each arithmetic operation makes of two words: one function an operation, by table.

Not here: the reduction between bounds and bits; the caller meets what is returned with everything else it knows.
Each result contains every concrete result for operands within the views.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Final

from runtime.isa import AluOp
from runtime.verifier.domains.word import View, Word

__all__ = ["concrete", "transfer"]

Transfer = Callable[[Word, View, View], View]


def concrete(op: AluOp, word: Word, x: int, y: int) -> int:
    """The result for two words, as RFC 9669 §4.1 defines it."""
    match op:
        case AluOp.ADD:
            result = x + y
        case AluOp.SUB:
            result = x - y
        case AluOp.MUL:
            result = x * y
        case AluOp.OR:
            result = x | y
        case AluOp.AND:
            result = x & y
        case AluOp.XOR:
            result = x ^ y
        case AluOp.LSH:
            result = x << (y & word.shift_mask)
        case AluOp.RSH:
            result = x >> (y & word.shift_mask)
        case AluOp.ARSH:
            result = word.signed(x) >> (y & word.shift_mask)
        case AluOp.DIV:
            result = x // y if y else 0
        case AluOp.MOD:
            result = x % y if y else x
        case AluOp.SDIV:
            result = _quotient(word.signed(x), word.signed(y)) if y else 0
        case AluOp.SMOD:
            result = word.signed(x) - word.signed(y) * _quotient(word.signed(x), word.signed(y)) if y else x
        case _:
            result = y
    return result & word.mask


def _quotient(x: int, y: int) -> int:
    """Division that truncates towards zero."""
    return abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)


def transfer(op: AluOp, word: Word, a: View, b: View) -> View:
    """The view of `a OP b`."""
    if not a.mask and not b.mask:
        return word.constant(concrete(op, word, a.value, b.value))
    return _TRANSFER[op](word, a, b)


def _join_bits(word: Word, view: View, bits: tuple[int, int]) -> View:
    return view._replace(value=bits[0] & word.mask, mask=bits[1] & word.mask)


def _with_signed(word: Word, unsigned: View, low: int, high: int) -> View:
    if low < word.smin or high > word.smax:
        return unsigned
    return unsigned._replace(smin=low, smax=high)


def _wrapped(word: Word, low: int, high: int) -> View:
    """An unsigned interval that may have wrapped as a whole."""
    if low >> word.bits == high >> word.bits:
        return word.unsigned_view(low & word.mask, high & word.mask)
    return word.top


def _add(word: Word, a: View, b: View) -> View:
    view = _with_signed(word, _wrapped(word, a.umin + b.umin, a.umax + b.umax), a.smin + b.smin, a.smax + b.smax)
    return _join_bits(word, view, word.add_bits((a.value, a.mask), (b.value, b.mask)))


def _sub(word: Word, a: View, b: View) -> View:
    view = _with_signed(word, _wrapped(word, a.umin - b.umax, a.umax - b.umin), a.smin - b.smax, a.smax - b.smin)
    return _join_bits(word, view, word.sub_bits((a.value, a.mask), (b.value, b.mask)))


def _mul(word: Word, a: View, b: View) -> View:
    corners = [x * y for x, y in product((a.smin, a.smax), (b.smin, b.smax))]
    view = _with_signed(word, word.unsigned_view(a.umin * b.umin, a.umax * b.umax), min(corners), max(corners))
    return _join_bits(word, view, word.mul_bits((a.value, a.mask), (b.value, b.mask)))


def _and(word: Word, a: View, b: View) -> View:
    value = a.value & b.value
    mask = (a.value | a.mask) & (b.value | b.mask) & ~value
    low, high = word.smin, word.smax
    if a.smin >= 0 or b.smin >= 0:
        low, high = 0, min(x.smax for x in (a, b) if x.smin >= 0)
    elif a.smax < 0 and b.smax < 0:
        high = min(a.smax, b.smax)
    return View(value, min(a.umax, b.umax), low, high, value, mask)


def _or(word: Word, a: View, b: View) -> View:
    value = a.value | b.value
    mask = (a.mask | b.mask) & ~value
    low, high = word.smin, word.smax
    if a.smax < 0 or b.smax < 0:
        low, high = max(x.smin for x in (a, b) if x.smax < 0), -1
    elif a.smin >= 0 and b.smin >= 0:
        low = max(a.smin, b.smin)
    return View(max(a.umin, b.umin), value | mask, low, high, value, mask)


def _xor(word: Word, a: View, b: View) -> View:
    mask = a.mask | b.mask
    value = (a.value ^ b.value) & ~mask
    low, high = word.smin, word.smax
    if (a.smin >= 0 or a.smax < 0) and (b.smin >= 0 or b.smax < 0):
        low, high = (0, high) if (a.smin >= 0) == (b.smin >= 0) else (low, -1)
    return View(value, value | mask, low, high, value, mask)


def _shift_range(word: Word, b: View) -> tuple[int, int]:
    """The least and greatest effective shift."""
    if b.umax < word.bits:
        return b.umin, b.umax
    low = b.value & word.shift_mask
    return low, low | b.mask & word.shift_mask


def _lsh(word: Word, a: View, b: View) -> View:
    low, high = _shift_range(word, b)
    view = word.unsigned_view(a.umin << low, a.umax << high)
    if low == high:
        view = _with_signed(word, view, a.smin << low, a.smax << low)
        return _join_bits(word, view, (a.value << low, a.mask << low))
    zeros = (1 << low) - 1
    return view._replace(mask=word.mask & ~zeros)


def _rsh(word: Word, a: View, b: View) -> View:
    low, high = _shift_range(word, b)
    view = word.unsigned_view(a.umin >> high, a.umax >> low)
    if low == high:
        return _join_bits(word, view, (a.value >> low, a.mask >> low))
    return view


def _arsh(word: Word, a: View, b: View) -> View:
    low, high = _shift_range(word, b)
    corners = [x >> k for x, k in product((a.smin, a.smax), (low, high))]
    view = word.signed_view(min(corners), max(corners))
    if low == high:
        value, mask = word.signed(a.value) >> low, word.signed(a.mask) >> low
        return _join_bits(word, view, (value & ~mask, mask))
    return view


def _div(word: Word, a: View, b: View) -> View:
    if b.umin:
        return word.unsigned_view(a.umin // b.umax, a.umax // b.umin)
    return word.unsigned_view(0, a.umax)


def _mod(word: Word, a: View, b: View) -> View:
    if b.umin and a.umax < b.umin:
        return a
    if b.umin:
        return word.unsigned_view(0, min(a.umax, b.umax - 1))
    return word.unsigned_view(0, a.umax)


def _sdiv(word: Word, a: View, b: View) -> View:
    divisors = {y for y in (b.smin, b.smax, -1, 1) if y and b.smin <= y <= b.smax}
    corners = [_quotient(x, y) for x, y in product((a.smin, a.smax), divisors)] + [0]
    return word.signed_view(min(corners), max(corners))


def _smod(word: Word, a: View, b: View) -> View:
    bound = max(abs(b.smin), abs(b.smax)) - 1
    if b.smin <= 0 <= b.smax:
        bound = word.mask
    low = 0 if a.smin >= 0 else max(a.smin, -bound)
    high = 0 if a.smax <= 0 else min(a.smax, bound)
    return word.signed_view(low, high)


_TRANSFER: Final[dict[AluOp, Transfer]] = {
    AluOp.ADD: _add,
    AluOp.SUB: _sub,
    AluOp.MUL: _mul,
    AluOp.DIV: _div,
    AluOp.OR: _or,
    AluOp.AND: _and,
    AluOp.LSH: _lsh,
    AluOp.RSH: _rsh,
    AluOp.MOD: _mod,
    AluOp.XOR: _xor,
    AluOp.ARSH: _arsh,
    AluOp.SDIV: _sdiv,
    AluOp.SMOD: _smod,
}
