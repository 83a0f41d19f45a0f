"""The door: the verdict on a program, proven now or known from before.

Not here: the proof (prove.py, imported by who needs one) and how verdicts are kept (verdicts.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import VerificationError
from runtime.spec import MapSpec, ProgramSpec, ProgramType, Registry
from runtime.verifier.policy import Policy
from runtime.verifier.question import Question
from runtime.verifier.verdicts import known, remember
from runtime.verifier.verified import VerifiedProgram

if TYPE_CHECKING:
    from runtime.verifier.explore import Watcher

__all__ = ["verify"]


def verify(
    spec: ProgramSpec,
    program_type: ProgramType,
    maps: tuple[MapSpec, ...],
    registry: Registry,
    *,
    policy: Policy | None = None,
    watcher: Watcher | None = None,
    cached: bool = False,
) -> VerifiedProgram:
    """Prove a program safe, or raise VerificationError with the first cause.

    `maps` are those of the object, in the order that the code's indices mean. `cached`: a verdict on disk will do, and a
    new one is kept there; the watcher of a run that did not happen sees nothing.
    """
    question = Question(spec, program_type, maps, registry, policy or Policy())
    verdict = known(question) if cached else None
    if verdict is None:
        verdict = _proven(question, watcher)
        if cached:
            remember(question, verdict)
    if isinstance(verdict, VerificationError):
        raise verdict
    return verdict


def _proven(question: Question, watcher: Watcher | None) -> VerifiedProgram | VerificationError:
    from runtime.verifier.prove import prove  # a verdict that is known does without the passes

    try:
        return prove(
            question.spec,
            question.program_type,
            question.maps,
            question.registry,
            policy=question.policy,
            watcher=watcher,
        )
    except VerificationError as error:
        return error
