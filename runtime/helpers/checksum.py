"""csum_diff: how an Internet checksum changes when bytes are replaced (RFC 1071, RFC 1624).

Not here: helpers that write checksums into packets.
"""

from __future__ import annotations

from errno import EINVAL
from typing import Final

from runtime.native import load32, native, shr, zext32

__all__ = ["csum_diff"]

_HALF: Final = 0xFFFF
_WORD: Final = 0xFFFF_FFFF


@native
def _fold32(total: int) -> int:
    """A sum of 32-bit words as 32 bits, carries added at the low end; 0 only for 0."""
    total = shr(total, 32) + (total & _WORD)
    return shr(total, 32) + (total & _WORD)


@native
def _partial(at: int, size: int, total: int) -> int:
    """The 32-bit sum of `size` bytes and a sum so far."""
    end = at + size
    while at < end:
        total += load32(at)
        at += 4
    return _fold32(total)


@native
def csum_diff(env: int, old: int, old_size: int, new: int, new_size: int, seed: int) -> int:
    """The folded 16-bit sum of `seed`, plus the new bytes, minus the old ones; -EINVAL for sizes not multiples of 4."""
    old_size = zext32(old_size)
    new_size = zext32(new_size)
    if (old_size | new_size) & 3:
        return -EINVAL
    total = zext32(seed)
    if old_size != 0 and new_size != 0:
        removed = _partial(old, old_size, 0) ^ _WORD
        total = _fold32(_partial(new, new_size, total) + removed)
    elif new_size != 0:
        total = _partial(new, new_size, total)
    elif old_size != 0:
        total = _partial(old, old_size, total ^ _WORD) ^ _WORD
    total = shr(total, 16) + (total & _HALF)
    return (shr(total, 16) + total) & _HALF
