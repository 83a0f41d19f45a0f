"""Pruning and loop proofs are short cuts: with and without them, the same programs are accepted.

`XDPSIM_FUZZ_PROGRAMS` and `XDPSIM_FUZZ_SEED` make a run longer or different.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from runtime.errors import VerificationError
from runtime.spec import ObjectSpec
from runtime.verifier import Policy, verify
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "240"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 6
BUDGET: Final = 60_000
LONG_WAY: Final = Policy(prune=False, speculate=False, steps=BUDGET, joins="never")
JOINED: Final = Policy(joins="always", steps=BUDGET)
SHORT_CUTS: Final = (Policy(), Policy(speculate=False), Policy(prune=False))


def _accepted(spec: ObjectSpec, policy: Policy) -> bool | None:
    """Whether it is; None when the budget ran out first."""
    registry = default_registry()
    try:
        verify(spec.programs[0], registry.program_type("xdp"), spec.maps, registry, policy=policy)
    except VerificationError as error:
        return None if error.code == "budget" else False
    return True


@pytest.mark.parametrize("share", range(SHARES))
def test_short_cuts_change_no_verdict(share: int) -> None:
    """Whatever is decided the long way, path by path and round by round, is decided the same with every short cut.

    Joined states say less, so what they accept is accepted the long way.
    """
    decided = 0
    for seed in range(SEED + share, SEED + PROGRAMS, SHARES):
        spec = generate(seed)
        if seed % 2:
            spec = mutate(spec, seed)
        truth = _accepted(spec, LONG_WAY)
        if truth is None:
            continue
        decided += 1
        for policy in SHORT_CUTS:
            assert _accepted(spec, policy) is truth, (seed, policy)
        assert truth or not _accepted(spec, JOINED), seed
    assert decided > 0
