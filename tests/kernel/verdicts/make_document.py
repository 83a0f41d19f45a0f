"""Writes the accepted differences into docs/verifier.md, as tables.

Not here: the differences (policies.py) and the rest of the document, which is written by hand. `python -m
tests.kernel.verdicts.make_document` writes it anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.kernel.verdicts.policies import POLICIES, Difference

__all__ = ["DOCUMENT", "document"]

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "verifier.md"
_MARK: Final = "<!-- differences -->\n"
_REFUSED: Final = (
    "leaks", "pointers as numbers", "alignment", "structs by BTF", "pointers at variable places", "dynamic pointers",
    "maps by BTF", "programs that may sleep",
)  # fmt: skip
_NEITHER: Final = ("not read", "not loaded", "unresolved fields", "exception callbacks", "kernel configuration")


def document() -> str:
    """The document as it should be: what is written by hand, and the tables behind the mark."""
    by_hand = DOCUMENT.read_text().partition(_MARK)[0]
    accepted = [each for each in POLICIES if each.name not in (*_REFUSED, *_NEITHER)]
    tables = (
        _table("Linux accepts, and we refuse", [each for each in POLICIES if each.name in _REFUSED]),
        _table("We accept, and Linux refuses", accepted),
        _table("One of both was not asked the same", [each for each in POLICIES if each.name in _NEITHER]),
    )
    return by_hand + _MARK + "".join(tables)


def _table(title: str, rows: list[Difference]) -> str:
    lines = [f"| {each.name} | {each.why} |\n" for each in rows]
    return f"\n### {title}\n\n| difference | why |\n| --- | --- |\n{''.join(lines)}"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
