"""Small programs of the types that are only verified: the grammar of programs.data, and programs out of its rows.

Not here: the rows, and what judges them (test_linux_programs.py).

A row begins with `== name`. Then come `type:` (a program type, or what a section is called), `ours:` (accept, or the code of the
failure), `kernel:` (accept or reject), `why:` (a phrase, where the two differ), and the program's text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from runtime.isa import CallLocal, LoadFunction, assemble
from runtime.spec import MapSpec, ProgramSpec, SpecialField, Subprogram

__all__ = ["ACCEPT", "MAPS", "Case", "cases"]

ACCEPT: Final = "accept"
_FIELDS: Final = ("type", "ours", "kernel", "why")
_DATA: Final = tuple(Path(__file__).with_name(name) for name in ("programs.data", "typed_memory.data"))

_LOCK: Final = SpecialField("bpf_spin_lock", 4, 4)
_INNER: Final = MapSpec(name="inner", kind=2, key_size=4, value_size=16, max_entries=2)
_INNER_HASH: Final = MapSpec(name="inner_hash", kind=1, key_size=8, value_size=24, max_entries=2)

MAPS: Final = (
    MapSpec(name="small", kind=2, key_size=4, value_size=256, max_entries=1),
    MapSpec(name="hash", kind=1, key_size=4, value_size=16, max_entries=1),
    MapSpec(name="progs", kind=3, key_size=4, value_size=4, max_entries=1),
    MapSpec(name="events", kind=4, key_size=4, value_size=4, max_entries=1),
    MapSpec(name="traces", kind=7, key_size=4, value_size=64, max_entries=1),
    MapSpec(name="cgroups", kind=8, key_size=4, value_size=4, max_entries=1),
    MapSpec(name="sockets", kind=15, key_size=4, value_size=4, max_entries=1),
    MapSpec(name="storage", kind=19, key_size=16, value_size=8, max_entries=0),
    MapSpec(name="queue", kind=22, key_size=0, value_size=8, max_entries=1),
    MapSpec(name="devices", kind=14, key_size=4, value_size=4, max_entries=4),
    MapSpec(name="ring", kind=27, key_size=0, value_size=0, max_entries=4096),
    MapSpec(name="hashed_sockets", kind=18, key_size=4, value_size=4, max_entries=1),
    MapSpec(name="socket_values", kind=24, key_size=4, value_size=8, max_entries=0, flags=1),
    MapSpec(name="outer", kind=12, key_size=4, value_size=4, max_entries=4, inner=_INNER),
    MapSpec(name="outer_hash", kind=13, key_size=4, value_size=4, max_entries=4, inner=_INNER_HASH),
    MapSpec(name="outer_short", kind=12, key_size=4, value_size=4, max_entries=4, inner=replace(_INNER, flags=1 << 12)),
    MapSpec(name="locked", kind=2, key_size=4, value_size=16, max_entries=1, special=(_LOCK,)),
    MapSpec(name="locked_hash", kind=1, key_size=4, value_size=16, max_entries=4, special=(_LOCK,)),
    MapSpec(
        name="timed", kind=2, key_size=4, value_size=32, max_entries=4, special=(SpecialField("bpf_timer", 8, 16),)
    ),
    MapSpec(
        name="outer_locked", kind=12, key_size=4, value_size=4, max_entries=4,
        inner=MapSpec(name="inner_locked", kind=2, key_size=4, value_size=16, max_entries=2, special=(_LOCK,)),
    ),
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row."""

    name: str
    type: str
    ours: str
    kernel: str
    why: str = ""
    text: str

    def program(self) -> ProgramSpec:
        """The program, over MAPS; functions start where calls lead."""
        code = assemble(self.text, maps=[each.name for each in MAPS])
        calls = {pc + 1 + each.offset for pc, each in enumerate(code) if isinstance(each, CallLocal | LoadFunction)}
        functions = tuple(Subprogram(start, f"function_{start}" if start else "case") for start in sorted({0, *calls}))
        return ProgramSpec(name="case", section=self.type, code=code, subprograms=functions, license="GPL")


def cases() -> tuple[Case, ...]:
    """Every row, in order."""
    return tuple(_case(part) for file in _DATA for part in file.read_text().split("\n== ")[1:])


def _case(part: str) -> Case:
    name, _, body = part.partition("\n")
    fields: dict[str, str] = {}
    rest: list[str] = []
    for line in body.splitlines():
        key, colon, value = line.partition(": ")
        if colon and key in _FIELDS and not rest:
            fields[key] = value
        else:
            rest.append(line)
    return Case(name=name, text="\n".join(rest), **fields)
