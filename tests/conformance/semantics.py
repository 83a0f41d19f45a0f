"""RFC 9669 in plain integers: what each operation gives, for words that are held unsigned.

Not here: engines, or anything of xdpsim. Operations go by their signs in assembly, without the `=`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["ALU", "ATOMICS", "TESTS", "alu", "atomic", "signed", "swap", "test", "unsigned"]


def unsigned(value: int, bits: int = 64) -> int:
    """The low bits of a number."""
    return value & (1 << bits) - 1


def signed(value: int, bits: int) -> int:
    """The low bits of a number in two's complement (§2.2)."""
    low = unsigned(value, bits)
    return low - (1 << bits) if low >> bits - 1 else low


def _quotient(a: int, b: int) -> int:
    """Division that truncates towards zero (§4.1)."""
    return abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)


def _divided(a: int, b: int, _bits: int) -> int:
    return a // b if b else 0


def _remainder(a: int, b: int, _bits: int) -> int:
    return a % b if b else a


def _signed_divided(a: int, b: int, bits: int) -> int:
    return _quotient(signed(a, bits), signed(b, bits)) if b else 0


def _signed_remainder(a: int, b: int, bits: int) -> int:
    x, y = signed(a, bits), signed(b, bits)
    return x - _quotient(x, y) * y if y else a


# Operands come unsigned in the operation's width; results are cut to it. Shift counts are masked to the width (§4.1).
ALU: Final[dict[str, Callable[[int, int, int], int]]] = {
    "+": lambda a, b, _bits: a + b,
    "-": lambda a, b, _bits: a - b,
    "*": lambda a, b, _bits: a * b,
    "/": _divided,
    "s/": _signed_divided,
    "%": _remainder,
    "s%": _signed_remainder,
    "&": lambda a, b, _bits: a & b,
    "|": lambda a, b, _bits: a | b,
    "^": lambda a, b, _bits: a ^ b,
    "<<": lambda a, b, bits: a << b % bits,
    ">>": lambda a, b, bits: a >> b % bits,
    "s>>": lambda a, b, bits: signed(a, bits) >> b % bits,
    "": lambda _a, b, _bits: b,
}


def alu(sign: str, bits: int, a: int, b: int) -> int:
    """The register after `dst OP= src`: 32-bit operations leave zeroes above, immediates come sign-extended."""
    return unsigned(ALU[sign](unsigned(a, bits), unsigned(b, bits), bits), bits)


# Comparisons of unsigned operands, or of signed ones where the sign begins with `s` (§4.3).
TESTS: Final[dict[str, Callable[[int, int], bool]]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "&": lambda a, b: a & b != 0,
    "s>": lambda a, b: a > b,
    "s>=": lambda a, b: a >= b,
    "s<": lambda a, b: a < b,
    "s<=": lambda a, b: a <= b,
}


def test(sign: str, bits: int, a: int, b: int) -> bool:
    """Whether `if dst OP src goto` jumps."""
    view = signed if sign.startswith("s") else unsigned
    return TESTS[sign](view(a, bits), view(b, bits))


def swap(word: str, bits: int, a: int) -> int:
    """`le`, `be` and `bswap` of the low bits on a little-endian machine (§4.2)."""
    low = unsigned(a, bits)
    return low if word == "le" else int.from_bytes(low.to_bytes(bits // 8, "little"), "big")


# What an atomic stores, from the old value and the source register (§5.3).
ATOMICS: Final[dict[str, Callable[[int, int], int]]] = {
    "add": lambda old, source: old + source,
    "or": lambda old, source: old | source,
    "and": lambda old, source: old & source,
    "xor": lambda old, source: old ^ source,
    "xchg": lambda _old, source: source,
}


def atomic(name: str, bits: int, place: int, source: int, expected: int) -> tuple[int, int]:
    """The old value and the 64-bit word at the place afterwards; 32-bit atomics work on its lower half.

    `cmpxchg` stores the source only where the place holds what is expected.
    """
    old = unsigned(place, bits)
    if name == "cmpxchg":
        new = unsigned(source, bits) if old == unsigned(expected, bits) else old
    else:
        new = unsigned(ATOMICS[name](old, unsigned(source, bits)), bits)
    return old, place >> bits << bits | new
