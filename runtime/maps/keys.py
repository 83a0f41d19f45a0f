"""Bytes as keys: hashing, comparing and copying them, sizes being constants where natives are inlined.

Not here: tables. The hash is a multiply-and-fold of 8-byte pieces (the scheme of wyhash), seeded; pieces are read as
32-bit halves, because programs write keys field by field and processors forward a store only to a load inside it.
"""

from __future__ import annotations

from typing import Final

from runtime.native import load8, load16, load32, memcpy, memeq, mulhi, native, store32, store64

__all__ = ["copy_small", "hash_key", "round8", "same_key"]

_SIZE_MIX: Final = -0x61C8864680B583EB  # 2**64 / golden ratio
_FOLD: Final = -0x2917014799A6026D
_TAIL: Final = -0x4B47D0C5A14A2C93
_UNROLL: Final = 64


@native
def round8(size: int) -> int:
    """`size` rounded up to a multiple of 8."""
    return (size + 7) & -8


@native
def _fold(word: int, constant: int) -> int:
    return mulhi(word, constant) ^ (word * constant)


@native
def hash_key(key: int, size: int, seed: int) -> int:
    """64 bits that depend on every bit of the key; the high bits are the best mixed."""
    state = seed ^ _SIZE_MIX
    at = 0
    while at + 8 <= size:
        state = _fold(state ^ load32(key + at) ^ (load32(key + at + 4) << 32), _FOLD)
        at += 8
    rest = size & 7
    if rest != 0:
        tail = 0
        if rest & 4:
            tail = load32(key + at)
            at += 4
        if rest & 2:
            tail = tail ^ (load16(key + at) << 32)
            at += 2
        if rest & 1:
            tail = tail ^ (load8(key + at) << 48)
        state = _fold(state ^ tail, _TAIL)
    return state


@native
def same_key(a: int, b: int, size: int) -> int:
    """1 when the keys at `a` and `b` are equal, else 0."""
    if size > _UNROLL:
        return memeq(a, b, size)
    difference = 0
    at = 0
    while at + 4 <= size:
        difference |= load32(a + at) ^ load32(b + at)
        at += 4
    if size & 2:
        difference |= load16(a + at) ^ load16(b + at)
        at += 2
    if size & 1:
        difference |= load8(a + at) ^ load8(b + at)
    if difference == 0:
        return 1
    return 0


@native
def copy_small(to: int, source: int, size: int) -> int:
    """Copy `size` bytes; words of 4 and 8 in one store, so that readers see old or new and nothing between."""
    if size == 8:
        return store64(to, load32(source) | (load32(source + 4) << 32))
    if size == 4:
        return store32(to, load32(source))
    return memcpy(to, source, size)
