"""The verdict on one program as the command line tells it: for people at three levels, and as JSON.

Not here: how it is found (verify.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, final

from runtime.verifier import Warned

if TYPE_CHECKING:
    from runtime.verifier import Cause

__all__ = ["Decided", "Row", "Unread"]

_MORE: Final = frozenset({
    "code", "file", "line", "column", "text", "path", "slice", "known", "fix", "warnings", "loops", "facts", "effects",
    "witness", "log",
})  # fmt: skip
_MOST: Final = frozenset({"states"})
_INDENT: Final = " " * 10


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A branch on the way to a failure; `line` and `text` where there is line information."""

    pc: int
    taken: bool
    line: int | None
    text: str | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One program; the names are those of the JSON. Those of _MORE are there with -v, those of _MOST with -vv.

    `source` is "file:line", `text` that line. `known` is what each register holds at the failure, `slice` what made it so, `states`
    the log in the kernel's form. `facts` and `effects` are what the proof found out, whole and in short.
    """

    section: str
    program: str
    type: str
    insns: int
    accepted: bool
    error: str | None
    pc: int | None
    source: str | None
    seconds: float
    code: str | None
    file: str | None
    line: int | None
    column: int | None
    text: str | None
    path: tuple[Decided, ...]
    slice: tuple[Cause, ...]
    known: dict[str, str]
    fix: str | None
    warnings: tuple[Warned, ...]
    loops: tuple[str, ...]
    facts: dict[str, Any] | None
    effects: str | None
    witness: str | None
    log: str
    states: tuple[str, ...]

    def document(self, level: int) -> dict[str, Any]:
        """What JSON carries at that level: 0 normal, 1 informational, 2 verbose."""
        hidden: frozenset[str] = frozenset()
        if level == 0:
            hidden = _MORE | _MOST
        elif level == 1:
            hidden = _MOST
        return {key: value for key, value in asdict(self).items() if key not in hidden}

    def plain(self, level: int) -> str:
        """What people read at that level."""
        head = f"{self.program} (section {self.section}, type {self.type}, {self.insns} instructions)"
        if self.accepted:
            lines = [f"accepted  {head} in {self.seconds * 1000:.1f} ms", f"{_INDENT}{self.effects}"]
        else:
            lines = [f"REJECTED  {head}", *(_INDENT + each for each in self._failure(level))]
        lines += [f"{_INDENT}terminates: {loop}" for loop in self.loops]
        lines += [f"{_INDENT}warning: {warning}" for warning in self.warnings]
        if level > 1:
            lines += [f"{_INDENT}every state that was seen:", *(f"{_INDENT}  {each}" for each in self.states)]
        return "\n".join(lines)

    def _failure(self, level: int) -> list[str]:
        place = f" at {self.source}" if self.source else ""
        lines = [f"{self.error} [{self.code}], instruction {self.pc}{place}"]
        if self.fix:
            lines.append(f"fix: {self.fix}")
        if self.witness:
            lines.append(self.witness)
        if level > 0 and self.log:
            lines += self.log.splitlines()
        if level > 0 and self.slice:
            lines.append("  what made it so:")
            lines += map(_step, self.slice)
        return lines


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A program that asks for what is not at hand here: neither accepted nor rejected."""

    program: str
    error: str

    def document(self, _level: int) -> dict[str, Any]:
        """What JSON carries: `accepted` is null."""
        return {"program": self.program, "accepted": None, "error": self.error}

    def plain(self, _level: int) -> str:
        """What people read."""
        return f"not read  {self.program}\n{_INDENT}{self.error}"


def _step(cause: Cause) -> str:
    """An instruction of the slice, in a line."""
    source = f"  line {cause.line}: {cause.text}" if cause.line else ""
    return f"    {cause.pc:>4}: {cause.instruction:<34} {cause.value}{f'   ;{source}' if source else ''}"
