"""Programs with callbacks that we accept never reach what must not be reached.

`XDPSIM_FUZZ_PROGRAMS=20000 XDPSIM_FUZZ_SEED=1` makes a run longer or different; `-s` shows what was counted.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from typing import Final

import pytest

from runtime.errors import VerificationError
from runtime.verifier import Policy, verify
from tests.runtime.verifier.rules import MAPS, program_of
from tests.support.callback_programs import CallbackProgram, callback_program, goes_wrong
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "800"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
BUDGET: Final = 4_000
RUNS: Final = 120


def _accepts(program: CallbackProgram, policy: Policy) -> bool:
    registry = default_registry()
    try:
        verify(program_of(program.text), registry.program_type("xdp"), MAPS, registry, policy=policy)
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("joins", ["never", "always"])
def test_accepted_callbacks_are_safe(joins: str) -> None:
    """Whatever is accepted, path by path or with states joined, is safe in every run that chance finds."""
    policy = Policy(steps=BUDGET, joins="always" if joins == "always" else "never")
    counts: Counter[bool] = Counter()
    for seed in range(SEED, SEED + PROGRAMS // 2):
        program = callback_program(seed)
        accepted = _accepts(program, policy)
        counts[accepted] += 1
        if accepted:
            draw = random.Random(seed)
            assert not any(goes_wrong(program, draw) for _ in range(RUNS)), f"seed {seed}\n{program.text}"
    sys.stdout.write(f"callbacks, joins {joins}: {counts[True]} accepted, {counts[False]} rejected\n")
    assert counts[True] > sum(counts.values()) // 10
