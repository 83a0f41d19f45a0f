"""What is learnt of a number holds for its copies, moved by constants, also where 32 bits go round."""

from __future__ import annotations

import pytest

from runtime.errors import VerificationError
from runtime.isa import assemble
from runtime.spec import ProgramSpec, Subprogram
from runtime.verifier import verify
from xdp.extension import default_registry

# r4: a number of 32 bits; the stack below r10 - 64 is written; then r4 bytes of it are handed to a helper.
PROGRAM = """
r6 = r1
r4 = *(u32 *)(r1 + 12)
{check}
r1 = r6
r2 = 0
r3 = r10
r3 += -64
call 189
out:
r0 = 2
exit
"""
CHECKS = {
    "64 bits, around a moved copy": "r2 = r4\nr2 += -1\nif r2 > 63 goto out",
    "32 bits, going round": "w2 = w4\nw2 += -65\nif w2 < -64 goto out",
    "32 bits, from below": "w2 = w4\nw2 += -1\nif w2 > 63 goto out",
    "32 bits, moved twice": "w2 = w4\nw2 += -70\nw2 += 5\nif w2 < -64 goto out",
}
WRONG = {
    "one too many": "w2 = w4\nw2 += -66\nif w2 < -65 goto out",
    "zero may pass": "w2 = w4\nw2 += -65\nif w2 < -65 goto out",
    "copy changed in another way": "w2 = w4\nw2 += -65\nw2 ^= 1\nif w2 < -64 goto out",
    "64-bit number that 32 bits do not tell all of": "r4 <<= 3\nr4 += 0\nw2 = w4\nw2 += -65\nif w2 < -64 goto out",
    "moved on in 64 bits": "w2 = w4\nw2 += -65\nr2 += 1\nif w2 < -64 goto out",
}


def _verify(check: str) -> None:
    registry = default_registry()
    code = assemble(PROGRAM.format(check=check))
    spec = ProgramSpec(name="links", section="xdp", code=code, subprograms=(Subprogram(0, "links"),), license="GPL")
    verify(spec, registry.program_type("xdp"), (), registry)


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_a_moved_copy_bounds_the_number(name: str) -> None:
    """The size is known to be 1 to 64 after the check."""
    _verify(CHECKS[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_check_that_says_less_is_not_enough(name: str) -> None:
    """Other sizes than 1 to 64 remain possible, and the call is rejected."""
    with pytest.raises(VerificationError):
        _verify(WRONG[name])
