"""The tier that joins states: programs with more paths than anybody counts are accepted where nothing depends on the path."""

from __future__ import annotations

from typing import Final

import pytest

from runtime.errors import VerificationError
from runtime.isa import assemble
from runtime.spec import ProgramSpec, Subprogram
from runtime.verifier import Policy, VerifiedProgram, verify
from xdp.extension import default_registry

STEPS: Final = 20_000
START: Final = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 64\nif r4 > r3 goto out\nr6 = 0\n"
END: Final = "r2 = r10\nr2 += -64\nr2 += r6\nr0 = *(u8 *)(r2 + 0)\nout:\nr0 = 2\nexit\n"
BITS: Final = "".join(f"r5 = *(u8 *)(r2 + {i})\nif r5 > 9 goto +1\ngoto +1\nr6 += {1 << i}\n" for i in range(30))
SPILLS: Final = "".join(
    f"r5 = *(u8 *)(r2 + {i})\n*(u64 *)(r10 - {8 * i + 8}) = r5\nif r5 > 9 goto +1\n*(u64 *)(r10 - {8 * i + 8}) = r6\n"
    for i in range(30)
)
SUMS: Final = "".join(f"r5 = *(u64 *)(r10 - {8 * i + 8})\nr6 += r5\n" for i in range(30))
ROUNDS: Final = (
    "r7 = 0\nloop:\nr5 = *(u8 *)(r2 + 0)\nif r5 > 9 goto +1\ngoto +3\nr9 = 1\nr9 <<= r7\nr6 |= r9\nr7 += 1\n"
    "if r7 < 40 goto loop\n"
)
MANY_PATHS: Final = {
    "bits one by one": START + BITS + "r6 &= 63\n" + END,
    "values on the stack": START + SPILLS + SUMS + "r6 &= 63\n" + END,
    "bits round by round": START + ROUNDS + "r6 &= 63\n" + END,
}
WRONG: Final = {
    "one bit too many": START + BITS + "r6 &= 127\n" + END,
    "a pointer on one of many paths": START + "*(u64 *)(r10 - 72) = r6\n" + BITS + "if r6 != 77 goto +1\n"
    "*(u64 *)(r10 - 72) = r2\nr6 &= 1\nr0 = *(u64 *)(r10 - 72)\nexit\nout:\nr0 = 0\nexit\n",
}


def _verify(text: str, policy: Policy) -> VerifiedProgram:
    spec = ProgramSpec(
        name="paths", section="xdp", code=assemble(text), subprograms=(Subprogram(0, "paths"),), license="GPL"
    )
    registry = default_registry()
    return verify(spec, registry.program_type("xdp"), (), registry, policy=policy)


@pytest.mark.parametrize("name", MANY_PATHS)
def test_many_paths_are_accepted(name: str) -> None:
    """Path by path the budget runs out; with states joined the program is accepted in a small part of it."""
    text = MANY_PATHS[name]
    with pytest.raises(VerificationError) as caught:
        _verify(text, Policy(steps=STEPS, joins="never", speculate=False))
    assert caught.value.code == "budget"
    assert _verify(text, Policy(steps=STEPS, speculate=False)).facts.steps < STEPS / 5


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_on_some_path_is_rejected(name: str) -> None:
    """A joined state covers every path, so none that is wrong is lost; the failure is that of the first tier."""
    with pytest.raises(VerificationError):
        _verify(WRONG[name], Policy(steps=STEPS, joins="always"))
    with pytest.raises(VerificationError) as caught:
        _verify(WRONG[name], Policy(steps=STEPS))
    assert caught.value.code in {"budget", "leak", "stack"}
