"""A word of some width, and what is known of it: two intervals and the bits that are certain.

Not here: the pair of widths that makes a register (scalar.py). The width is a parameter so that tests can
enumerate every word of a small one. Known bits are tristate numbers (Vishwanathan et al., CGO 2022).
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

__all__ = ["View", "Word"]


class View(NamedTuple):
    """Bounds of one word, unsigned and signed, both inclusive, and known bits: `value` where `mask` is 0."""

    umin: int
    umax: int
    smin: int
    smax: int
    value: int
    mask: int


@final
class Word:
    """The constants of a width and the functions that only need those."""

    __slots__ = ("bits", "mask", "shift_mask", "sign", "smax", "smin", "top")

    def __init__(self, bits: int) -> None:
        self.bits: Final = bits
        self.mask: Final = (1 << bits) - 1
        self.shift_mask: Final = (1 << (bits - 1).bit_length()) - 1
        self.sign: Final = 1 << (bits - 1)
        self.smin: Final = -self.sign
        self.smax: Final = self.sign - 1
        self.top: Final = View(0, self.mask, self.smin, self.smax, 0, self.mask)

    def signed(self, x: int) -> int:
        """A word read as two's complement."""
        return x - self.mask - 1 if x & self.sign else x

    def constant(self, x: int) -> View:
        """The view of exactly one word."""
        x &= self.mask
        s = self.signed(x)
        return View(x, x, s, s, x, 0)

    def unsigned_view(self, low: int, high: int) -> View:
        """What an unsigned interval says; top where it wraps."""
        if low < 0 or high > self.mask:
            return self.top
        return View(low, high, self.smin, self.smax, 0, self.mask)

    def signed_view(self, low: int, high: int) -> View:
        """What a signed interval says; top where it wraps."""
        if low < self.smin or high > self.smax:
            return self.top
        return View(0, self.mask, low, high, 0, self.mask)

    def interval_bits(self, low: int, high: int) -> tuple[int, int]:
        """Known bits of an unsigned interval: the common prefix of its ends."""
        unknown = (1 << (low ^ high).bit_length()) - 1
        return low & ~unknown, unknown

    def add_bits(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        """Known bits of a sum: a bit is unknown where an operand's is or a carry may differ."""
        (av, am), (bv, bm) = a, b
        total = av + bv
        unknown = ((total + am + bm) ^ total) | am | bm
        return total & ~unknown & self.mask, unknown & self.mask

    def sub_bits(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        """Known bits of a difference."""
        (av, am), (bv, bm) = a, b
        difference = av - bv
        unknown = ((difference + am) ^ (difference - bm)) | am | bm
        return difference & ~unknown & self.mask, unknown & self.mask

    def mul_bits(self, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        """Known bits of a product: the certain part, and a sum of shifted uncertain ones."""
        (av, am), (bv, bm) = a, b
        known = av * bv & self.mask
        rest = (0, 0)
        while av or am:
            if av & 1:
                rest = self.add_bits(rest, (0, bm & self.mask))
            elif am & 1:
                rest = self.add_bits(rest, (0, (bv | bm) & self.mask))
            av, am, bv, bm = av >> 1, am >> 1, bv << 1 & self.mask, bm << 1 & self.mask
        return self.add_bits((known, 0), rest)
