"""A rejected program with what led to its rejection: what a trial needs to show the failure happening.

Not here: the trial (runtime.engine.interpreter.trial). No other engine takes a suspect, and it is no proof of anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from runtime.spec import MapSpec, ProgramSpec, ProgramType
from runtime.verifier.verified import Facts

__all__ = ["Suspect"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """`trail` are the decisions (slot, taken) on the path to the failure at slot `pc`, oldest first.

    `facts` are those of the paths that were followed until then, with every helper that the code names.
    """

    spec: ProgramSpec
    program_type: ProgramType
    maps: tuple[MapSpec, ...]
    facts: Facts
    trail: tuple[tuple[int, bool], ...]
    pc: int
    code: str
