"""Facts hold: what machine code takes for granted is seen in every run of the interpreter.

`XDPSIM_FUZZ_PROGRAMS` and `XDPSIM_FUZZ_SEED` make a run longer or different.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from runtime.errors import VerificationError
from runtime.isa import assemble
from runtime.object import read_object
from runtime.spec import ObjectSpec, ProgramSpec, Subprogram
from tests.support.commands import EXAMPLES
from tests.support.facts import broken
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "240"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 4
LENGTHS: Final = (14, 15, 20, 33, 60, 64, 100, 300)


@pytest.mark.parametrize("share", range(SHARES))
def test_facts_of_random_programs_hold(share: int) -> None:
    """Accepted programs, generated and changed, on random frames."""
    judged: Counter[str] = Counter()
    for seed in range(SEED + share, SEED + PROGRAMS, SHARES):
        spec = generate(seed)
        if seed % 3:
            spec = mutate(spec, seed)
        draw = random.Random(seed)
        frames = [draw.randbytes(draw.choice(LENGTHS)) for _ in range(3)]
        try:
            found = broken(spec, frames)
        except VerificationError as error:
            judged[error.code] += 1
            continue
        assert found is None, f"seed {seed}: {found}"
        judged["held"] += 1
    print(dict(judged))  # noqa: T201  for -s
    assert judged["held"] > 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.o")), ids=lambda path: path.stem)
def test_facts_of_examples_hold(path: Path) -> None:
    """The committed examples, on frames that begin as IPv4 and IPv6 frames do."""
    draw = random.Random(1)
    heads = (bytes(12) + b"\x08\x00\x45", bytes(12) + b"\x86\xdd\x60", bytes(12) + b"\x81\x00", b"")
    frames = [head + draw.randbytes(60 + draw.randrange(200)) for head in heads for _ in range(3)]
    assert broken(read_object(path.read_bytes(), name=path.stem), frames) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unreachable", frozenset({3})),
        ("branches", {2: True}),
        ("regions", {4: frozenset()}),
        ("stack", {0: 4}),
    ],
)
def test_a_wrong_fact_is_seen(name: str, value: Any) -> None:
    """The comparison itself sees facts that do not hold."""
    text = "r0 = 2\nr2 = *(u32 *)(r1 +0)\nif r0 == 3 goto +1\n*(u64 *)(r10 -8) = 1\nr3 = *(u64 *)(r10 -8)\nexit"
    program = ProgramSpec(
        name="one", section="xdp", code=assemble(text), subprograms=(Subprogram(start=0, name="one"),)
    )
    spec = ObjectSpec(name="one", programs=(program,), maps=())
    assert broken(spec, [bytes(64)]) is None
    assert broken(spec, [bytes(64)], claim=lambda facts: replace(facts, **{name: value})) is not None
