"""Process-wide numbers of live objects, as bpf(2) numbers programs and maps.

Not here: the objects.
"""

from __future__ import annotations

from itertools import count
from typing import Final

__all__ = ["next_map_id", "next_program_id"]

_programs: Final = count(1)
_maps: Final = count(1)


def next_program_id() -> int:
    """A number that no program of this process had before; never 0, which means an empty slot of a program array."""
    return next(_programs)


def next_map_id() -> int:
    """A number that no map of this process had before; never 0."""
    return next(_maps)
