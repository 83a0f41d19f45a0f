"""A native that a test compiles in one process and loads in another."""

from __future__ import annotations

from runtime.native import native


@native
def lesser(a: int, b: int) -> int:
    """The lesser of two words, signed."""
    return min(b, a)
