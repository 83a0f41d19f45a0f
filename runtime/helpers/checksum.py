"""csum_diff: how an Internet checksum changes when bytes are replaced (RFC 1071, RFC 1624).

Not here: helpers that write checksums into packets.
"""

from __future__ import annotations

from typing import Final

from runtime.native import load8, load16, load32, native, shr, zext32

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
    """The 32-bit sum of `size` bytes, as if followed by zeroes, and a sum so far."""
    end = at + size
    while at + 4 <= end:
        total += load32(at)
        at += 4
    if size & 2:
        total += load16(at)
        at += 2
        if size & 1:
            total += load8(at) << 16
    elif size & 1:
        total += load8(at)
    return _fold32(total)


@native
def csum_diff(env: int, old: int, old_size: int, new: int, new_size: int, seed: int) -> int:
    """The folded 16-bit sum of `seed`, plus the new bytes, minus the old ones (Linux 6.13 and later; any sizes)."""
    old_size = zext32(old_size)
    new_size = zext32(new_size)
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
