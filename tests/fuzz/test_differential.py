"""Whatever the verifier accepts means the same everywhere: interpreter, machine code, kernel.

A failure names a seed; `XDPSIM_FUZZ_PROGRAMS=20000 XDPSIM_FUZZ_SEED=1` makes a run longer or different.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Final

import pytest

from runtime.engine.bpf import Refused
from runtime.errors import VerificationError
from runtime.loader import LoadedObject
from runtime.spec import ObjectSpec
from runtime.verifier import Policy
from tests.support.differential import Outcome, outcome
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "240"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 12
LENGTHS: Final = (14, 15, 20, 60, 64, 100, 200, 1000, 3000)
ROOT: Final = os.geteuid() == 0

shares = pytest.mark.parametrize("share", range(SHARES))
needs_kernel = pytest.mark.skipif(not ROOT, reason="needs root: bpf(2)")


def _seeds(share: int) -> range:
    return range(SEED + share, SEED + PROGRAMS // 2, SHARES)


def _frames(seed: int) -> list[bytes]:
    draw = random.Random(seed)
    return [draw.randbytes(draw.choice(LENGTHS)) for _ in range(4)]


def _reads_what_was_never_written(spec: ObjectSpec) -> bool:
    """We give such programs zeroes; the kernel gives them what is there."""
    with LoadedObject(spec, default_registry(), engine="jit", policy=Policy(), cpus=1) as loaded:
        return next(iter(loaded.bare_programs.values())).verified.facts.reads_uninitialised_stack


def _judged(spec: ObjectSpec, seed: int, kernel: Counter[str]) -> str:
    """What became of a program: rejected by us, refused by the kernel, or the same on every engine."""
    frames = _frames(seed)
    try:
        reference = outcome(spec, "interpreter", frames)
    except VerificationError:
        return "rejected"
    assert outcome(spec, "jit", frames) == reference, f"seed {seed}: machine code differs from the interpreter"
    if not ROOT or _reads_what_was_never_written(spec):
        return "same"
    try:
        answer: Outcome = outcome(spec, "kernel", frames)
    except Refused as refused:
        if "verifier bug" in refused.log:  # Linux 6.18: the address of a function in code that is never reached
            return "the kernel's bug"
        kernel[next(iter(reversed(refused.log.splitlines()[:-1])), str(refused))] += 1
        return "refused"
    assert answer == reference, f"seed {seed}: the kernel differs"
    return "same"


@shares
def test_generated_programs_mean_the_same_everywhere(share: int) -> None:
    """Programs over the whole instruction set, maps, helpers and functions are accepted by all and do the same."""
    refusals: Counter[str] = Counter()
    judged = Counter(_judged(generate(seed), seed, refusals) for seed in _seeds(share))
    assert judged["same"] + judged["the kernel's bug"] == judged.total(), (judged, refusals)


@shares
def test_changed_programs_mean_the_same_everywhere(share: int) -> None:
    """Programs with one or two things wrong are rejected, or they do the same on every engine that takes them."""
    refusals: Counter[str] = Counter()
    judged = Counter(_judged(mutate(generate(seed), seed), seed, refusals) for seed in _seeds(share))
    print(f"share {share}: {dict(judged)}, the kernel's reasons: {dict(refusals)}")  # noqa: T201  for -s
    assert judged["same"] > 0
    assert judged["rejected"] > 0
