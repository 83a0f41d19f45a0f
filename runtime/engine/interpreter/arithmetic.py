"""Arithmetic, byte order and comparisons of RFC 9669 on Python integers.

Not here: registers. Words are unsigned: 0 to 2**width - 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from runtime.isa import AluOp, JumpOp, SwapKind

__all__ = ["ALU", "COMPARISONS", "WORD", "extended", "signed", "swapped"]

WORD: Final = (1 << 64) - 1
"""All bits of a register."""


def signed(value: int, width: int) -> int:
    """The low `width` bits of a word as a two's complement number."""
    half = 1 << width - 1
    return ((value + half) & ((1 << width) - 1)) - half


def extended(value: int, bits: int, width: int) -> int:
    """The low `bits` bits of a word, sign-extended to a word of `width` bits."""
    return signed(value, bits) & ((1 << width) - 1)


def _truncated(a: int, b: int) -> int:
    """The quotient towards zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _divide(a: int, b: int, _width: int) -> int:
    return a // b if b else 0


def _modulo(a: int, b: int, _width: int) -> int:
    return a % b if b else a


def _divide_signed(a: int, b: int, width: int) -> int:
    return _truncated(signed(a, width), signed(b, width)) if b else 0


def _modulo_signed(a: int, b: int, width: int) -> int:
    """The remainder has the sign of the dividend."""
    x, y = signed(a, width), signed(b, width)
    return x - y * _truncated(x, y) if b else a


ALU: Final[Mapping[AluOp, Callable[[int, int, int], int]]] = {
    AluOp.ADD: lambda a, b, _: a + b,
    AluOp.SUB: lambda a, b, _: a - b,
    AluOp.MUL: lambda a, b, _: a * b,
    AluOp.DIV: _divide,
    AluOp.MOD: _modulo,
    AluOp.SDIV: _divide_signed,
    AluOp.SMOD: _modulo_signed,
    AluOp.OR: lambda a, b, _: a | b,
    AluOp.AND: lambda a, b, _: a & b,
    AluOp.XOR: lambda a, b, _: a ^ b,
    AluOp.MOV: lambda _a, b, _: b,
    AluOp.LSH: lambda a, b, width: a << (b & width - 1),
    AluOp.RSH: lambda a, b, width: a >> (b & width - 1),
    AluOp.ARSH: lambda a, b, width: signed(a, width) >> (b & width - 1),
}
"""op(a, b, width) on words of that width; the result is to be cut to the width again."""


def swapped(kind: SwapKind, value: int, bits: int) -> int:
    """The low `bits` bits in the order of `kind`, as a little-endian machine has them."""
    data = (value & (1 << bits) - 1).to_bytes(bits // 8, "little")
    return int.from_bytes(data, "little" if kind is SwapKind.LE else "big")


def _by_sign(compare: Callable[[int, int], bool]) -> Callable[[int, int, int], bool]:
    return lambda a, b, width: compare(signed(a, width), signed(b, width))


def _plain(compare: Callable[[int, int], bool]) -> Callable[[int, int, int], bool]:
    return lambda a, b, _width: compare(a, b)


COMPARISONS: Final[Mapping[JumpOp, Callable[[int, int, int], bool]]] = {
    JumpOp.JEQ: _plain(operator.eq),
    JumpOp.JNE: _plain(operator.ne),
    JumpOp.JGT: _plain(operator.gt),
    JumpOp.JGE: _plain(operator.ge),
    JumpOp.JLT: _plain(operator.lt),
    JumpOp.JLE: _plain(operator.le),
    JumpOp.JSGT: _by_sign(operator.gt),
    JumpOp.JSGE: _by_sign(operator.ge),
    JumpOp.JSLT: _by_sign(operator.lt),
    JumpOp.JSLE: _by_sign(operator.le),
    JumpOp.JSET: lambda a, b, _width: a & b != 0,
}
"""Whether the branch is taken: op(a, b, width) on words of that width."""
