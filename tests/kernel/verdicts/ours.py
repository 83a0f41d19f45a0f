"""Our verdict on every program of an object.

Not here: the kernel's.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from runtime.errors import InputError, VerificationError
from runtime.loader import program_type
from runtime.object import read_object
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, ProgramType, Registry
from runtime.verifier import Policy, verify
from tests.kernel.verdicts.verdict import Verdict

__all__ = ["judge", "read", "type_of"]

TOLERATED = ("leak",)
"""Failures that a policy may turn into warnings."""


def read(path: Path) -> ObjectSpec | InputError:
    """The object, or why it cannot be read."""
    try:
        return read_object(path.read_bytes(), name=path.stem)
    except InputError as error:
        return error


def type_of(spec: ProgramSpec, registry: Registry) -> ProgramType | None:
    """The program's type by its section, or None where we know none."""
    try:
        return program_type(registry, spec)
    except InputError:
        return None


def judge(
    spec: ProgramSpec, kind: ProgramType, maps: tuple[MapSpec, ...], registry: Registry, *, policy: Policy
) -> Verdict:
    """What our verifier says; where it says "leak", also what it says when leaks are only warned of."""
    verdict = _judge(spec, kind, maps, registry, policy)
    if verdict.code not in TOLERATED:
        return verdict
    tolerant = _judge(spec, kind, maps, registry, replace(policy, leaks="warn"))
    if tolerant.accepted:
        return replace(verdict, tolerant=True)
    return replace(verdict, message=tolerant.message, code=tolerant.code)


def _judge(
    spec: ProgramSpec, kind: ProgramType, maps: tuple[MapSpec, ...], registry: Registry, policy: Policy
) -> Verdict:
    started = time.process_time()
    try:
        proof = verify(spec, kind, maps, registry, policy=policy)
    except VerificationError as error:
        seconds = time.process_time() - started
        return Verdict(accepted=False, message=str(error).splitlines()[0], code=error.code, seconds=seconds)
    except InputError as error:
        return Verdict(accepted=None, message=str(error).splitlines()[0])
    return Verdict(accepted=True, steps=proof.facts.steps, seconds=time.process_time() - started)
