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
    """The choices.

    `leaks`: pointers where others can read them (map values, packets, r0 at exit) are rejected, or warned of.
    `uninitialised_stack`: reads of stack that was not written (frames start as zeroes here), `unreachable`: code that no path leads
    to, `division_by_zero`: divisors that may be 0 (the result is defined), are warned of or allowed.

    `steps` bounds the instructions that the exploration visits, over all paths; when they are spent, it begins anew with states joined
    where paths meet, and the same bound (`joins`: "beyond"). `joins` in other ways, `prune`,
    `speculate` (proving loops at once) and `compile` (closures for common instructions) off are for tests.
    """

    leaks: Literal["reject", "warn"] = "reject"
    uninitialised_stack: Literal["warn", "allow"] = "warn"
    unreachable: Literal["warn", "allow"] = "warn"
    division_by_zero: Literal["warn", "allow"] = "allow"
    steps: int = 1_000_000
    joins: Literal["beyond", "always", "never"] = "beyond"
    prune: bool = True
    speculate: bool = True
    compile: bool = True
