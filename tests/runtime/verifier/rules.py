"""The table of rules: its grammar, and programs out of its rows.

Not here: the rows (rules*.data) and what judges them (test_rules.py).

A row begins with `== name`. Then come `ours:` (accept, or the code of the failure), `kernel:` (accept or reject), `why:` (a
phrase, where the two differ), `xfail:` (why the row does not hold yet), and the program's text. Functions start where calls lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from runtime.isa import CallLocal, Code, LoadFunction, assemble
from runtime.spec import MapFlag, MapSpec, ProgramSpec, Subprogram

__all__ = ["ACCEPT", "MAPS", "REJECT", "Rule", "program_of", "rules"]

ACCEPT: Final = "accept"
REJECT: Final = "reject"
_FIELDS: Final = ("ours", "kernel", "why", "xfail")
_DATA: Final = tuple(sorted(Path(__file__).parent.glob("rules*.data")))

_TEXT: Final = b"constant" + bytes(8)
_UNENDED: Final = b"unended!"

MAPS: Final = (
    MapSpec(name="small", kind=2, key_size=4, value_size=8, max_entries=1),
    MapSpec(name="big", kind=2, key_size=4, value_size=4096, max_entries=1),
    MapSpec(name="array", kind=2, key_size=4, value_size=64, max_entries=4),
    MapSpec(name="hash", kind=1, key_size=4, value_size=16, max_entries=1),
    MapSpec(name="percpu", kind=6, key_size=4, value_size=8, max_entries=1),
    MapSpec(name="progs", kind=3, key_size=4, value_size=4, max_entries=1),
    MapSpec(
        name="text", kind=2, key_size=4, value_size=16, max_entries=1,
        flags=MapFlag.RDONLY_PROG, frozen=True, initial=((bytes(4), _TEXT),),
    ),
    MapSpec(
        name="unended", kind=2, key_size=4, value_size=8, max_entries=1,
        flags=MapFlag.RDONLY_PROG, frozen=True, initial=((bytes(4), _UNENDED),),
    ),
    MapSpec(name="sink", kind=2, key_size=4, value_size=8, max_entries=1, flags=MapFlag.WRONLY_PROG),
    MapSpec(name="wide", kind=1, key_size=16, value_size=32, max_entries=4),
    MapSpec(name="devices", kind=14, key_size=4, value_size=4, max_entries=4),
    MapSpec(name="huge", kind=2, key_size=4, value_size=1 << 16, max_entries=1),
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row."""

    name: str
    ours: str
    kernel: str
    why: str = ""
    xfail: str = ""
    text: str


def rules() -> tuple[Rule, ...]:
    """Every row, in order."""
    return tuple(_rule(part) for file in _DATA for part in file.read_text().split("\n== ")[1:])


def _rule(part: str) -> Rule:
    name, _, body = part.partition("\n")
    fields: dict[str, str] = {}
    lines = iter(body.splitlines())
    rest: list[str] = []
    for line in lines:
        key, colon, value = line.partition(": ")
        if colon and key in _FIELDS and not rest:
            fields[key] = value
        else:
            rest.append(line)
    return Rule(name=name, text="\n".join(rest), **fields)


def program_of(text: str) -> ProgramSpec:
    """The program of a text, over MAPS."""
    code = assemble(text, maps=[each.name for each in MAPS])
    starts = sorted({0, *_targets(code)})
    functions = tuple(Subprogram(start, f"function_{start}" if start else "rule") for start in starts)
    return ProgramSpec(name="rule", section="xdp", code=code, subprograms=functions, license="GPL")


def _targets(code: Code) -> Iterator[int]:
    for pc, each in enumerate(code):
        if isinstance(each, CallLocal | LoadFunction):
            yield pc + 1 + each.offset
