"""The reference engine, where it has rules of its own."""

from __future__ import annotations

from tests.support.differential import outcome
from tests.support.whole_mutations import mutate
from tests.support.whole_programs import generate


def test_code_that_is_out_of_reach_needs_no_facts() -> None:
    """A call of a helper that no path leads to does not keep the program from running."""
    assert outcome(mutate(generate(118529), 118529), "interpreter", [bytes(60)]).returned == (1,)
