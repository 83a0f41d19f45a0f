"""What is a matter of choice when a program is judged.

Not here: what is a matter of safety.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

__all__ = ["Policy"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`leaks`: pointers where others can read them (map values, packets, r0 at exit) are rejected, or warned of.

    `steps` bounds the instructions that the exploration visits, over all paths; `prune`,
    `speculate` (proving loops at once) and `compile` (closures for common instructions) off are for tests.
    """

    leaks: Literal["reject", "warn"] = "reject"
    steps: int = 1_000_000
    prune: bool = True
    speculate: bool = True
    compile: bool = True
