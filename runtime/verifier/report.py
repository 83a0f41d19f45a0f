"""A rejection as people read it: one line with the cause, then the path that leads there.

Not here: the cause (checker.py).
"""

from __future__ import annotations

from typing import Final

from runtime.errors import VerificationError
from runtime.spec import ProgramSpec
from runtime.verifier.failure import Rejected
from runtime.verifier.state import Path, State
from runtime.verifier.suspect import Suspect
from runtime.verifier.values import Kind, Value

__all__ = ["error_of", "trail"]

_LONGEST_PATH: Final = 40


def error_of(
    spec: ProgramSpec, rejected: Rejected, state: State | None, suspect: Suspect | None = None
) -> VerificationError:
    """The error that leaves the verifier."""
    line = spec.line_at(rejected.pc)
    source = f"{line.file}:{line.line}" if line else ""
    log = [f"error[{rejected.failure.code}]: {rejected.failure.message}"]
    if line:
        log += [f"  --> {source} (instruction {rejected.pc} of {spec.name})", f"      {line.text.strip()}"]
    else:
        log.append(f"  --> instruction {rejected.pc} of {spec.name}")
    if state is not None:
        log += _path(spec, state.path)
        log.append("  registers there: " + "  ".join(_registers(state)))
    return VerificationError(
        rejected.failure.message,
        code=rejected.failure.code,
        pc=rejected.pc,
        source=source,
        log="\n".join(log),
        suspect=suspect,
    )


def trail(path: Path | None) -> tuple[tuple[int, bool], ...]:
    """The decisions of a path, oldest first."""
    steps = []
    while path is not None:
        steps.append((path.pc, path.taken))
        path = path.before
    return tuple(reversed(steps))


def _path(spec: ProgramSpec, path: Path | None) -> list[str]:
    steps = trail(path)
    shown = steps[-_LONGEST_PATH:]
    lines = ["  how execution gets there:"] if shown else []
    if len(steps) > len(shown):
        lines.append(f"    … {len(steps) - len(shown)} earlier decisions")
    for pc, taken in shown:
        record = spec.line_at(pc)
        where = f"line {record.line}: {record.text.strip()}" if record else "branch"
        lines.append(f"    {where}  [instruction {pc}, {'taken' if taken else 'not taken'}]")
    return lines


def _registers(state: State) -> list[str]:
    return [f"r{i}={_describe(state, v)}" for i, v in enumerate(state.registers) if v.kind is not Kind.UNINIT]


def _describe(state: State, value: Value) -> str:
    match value.kind:
        case Kind.NUMBER:
            return repr(value.number)
        case Kind.PACKET | Kind.PACKET_META:
            name = "pkt" if value.kind is Kind.PACKET else "meta"
            moved = "" if value.number.const == 0 else f"+{value.number!r}"
            return f"{name}{moved}{value.offset:+}({state.room.get(value.id, 0)} bytes proven)"
        case Kind.STACK:
            return f"fp{value.offset:+}"
        case _:
            return f"{value.kind.name.lower()}{value.offset:+}" if value.offset else value.kind.name.lower()
