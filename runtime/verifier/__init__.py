"""Proves programs safe by abstract interpretation; the only maker of `VerifiedProgram`.

Not here: anything about a particular program type, helper or map; those are rows.

The passes, in order:

    flow          the control-flow graph; code that is no program is refused
    obligations   what each instruction takes for granted, as data
    explore       all paths, depth first, with pruning where they meet
      checker       judges obligations: reads the state, returns a Failure or None
      transfer*     changes the state, and trusts
    report        a failure as people read it, with the shortest fix (fix); explain follows its path backwards
    notice        where accepted programs do what the policy warns of

What explains a rejection is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.verifier.failure import FailureCode
from runtime.verifier.policy import Policy
from runtime.verifier.suspect import Suspect
from runtime.verifier.verified import Facts, LoopBound, VerifiedProgram
from runtime.verifier.verify import verify
from runtime.verifier.warned import Warned, WarningCode

if TYPE_CHECKING:
    from runtime.verifier.explain import Cause, causes, states

__all__ = [
    "Cause",
    "Facts",
    "FailureCode",
    "LoopBound",
    "Policy",
    "Suspect",
    "VerifiedProgram",
    "Warned",
    "WarningCode",
    "causes",
    "states",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in ("Cause", "causes", "states"):
        raise AttributeError(f"module 'runtime.verifier' has no attribute {name!r}")
    from runtime.verifier import explain

    return getattr(explain, name)
