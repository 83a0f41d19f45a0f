"""Whatever our verifier accepts, the kernel accepts too, or there is a reason that is known to be harmless.

Programs are written at random, or are rules, examples and whole programs with a few things changed. A failure names a source
and a seed; `XDPSIM_FUZZ_PROGRAMS=20000 XDPSIM_FUZZ_SEED=1` makes a run longer or different; `-s` shows what was counted.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Final

import pytest

from runtime.engine.kernel import kernel_verdict
from runtime.errors import VerificationError
from runtime.object import read_object
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec
from runtime.verifier import Policy, verify
from tests.runtime.verifier.rules import MAPS, program_of, rules
from tests.support.embedding import outside
from tests.support.mutations import mutated
from tests.support.objects import EXAMPLES
from tests.support.pointer_programs import pointer_program
from tests.support.whole_programs import generate
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "800"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
BUDGET: Final = Policy(steps=20_000)
LONG_WAY: Final = Policy(steps=40_000, prune=False, speculate=False)
FRAMES: Final = tuple(bytes(range(256))[:length] for length in (14, 15, 20, 34, 60, 64, 100))
LARGEST: Final = 130

_PLACE: Final = re.compile(r"^(\d+): \(", re.MULTILINE)

Case = tuple[ProgramSpec, tuple[MapSpec, ...]]

HARMLESS: Final = (
    ("unreachable insn", "we accept code that nothing reaches, and warn"),
    ("tail_call is not allowed in subprogs", "the kernel wants types for functions that may leave"),
    (
        "offset is outside of the packet",
        "we keep proofs when pointers are loaded again, are beyond the end, or are far",
    ),
    ("math between pkt pointer", "a pointer may go anywhere as long as it is not followed"),
    ("pointer offset", "a pointer may go anywhere as long as it is not followed"),
    ("makes pkt pointer be out of bounds", "a pointer may go anywhere as long as it is not followed"),
    ("register with unbounded min value", "we know more of divisions, shifts and swapped bytes"),
    ("is outside of the allowed memory range", "we know more of divisions, shifts and swapped bytes"),
    ("size=0", "no byte is touched"),
    ("subtraction from stack pointer prohibited", "fp - 8 is fp + -8"),
    ("infinite loop detected", "we know more of divisions, shifts and swapped bytes"),
    ("BPF program is too large", "we prove loops without running them"),
    ("The sequence of", "we prove loops without running them"),
    ("verifier bug", "the kernel's own"),
)
"""What the kernel says of programs that only we accept, and why each is safe. Such programs are looked at in two more ways."""


@cache
def _rules() -> tuple[ProgramSpec, ...]:
    return tuple(program_of(each.text) for each in rules())


@cache
def _examples() -> tuple[Case, ...]:
    objects = [read_object(path.read_bytes(), name=path.stem) for path in sorted(EXAMPLES.glob("*.o"))]
    return tuple((program, each.maps) for each in objects for program in each.programs if len(program.code) < LARGEST)


def _written(seed: int) -> Case:
    return program_of(pointer_program(seed)), MAPS


def _changed_rule(seed: int) -> Case:
    draw = random.Random(seed)
    return mutated(draw.choice(_rules()), draw, changes=draw.choice((1, 1, 2, 3))), MAPS


def _changed_example(seed: int) -> Case:
    draw = random.Random(seed)
    program, maps = draw.choice(_examples())
    return mutated(program, draw, changes=draw.choice((1, 1, 2))), maps


def _changed_whole(seed: int) -> Case:
    draw = random.Random(seed)
    whole = generate(seed)
    return mutated(whole.programs[0], draw, changes=draw.choice((1, 2))), whole.maps


SOURCES: Final[dict[str, Callable[[int], Case]]] = {
    "written": _written,
    "changed rules": _changed_rule,
    "changed examples": _changed_example,
    "changed whole programs": _changed_whole,
}


def _judge(case: Case, policy: Policy) -> tuple[str, frozenset[int]]:
    """Empty for what we accept, else the code of the failure; and the slots that no execution visits."""
    registry = default_registry()
    program, maps = case
    try:
        proof = verify(program, registry.program_type("xdp"), maps, registry, policy=policy)
    except VerificationError as error:
        return error.code, frozenset()
    return "", proof.facts.unreachable


def _last_words(log: str) -> str:
    """Everything in the log that may be the reason."""
    return "\n".join([each for each in log.splitlines() if not each.startswith("processed")][-4:])


def _check_difference(case: Case, log: str, name: str) -> str:
    """The reason why only we accept; fails when it is not harmless."""
    words = _last_words(log)
    fault, _ = _judge(case, LONG_WAY)
    assert fault in ("", "budget"), f"{name}: only short cuts accept it"
    known = next((reason for part, reason in HARMLESS if part in words), "")
    _, unreachable = _judge(case, BUDGET)
    if not known and unreachable & set(map(int, _PLACE.findall(log))):
        known = "the kernel follows a path that we know is never taken"
    assert known, f"{name}: only we accept it; the kernel says: {words}"
    program, maps = case
    alone = tuple(replace(each, programs=()) for each in maps)
    whole = ObjectSpec(name="fuzz", programs=(program,), maps=alone, license=program.license)
    try:
        found = outside(whole, FRAMES)
    except VerificationError:
        return known
    assert found is None, f"{name}: {found}"
    return known


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
@pytest.mark.parametrize("source", SOURCES)
def test_the_kernel_accepts_what_we_accept(source: str) -> None:
    """Each program that only we accept has a harmless reason, a proof path by path, and runs within what was foreseen."""
    kind = default_registry().program_type("xdp")
    counted: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for seed in range(SEED, SEED + PROGRAMS // len(SOURCES)):
        case = SOURCES[source](seed)
        fault, _ = _judge(case, BUDGET)
        accepted, log = kernel_verdict(case[0], kind, case[1])
        counted[f"we {'reject' if fault else 'accept'}, the kernel {'accepts' if accepted else 'rejects'}"] += 1
        if not fault and not accepted:
            reasons[f"only we: {_check_difference(case, log, f'{source}, seed {seed}')}"] += 1
        elif fault and accepted:
            reasons[f"only the kernel: {fault}"] += 1
    print(f"\n{source}: {dict(counted)}\n  " + "\n  ".join(f"{n} {what}" for what, n in reasons.most_common()))  # noqa: T201
    assert sum(n for what, n in counted.items() if re.match("we accept", what)) > 0
