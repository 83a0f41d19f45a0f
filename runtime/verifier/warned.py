"""What is accepted and still worth a word: stable codes, one sentence, and the place.

Not here: what is rejected (failure.py), and which of these are warned of (policy.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, final

from runtime.spec import ProgramSpec

__all__ = ["Warned", "WarningCode"]


class WarningCode(StrEnum):
    """The class of a warning; names are stable and documented in docs/verification-failures.md."""

    LEAK = "leak"
    UNINIT_STACK = "uninit_stack"
    UNREACHABLE = "unreachable"
    DIVISION = "division_by_zero"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """One warning at slot `pc`; `source` is "file:line", or empty without line information."""

    code: WarningCode
    message: str
    pc: int
    source: str

    def __str__(self) -> str:
        """The sentence with its place."""
        return f"{self.message} [{self.code}], at {self.source or f'instruction {self.pc}'}"

    @classmethod
    def at(cls, spec: ProgramSpec, code: WarningCode, message: str, pc: int) -> Warned:
        """A warning at that slot of the program."""
        line = spec.line_at(pc)
        return cls(code=code, message=message, pc=pc, source=f"{line.file}:{line.line}" if line else "")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Warned:
        """The warning that `dataclasses.asdict` made a mapping of; raises KeyError and ValueError."""
        return cls(
            code=WarningCode(document["code"]),
            message=str(document["message"]),
            pc=int(document["pc"]),
            source=str(document["source"]),
        )
