"""Every state that a program reaches is one that the verifier foresaw: registers, stack, and how much of the packet is there.

`XDPSIM_FUZZ_PROGRAMS` and `XDPSIM_FUZZ_SEED` make a run longer or different.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Final

import pytest

from runtime.errors import VerificationError
from tests.support.embedding import outside
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "360"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 6
LENGTHS: Final = (14, 15, 20, 33, 60, 64, 100, 300)


@pytest.mark.parametrize("share", range(SHARES))
def test_every_state_was_foreseen(share: int) -> None:
    """Accepted programs, generated and changed, run on random frames: each step lies in a recorded abstract state."""
    judged: Counter[str] = Counter()
    for seed in range(SEED + share, SEED + PROGRAMS, SHARES):
        spec = generate(seed)
        if seed % 3:
            spec = mutate(spec, seed)
        draw = random.Random(seed)
        frames = [draw.randbytes(draw.choice(LENGTHS)) for _ in range(3)]
        try:
            found = outside(spec, frames, speculate=bool(seed % 2))
        except VerificationError as error:
            judged[error.code] += 1
            continue
        assert found is None, f"seed {seed}: instruction {found.pc}: {found.why}"
        judged["foreseen"] += 1
    print(dict(judged))  # noqa: T201  for -s
    assert judged["foreseen"] > 0


@pytest.mark.parametrize("share", range(SHARES))
def test_joined_states_foresee_as_much(share: int) -> None:
    """The same for the tier that joins states: what it accepts stays within what it recorded."""
    foreseen = 0
    for seed in range(SEED + share, SEED + PROGRAMS, SHARES):
        spec = generate(seed)
        if seed % 3:
            spec = mutate(spec, seed)
        draw = random.Random(seed)
        frames = [draw.randbytes(draw.choice(LENGTHS)) for _ in range(3)]
        try:
            found = outside(spec, frames, speculate=bool(seed % 2), joins="always")
        except VerificationError:
            continue
        assert found is None, f"seed {seed}: instruction {found.pc}: {found.why}"
        foreseen += 1
    assert foreseen > 0
