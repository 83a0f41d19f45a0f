"""docs/hooks.md says what the rows say."""

from __future__ import annotations

from tests.xdp.hooks.make_document import DOCUMENT, document


def test_the_tables_are_those_of_the_rows() -> None:
    """Places, fields, verdicts, helpers and calls are written by the generator."""
    assert DOCUMENT.read_text() == document(), "run `python -m tests.xdp.hooks.make_document`"
