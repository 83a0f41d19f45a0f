"""`xdpsim verify`: of each program, accepted or rejected, and why.

Not here: the proof, and the form of the answer (verdict.py).
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from runtime import verifier
from runtime.errors import InputError, VerificationError
from runtime.loader import program_type
from runtime.object import read_object
from runtime.spec import ObjectSpec, ProgramSpec, Registry
from runtime.verifier import Policy, Suspect, VerifiedProgram, verify
from xdp.cli import effects
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.cli.parallel import spread, workers
from xdp.cli.progress import progress_bar
from xdp.cli.source import blaming, object_bytes
from xdp.cli.verdict import Decided, Row, Unread
from xdp.extension import default_registry

__all__ = ["run"]

_PAYS: Final = 1000  # instructions beside the largest program, with which two processes save a third of the time


def run(arguments: Namespace, output: Output) -> int:
    """Verify the programs of an object; exit 0 when all are accepted, 1 when one is not, 3 when one could not be read."""
    data = object_bytes(arguments.object)
    with blaming(arguments.object):
        spec = read_object(data, name=Path(arguments.object).stem)
        programs, unread = _chosen(spec, arguments.prog)
    registry = default_registry()
    level = arguments.verbose
    tried = not output.json or level > 0 or arguments.witness is not None
    sizes = [len(each.code) for each in programs]
    with progress_bar(output, "verifying") as progress:
        judged = spread(
            lambda at: _judge(spec, programs[at], registry, arguments, tried=tried),
            sizes,
            workers(sizes, enough=_PAYS),
            progress,
        )
    if arguments.witness is not None:
        _write([each.packet for each in judged if each.packet is not None], arguments.witness, output)
    rows: list[Row | Unread] = [*(each.row for each in judged), *unread]
    output.emit([row.document(level) for row in rows], "\n".join(row.plain(level) for row in rows))
    if not all(each.row.accepted for each in judged):
        return Exit.REJECTED
    return Exit.INPUT if unread else Exit.OK


@final
@dataclass(frozen=True, slots=True)
class _Judged:
    """A program's row, and the packet that goes with its rejection, where one was found."""

    row: Row
    packet: bytes | None


def _chosen(spec: ObjectSpec, name: str | None) -> tuple[tuple[ProgramSpec, ...], tuple[Unread, ...]]:
    """The programs to verify, and those that are in the object and could not be read. Raises InputError."""
    unread = tuple(
        Unread(program=program, error=reason.removeprefix(f"{program}: ")) for program, reason in spec.unsupported
    )
    if name is None:
        if not spec.programs:
            raise InputError("the object holds no program")
        return spec.programs, unread
    found = tuple(each for each in spec.programs if each.name == name)
    missing = tuple(each for each in unread if each.program == name)
    if not found and not missing:
        names = [*(each.name for each in spec.programs), *(each.program for each in unread)]
        raise InputError(f"no program {name!r}; there is {', '.join(names) or 'none'}")
    return found, missing


def _write(packets: Sequence[bytes], target: str, output: Output) -> None:
    """The packets as a capture, in the order of their programs; no file when there are none."""
    if not packets:
        output.note(f"no packet was found, {target} is not written")
        return
    from netdev.capture import PcapWriter
    from netdev.port import pack

    with PcapWriter(target) as file:
        file.write(pack(packets, timestamps=[0] * len(packets)))


def _judge(spec: ObjectSpec, program: ProgramSpec, registry: Registry, arguments: Namespace, *, tried: bool) -> _Judged:
    kind = program_type(registry, program, arguments.type)
    policy = _policy(arguments)
    verified: VerifiedProgram | None = None
    failure: VerificationError | None = None
    started = time.perf_counter()
    try:
        verified = verify(program, kind, spec.maps, registry, policy=policy, cached=True)
    except VerificationError as error:
        failure = error
    seconds = time.perf_counter() - started
    line = program.line_at(failure.pc) if failure else None
    witness, packet = _witness(failure, spec, program, registry) if failure and tried else (None, None)
    row = Row(
        section=program.section,
        program=program.name,
        type=kind.name,
        insns=len(program.code),
        accepted=failure is None,
        error=str(failure) if failure else None,
        pc=failure.pc if failure else None,
        source=(failure.source or None) if failure else None,
        seconds=round(seconds, 6),
        code=failure.code if failure else None,
        file=line.file if line else None,
        line=line.line if line else None,
        column=line.column if line else None,
        text=line.text.strip() if line else None,
        path=_path(program, failure) if failure else (),
        slice=verifier.causes(failure, registry, policy) if failure and arguments.verbose else (),
        known=dict(failure.known) if failure else {},
        fix=failure.fix if failure else None,
        warnings=verified.warnings if verified else (),
        loops=_loops(program, verified) if verified else (),
        facts=effects.document(verified) if verified else None,
        effects=effects.sentence(verified) if verified else None,
        witness=witness,
        log=failure.log if failure else "",
        states=verifier.states(program, kind, spec.maps, registry, policy) if arguments.verbose > 1 else (),
    )
    return _Judged(row, packet)


def _policy(arguments: Namespace) -> Policy:
    return Policy(
        leaks=arguments.leaks,
        uninitialised_stack=arguments.uninitialised_stack,
        unreachable=arguments.unreachable,
        division_by_zero=arguments.division_by_zero,
    )


def _path(program: ProgramSpec, failure: VerificationError) -> tuple[Decided, ...]:
    """The branches on the way to the failure."""
    suspect = failure.suspect
    if not isinstance(suspect, Suspect):
        return ()
    found = []
    for pc, taken in suspect.trail:
        line = program.line_at(pc)
        found.append(
            Decided(pc=pc, taken=taken, line=line.line if line else None, text=line.text.strip() if line else None)
        )
    return tuple(found)


def _witness(
    failure: VerificationError, spec: ObjectSpec, program: ProgramSpec, registry: Registry
) -> tuple[str, bytes | None]:
    """Whether the failure was seen to happen, in a sentence, and the packet with which it was."""
    from xdp.witness import find_witness, unseen

    found = find_witness(failure, spec, registry)
    if found is None:
        return f"not confirmed: {unseen(failure)}", None
    line = program.line_at(found.pc)
    place = f"{line.file}:{line.line}" if line else f"instruction {found.pc}"
    maps = f", with {', '.join(found.entries)} filled," if found.entries else ""
    fields = "".join(f", with {name} = {value}," for name, value in found.context.items())
    told = f"a packet of {len(found.packet)} bytes{maps}{fields} {found.text}, at {place}"
    if found.rule:
        return f"not confirmed: a rule, which no execution shows to be broken ({found.rule}); {told}", found.packet
    return f"{'confirmed' if found.harm else 'reached'} by execution: {told}", found.packet


def _loops(program: ProgramSpec, verified: VerifiedProgram) -> tuple[str, ...]:
    """Of each loop, how often it runs at most."""
    found = []
    for loop in verified.facts.loops:
        line = program.line_at(loop.pc)
        place = f"{line.file}:{line.line}" if line else f"instruction {loop.pc}"
        found.append(f"at most {loop.iterations:,} iterations of the loop at {place}")
    return tuple(found)
