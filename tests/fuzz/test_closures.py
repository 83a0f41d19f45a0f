"""Closures are a short cut: with and without them, every step sees the same state, and the same programs are accepted.

`XDPSIM_FUZZ_PROGRAMS` and `XDPSIM_FUZZ_SEED` make a run longer or different.
"""

from __future__ import annotations

import os
from typing import Any, Final

import pytest

from runtime.errors import VerificationError
from runtime.spec import ObjectSpec
from runtime.verifier import Facts, Policy, verify
from runtime.verifier.domains import ScalarDomain
from runtime.verifier.state import State
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "240"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 4
BUDGET: Final = 4_000


def _explored(spec: ObjectSpec, policy: Policy) -> tuple[list[Any], Facts | str]:
    """What is known before each step, and the facts or the failure at the end."""
    seen: list[Any] = []

    def note(pc: int, state: State) -> None:
        stacks = [dict(stack) for stack in state.every_stack()]
        files = [tuple(registers) for registers in state.every_register_file()]
        seen.append((pc, files, stacks, dict(state.room), state.written))

    registry = default_registry()
    try:
        found = verify(spec.programs[0], registry.program_type("xdp"), spec.maps, registry, policy=policy, watcher=note)
    except VerificationError as error:
        return seen, f"{error.code}: {error}"
    return seen, found.facts


@pytest.mark.parametrize("share", range(SHARES))
def test_closures_change_no_state(share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every register, slot, dependency and name is the same before every step, and so are the facts and messages."""
    monkeypatch.setattr(ScalarDomain, "trim", lambda _domain: None)  # numbers are equal by identity, in both runs
    for seed in range(SEED + share, SEED + PROGRAMS, SHARES):
        spec = generate(seed)
        if seed % 2:
            spec = mutate(spec, seed)
        short, short_end = _explored(spec, Policy(steps=BUDGET))
        long, long_end = _explored(spec, Policy(steps=BUDGET, compile=False))
        assert short_end == long_end, seed
        for number, (ours, theirs) in enumerate(zip(short, long, strict=True)):
            assert ours == theirs, (seed, number)
