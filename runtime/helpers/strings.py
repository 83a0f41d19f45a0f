"""Helpers on strings: strncmp.

Not here: formatted output (printk.py).
"""

from __future__ import annotations

from runtime.native import load8, native, zext32

__all__ = ["strncmp"]


@native
def strncmp(env: int, first: int, size: int, second: int) -> int:
    """Compare at most `size` bytes of strings: -1, 0 or 1."""
    size = zext32(size)
    at = 0
    while at < size:
        a = load8(first + at)
        b = load8(second + at)
        if a != b:
            return -1 if a < b else 1
        if a == 0:
            return 0
        at += 1
    return 0
