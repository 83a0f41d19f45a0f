"""trace_printk: formatted text into the ring of the worker's environment.

Not here: who reads the ring. Messages follow each other, each ended by a newline; PRINTK_HEAD counts the bytes ever
written, so the byte at count n lies at n mod the ring's size.

Conversions are Linux's for programs: %d %i %u %x %X %c with l and ll, %p, %%, with width, 0 and -. %s is not followed, since
nothing proves its argument to be a string: the address is printed.
"""

from __future__ import annotations

from errno import EINVAL
from typing import Final

from runtime.native import load8, load64, native, sext32, stack_alloc, store8, store64, udiv, urem, zext32
from runtime.spec import Env

__all__ = ["trace_printk"]

_RING: Final = int(Env.PRINTK)
_SIZE: Final = int(Env.PRINTK_SIZE)
_HEAD: Final = int(Env.PRINTK_HEAD)

_NEWLINE: Final = ord("\n")
_SPACE: Final = ord(" ")
_PERCENT: Final = ord("%")
_MINUS: Final = ord("-")
_0: Final = ord("0")
_9: Final = ord("9")
_LOWER_A: Final = ord("a")
_LOWER_C: Final = ord("c")
_LOWER_D: Final = ord("d")
_LOWER_I: Final = ord("i")
_LOWER_L: Final = ord("l")
_LOWER_P: Final = ord("p")
_LOWER_S: Final = ord("s")
_LOWER_U: Final = ord("u")
_LOWER_X: Final = ord("x")
_UPPER_A: Final = ord("A")
_UPPER_X: Final = ord("X")
_TILDE: Final = ord("~")

_ARGUMENTS: Final = 3
_DIGITS: Final = 24
_WIDTH_MAX: Final = 99

# A directive, as six words.
_DIRECTIVE: Final = 48
_KIND: Final = 0
_LONGS: Final = 8
_WIDTH: Final = 16
_ZEROS: Final = 24
_LEFT: Final = 32


@native
def _emit(env: int, character: int) -> int:
    """Write a character, or with env 0 only count it: 1."""
    if env != 0 and load64(env + _RING) != 0:
        head = load64(env + _HEAD)
        store8(load64(env + _RING) + urem(head, load64(env + _SIZE)), character)
        store64(env + _HEAD, head + 1)
    return 1


@native
def _pad(env: int, character: int, count: int) -> int:
    i = 0
    while i < count:
        _emit(env, character)
        i += 1
    return max(count, 0)


@native
def _digits(env: int, value: int, base: int, letter: int, negative: int, directive: int) -> int:
    """Print an unsigned number, with a sign when `negative` is 1; returns how many characters that took."""
    digits = stack_alloc(_DIGITS)
    count = 0
    while value != 0 or count == 0:
        digit = urem(value, base)
        store8(digits + count, digit + _0 if digit < 10 else digit - 10 + letter)
        count += 1
        value = udiv(value, base)
    fill = load64(directive + _WIDTH) - count - negative
    left = load64(directive + _LEFT)
    zeros = load64(directive + _ZEROS)
    written = 0
    if left == 0 and zeros == 0:
        written += _pad(env, _SPACE, fill)
    if negative:
        written += _emit(env, _MINUS)
    if left == 0 and zeros != 0:
        written += _pad(env, _0, fill)
    while count > 0:
        count -= 1
        written += _emit(env, load8(digits + count))
    if left != 0:
        written += _pad(env, _SPACE, fill)
    return written


@native
def _signed(env: int, value: int, directive: int) -> int:
    if load64(directive + _LONGS) == 0:
        value = sext32(value)
    if value < 0:
        return _digits(env, -value, 10, _LOWER_A, 1, directive)
    return _digits(env, value, 10, _LOWER_A, 0, directive)


@native
def _pointer(env: int, value: int, directive: int) -> int:
    store64(directive + _WIDTH, 16)
    store64(directive + _ZEROS, 1)
    store64(directive + _LEFT, 0)
    return _digits(env, value, 16, _LOWER_A, 0, directive)


@native
def _character(env: int, value: int, directive: int) -> int:
    fill = load64(directive + _WIDTH) - 1
    written = 0
    if load64(directive + _LEFT) == 0:
        written += _pad(env, _SPACE, fill)
    written += _emit(env, value & 0xFF)
    if load64(directive + _LEFT) != 0:
        written += _pad(env, _SPACE, fill)
    return written


@native
def _convert(env: int, directive: int, value: int) -> int:
    """Print one argument; returns how many characters that took, or -EINVAL for a conversion that there is not."""
    kind = load64(directive + _KIND)
    if kind == _LOWER_P:
        return _pointer(env, value, directive)
    if kind == _LOWER_S:
        return _pointer(env, value, directive)
    if kind == _LOWER_C:
        return _character(env, value, directive)
    if kind == _LOWER_D:
        return _signed(env, value, directive)
    if kind == _LOWER_I:
        return _signed(env, value, directive)
    if load64(directive + _LONGS) == 0:
        value = zext32(value)
    if kind == _LOWER_U:
        return _digits(env, value, 10, _LOWER_A, 0, directive)
    if kind == _LOWER_X:
        return _digits(env, value, 16, _LOWER_A, 0, directive)
    if kind == _UPPER_X:
        return _digits(env, value, 16, _UPPER_A, 0, directive)
    return -EINVAL


@native
def _parse(text: int, directive: int) -> int:
    """Read what follows a percent sign; returns the address behind it. A terminator ends everything."""
    store64(directive + _ZEROS, 0)
    store64(directive + _LEFT, 0)
    character = load8(text)
    while character == _0 or character == _MINUS:  # noqa: PLR1714, SIM109 - natives have no tuples
        if character == _0:
            store64(directive + _ZEROS, 1)
        else:
            store64(directive + _LEFT, 1)
        text += 1
        character = load8(text)
    width = 0
    while _0 <= character <= _9:
        width = min(width * 10 + character - _0, _WIDTH_MAX)
        text += 1
        character = load8(text)
    store64(directive + _WIDTH, width)
    longs = 0
    while character == _LOWER_L and longs < 2:
        longs += 1
        text += 1
        character = load8(text)
    store64(directive + _LONGS, longs)
    store64(directive + _KIND, character)
    return text + 1


@native
def _format(env: int, text: int, first: int, second: int, third: int) -> int:
    """Print a terminated format and its arguments, or with env 0 only check it; returns its length, or -EINVAL."""
    directive = stack_alloc(_DIRECTIVE)
    written = 0
    used = 0
    character = load8(text)
    while character != 0:
        text += 1
        if character > _TILDE or (character < _SPACE and (character < 9 or character > 13)):
            return -EINVAL
        if character != _PERCENT:
            written += _emit(env, character)
        elif load8(text) == _PERCENT:
            written += _emit(env, _PERCENT)
            text += 1
        else:
            if used == _ARGUMENTS:
                return -EINVAL
            text = _parse(text, directive)
            got = _convert(env, directive, first)
            if got < 0:
                return got
            written += got
            used += 1
            first = second
            second = third
        character = load8(text)
    return written


@native
def trace_printk(env: int, text: int, size: int, first: int, second: int, third: int) -> int:
    """Print a message; returns its length, or -EINVAL for a format that Linux refuses."""
    size = zext32(size)
    at = 0
    while at < size and load8(text + at) != 0:
        at += 1
    if at == size or _format(0, text, first, second, third) < 0:
        return -EINVAL
    written = _format(env, text, first, second, third)
    if at == 0 or load8(text + at - 1) != _NEWLINE:
        _emit(env, _NEWLINE)
    return written
