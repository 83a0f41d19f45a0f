"""Conformance cases: the files' grammar, and the program around a case.

Not here: engines (test_conformance.py) and expectations (generate.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

__all__ = ["ARGUMENTS", "MAP", "MEMORY", "Case", "Run", "parse", "render"]

ARGUMENTS: Final = 5
"""Registers r1 to r5 are given."""

MEMORY: Final = 64
"""Bytes at r9."""

MAP: Final = "data"
"""The name of the map: an array of one element of MEMORY bytes."""

_WORD: Final = 8
_AT: Final = _WORD * (1 + ARGUMENTS)
_HEAD: Final = re.compile(r"^-- (case|asm|functions|refused|runs)\b ?(.*)$")

# The packet: r0 at the end, r1 to r5 at the beginning, the memory.
_BEFORE: Final = f"""\
r6 = *(u32 *)(r1 + 0)
r7 = *(u32 *)(r1 + 4)
r9 = r6
r9 += {_AT + MEMORY}
if r9 <= r7 goto whole
r0 = 0
exit
whole:
r9 = r6
r9 += {_AT}
r1 = *(u64 *)(r9 - 40)
r2 = *(u64 *)(r9 - 32)
r3 = *(u64 *)(r9 - 24)
r4 = *(u64 *)(r9 - 16)
r5 = *(u64 *)(r9 - 8)
"""
_AFTER: Final = f"""\
end:
*(u64 *)(r9 - {_AT}) = r0
exit
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """r1 … and the memory at the beginning; r0 and the memory at the end. Memory is as long as what is not zero."""

    arguments: tuple[int, ...] = ()
    memory: bytes = b""
    result: int
    memory_after: bytes = b""

    def packet(self) -> bytes:
        """The packet before the run."""
        return self._packet(0, self.memory)

    def packet_after(self) -> bytes:
        """The packet that the run must leave."""
        return self._packet(self.result, self.memory_after)

    def _packet(self, result: int, memory: bytes) -> bytes:
        words = (result, *self.arguments, *(0,) * (ARGUMENTS - len(self.arguments)))
        return b"".join(word.to_bytes(_WORD, "little") for word in words) + memory.ljust(MEMORY, b"\0")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A piece of code and what it does: `functions` are behind the program's end, `refused` names verifiers."""

    name: str
    asm: str
    functions: str = ""
    refused: tuple[str, ...] = ()
    runs: tuple[Run, ...] = field(default=(), repr=False)

    def program(self) -> str:
        """The text of the whole program."""
        return f"{_BEFORE}\n{self.asm}\n{_AFTER}\n{self.functions}"


def render(title: str, cases: Iterable[Case]) -> str:
    """The text of a file."""
    lines = [f"# {title}", "# Written by generate.py: change that, not this."]
    for case in cases:
        lines += ["", f"-- case {case.name}"]
        lines += [f"-- refused {' '.join(case.refused)}"] if case.refused else []
        lines += ["-- asm", *case.asm.strip().splitlines()]
        lines += ["-- functions", *case.functions.strip().splitlines()] if case.functions else []
        lines += ["-- runs", *map(_row, case.runs)]
    return "\n".join(lines) + "\n"


def _row(run: Run) -> str:
    before = [f"r{at}={value:#x}" for at, value in enumerate(run.arguments, 1)]
    before += [f"mem={run.memory.hex()}"] if run.memory else []
    after = [f"r0={run.result:#x}"] + ([f"mem={run.memory_after.hex()}"] if run.memory_after else [])
    return " ".join((*before, "->", *after))


def parse(path: Path) -> tuple[Case, ...]:
    """The cases of a file."""
    return tuple(_cases(path.read_text()))


def _cases(text: str) -> Iterator[Case]:
    for part in re.split(r"^(?=-- case )", text, flags=re.MULTILINE)[1:]:
        sections: dict[str, list[str]] = {}
        words: dict[str, str] = {}
        lines: list[str] = []
        for line in part.splitlines():
            if head := _HEAD.match(line):
                words[head[1]] = head[2]
                lines = sections.setdefault(head[1], [])
            elif line.strip():
                lines.append(line)
        yield Case(
            name=words["case"],
            asm="\n".join(sections["asm"]),
            functions="\n".join(sections.get("functions", [])),
            refused=tuple(words.get("refused", "").split()),
            runs=tuple(map(_run, sections["runs"])),
        )


def _run(row: str) -> Run:
    before, after = (dict(word.split("=") for word in side.split()) for side in row.split("->"))
    memory, memory_after = (bytes.fromhex(side.pop("mem", "")) for side in (before, after))
    return Run(
        arguments=tuple(int(before[f"r{at}"], 16) for at in range(1, len(before) + 1)),
        memory=memory,
        result=int(after["r0"], 16),
        memory_after=memory_after,
    )
