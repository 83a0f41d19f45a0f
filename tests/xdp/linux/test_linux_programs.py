"""Programs of the types that are only verified: our decisions, with the running kernel as the oracle beside them."""

from __future__ import annotations

import os

import pytest

from runtime.engine.kernel import kernel_verdict
from runtime.errors import VerificationError
from runtime.loader import program_type
from runtime.verifier import verify
from tests.xdp.linux.cases import ACCEPT, MAPS, Case, cases
from xdp.extension import default_registry

CASES = cases()
IDS = [each.name for each in CASES]


def _ours(case: Case) -> tuple[str, str]:
    """`accept`, or the failure's code, and its words."""
    registry = default_registry()
    program = case.program()
    try:
        verify(program, program_type(registry, program), MAPS, registry)
    except VerificationError as error:
        return error.code, str(error)
    return ACCEPT, ""


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_our_decision(case: Case) -> None:
    """We accept the program, or reject it with the code of its fault."""
    decision, words = _ours(case)
    assert decision == case.ours, words


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_kernels_decision(case: Case) -> None:
    """The kernel decides as the row says."""
    program = case.program()
    accepted, log = kernel_verdict(program, program_type(default_registry(), program), MAPS)
    assert accepted == (case.kernel == ACCEPT), log


def test_the_table_is_sound() -> None:
    """Names are unique, and every difference has its reason."""
    assert len(set(IDS)) == len(IDS)
    assert all(bool(each.why) == ((each.ours == ACCEPT) != (each.kernel == ACCEPT)) for each in CASES)
