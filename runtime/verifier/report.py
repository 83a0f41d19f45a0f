"""A rejection as people read it: one line with the cause, then the path that leads there.

Not here: the cause (checker.py).
"""

from __future__ import annotations

from typing import Final

from runtime.errors import VerificationError
from runtime.spec import ProgramSpec
from runtime.verifier.domains import Scalar
from runtime.verifier.failure import Rejected
from runtime.verifier.fix import fix_of
from runtime.verifier.state import Path, State
from runtime.verifier.suspect import Suspect
from runtime.verifier.values import Kind, Value

__all__ = ["describe", "error_of", "registers_of", "trail"]

_LONGEST_PATH: Final = 40
_ANY: Final = (1 << 64) - 1


def error_of(
    spec: ProgramSpec,
    rejected: Rejected,
    state: State | None,
    suspect: Suspect,
) -> VerificationError:
    """The error that leaves the verifier."""
    fix = fix_of(spec, suspect.maps, suspect.facts.context_fields, suspect.program_type.verdicts, rejected, state)
    line = spec.line_at(rejected.pc)
    source = f"{line.file}:{line.line}" if line else ""
    log = [f"error[{rejected.failure.code}]: {rejected.failure.message}"]
    if line:
        log += [f"  --> {source} (instruction {rejected.pc} of {spec.name})", f"      {line.text.strip()}"]
    else:
        log.append(f"  --> instruction {rejected.pc} of {spec.name}")
    if state is not None:
        log += _path(spec, state.path)
        log.append("  registers there: " + "  ".join(f"{name}={known}" for name, known in registers_of(state)))
    log.append(f"  fix: {fix}")
    return VerificationError(
        rejected.failure.message,
        code=rejected.failure.code,
        pc=rejected.pc,
        source=source,
        log="\n".join(log),
        suspect=suspect,
        fix=fix,
        known=registers_of(state) if state is not None else (),
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


def registers_of(state: State) -> tuple[tuple[str, str], ...]:
    """What is known of each register that holds something."""
    return tuple((f"r{i}", describe(state, v)) for i, v in enumerate(state.registers) if v.kind is not Kind.UNINIT)


def describe(state: State, value: Value) -> str:
    """A value in a word or two."""
    match value.kind:
        case Kind.NUMBER:
            return _range(value.number)
        case Kind.PACKET | Kind.PACKET_META:
            name = "pkt" if value.kind is Kind.PACKET else "meta"
            moved = "" if value.number.const == 0 else f"+{_range(value.number)}"
            return f"{name}{moved}{value.offset:+} ({state.room.get(value.id, 0)} bytes proven)"
        case Kind.STACK:
            return f"fp{value.offset:+}"
        case _:
            moved = "" if value.number.const == 0 else f"+{_range(value.number)}"
            return f"{value.kind.name.lower()}{moved}{f'{value.offset:+}' if value.offset else ''}"


def _range(number: Scalar) -> str:
    """A number as its limits."""
    if number.const is not None:
        return repr(number)
    low, high = (number.umin, number.umax) if number.smin < 0 and number.umax < _ANY else (number.smin, number.smax)
    return (
        "any number"
        if (number.umin, number.umax) == (0, _ANY) and number.smin == -(_ANY // 2) - 1
        else f"[{low}, {high}]"
    )
