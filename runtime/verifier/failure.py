"""Why a program is not accepted: a stable code, and what was known at the instruction.

Not here: the text around it (report.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import final

__all__ = ["Failure", "FailureCode", "Rejected"]


class FailureCode(StrEnum):
    """The class of a failure; names are stable and documented in docs/verification-failures.md."""

    PACKET_OOB = "packet_oob"
    MAP_OOB = "map_oob"
    NULL_DEREF = "null_deref"
    BAD_DEREF = "bad_deref"
    STALE_POINTER = "stale_pointer"
    UNINIT_REG = "uninit_reg"
    STACK = "stack"
    POINTER_ARITHMETIC = "ptr_arith"
    CONTEXT = "ctx"
    HELPER = "helper"
    HELPER_ARG = "helper_arg"
    LEAK = "leak"
    LOOP = "loop"
    BUDGET = "budget"
    RETURN = "retval"
    INSTRUCTION = "insn"
    STRUCTURE = "cfg"
    READ_ONLY = "readonly"
    ALIGNMENT = "align"
    CALL = "call"
    REFERENCE = "reference"
    LOCK = "lock"
    SPECIAL = "special_field"


@final
@dataclass(frozen=True, slots=True)
class Failure:
    """One cause: its class, and one sentence that says what is known and what is missing."""

    code: FailureCode
    message: str


@final
class Rejected(Exception):  # noqa: N818  a verdict, not an error; it does not leave the package
    """Ends the exploration at slot `pc`."""

    def __init__(self, failure: Failure, pc: int) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.pc = pc
