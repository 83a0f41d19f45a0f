"""The verifier's rules, one small program each, with the running kernel as the oracle beside them."""

from __future__ import annotations

import os

import pytest

from runtime.engine.kernel import kernel_verdict
from runtime.errors import VerificationError
from runtime.verifier import Policy, verify
from tests.runtime.verifier.rules import ACCEPT, MAPS, REJECT, Rule, program_of, rules
from xdp.extension import default_registry

RULES = rules()
POLICY = Policy(steps=20_000)
EXPECTED = [
    pytest.param(each, id=each.name, marks=[pytest.mark.xfail(strict=True, reason=each.xfail)] if each.xfail else [])
    for each in RULES
]


def _ours(rule: Rule) -> tuple[str, str]:
    """`accept`, or the failure's code, and its words."""
    registry = default_registry()
    try:
        verify(program_of(rule.text), registry.program_type("xdp"), MAPS, registry, policy=POLICY)
    except VerificationError as error:
        return error.code, str(error)
    return ACCEPT, ""


@pytest.mark.parametrize("rule", EXPECTED)
def test_our_decision(rule: Rule) -> None:
    """We accept the program, or reject it with the code of its fault."""
    decision, words = _ours(rule)
    assert decision == rule.ours, words


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
@pytest.mark.parametrize("rule", RULES, ids=[each.name for each in RULES])
def test_the_kernels_decision(rule: Rule) -> None:
    """The kernel decides as the row says."""
    kind = default_registry().program_type("xdp")
    accepted, log = kernel_verdict(program_of(rule.text), kind, MAPS)
    assert (ACCEPT if accepted else REJECT) == rule.kernel, log


def test_the_table_is_sound() -> None:
    """Names are unique, every difference has its reason, and there are enough rows to call them rules."""
    assert len({each.name for each in RULES}) == len(RULES)
    differing = [each for each in RULES if (each.ours == ACCEPT) != (each.kernel == ACCEPT)]
    assert all(each.why for each in differing)
    assert len(RULES) >= 260


_UNFILLED = """
r2 = 60000
r3 = r10
r3 += -8
r4 = 8
call 189
r0 = *(u64 *)(r10 - 8)
exit
"""


def test_what_a_helper_may_leave_unwritten_is_zero() -> None:
    """Stack that only a helper writes, which may fail and write nothing, makes the frame start as zeroes."""
    registry = default_registry()
    proof = verify(program_of(_UNFILLED), registry.program_type("xdp"), MAPS, registry)
    assert proof.facts.reads_uninitialised_stack
