"""docs/verifier.md lists what the comparison with the kernel accepts, and the fields that the command prints."""

from __future__ import annotations

import re

from tests.kernel.verdicts.make_document import DOCUMENT, document
from tests.kernel.verdicts.policies import POLICIES
from tests.support.commands import PASS, run, run_json


def test_the_tables_are_those_of_the_comparison() -> None:
    """Every difference stands in the document once, with its reason."""
    text = DOCUMENT.read_text()
    assert text == document(), "run `python -m tests.kernel.verdicts.make_document`"
    for each in POLICIES:
        assert text.count(f"| {each.name} | {each.why} |") == 1


def test_every_field_of_a_row_is_described() -> None:
    """The document names what -j prints at each level."""
    described = set(re.findall(r"`(\w+)`", DOCUMENT.read_text()))
    assert set(run_json("verify", PASS, "-vv")[0]) <= described


def test_every_option_is_described() -> None:
    """Options of the command that are particular to it stand in the document."""
    offered = set(re.findall(r"--[a-z][a-z-]+", run("verify", "--help").stdout))
    described = set(re.findall(r"--[a-z][a-z-]+", DOCUMENT.read_text()))
    assert offered - described <= {"--help", "--json", "--pretty", "--verbose"}
