"""`xdpsim verify`: of each program, accepted or rejected, and why.

Not here: the proof, and the form of the answer (verdict.py).
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Final

from runtime.errors import InputError, VerificationError
from runtime.loader import program_type
from runtime.object import read_object
from runtime.spec import ObjectSpec, ProgramSpec, Registry
from runtime.verifier import Policy, Suspect, VerifiedProgram, causes, states, verify
from xdp.cli import effects
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.cli.parallel import spread, workers
from xdp.cli.progress import progress_bar
from xdp.cli.source import blaming, object_bytes
from xdp.cli.verdict import Decided, Row
from xdp.extension import default_registry

__all__ = ["run"]

_PAYS: Final = 1500  # instructions that take longer to verify than processes take to begin


def run(arguments: Namespace, output: Output) -> int:
    """Verify the programs of an object; exit 0 when all are accepted, 1 when one is not."""
    data = object_bytes(arguments.object)
    with blaming(arguments.object):
        spec = read_object(data, name=Path(arguments.object).stem)
    registry = default_registry()
    level = arguments.verbose
    tried = not output.json or level > 0 or arguments.witness is not None
    programs = _chosen(spec, arguments.prog)
    sizes = [len(each.code) for each in programs]
    count = 1 if arguments.witness else workers(sizes, enough=_PAYS)  # one file is written by one process
    with progress_bar(output, "verifying") as progress:
        rows = spread(lambda at: _judge(spec, programs[at], registry, arguments, tried=tried), sizes, count, progress)
    output.emit([row.document(level) for row in rows], "\n".join(row.plain(level) for row in rows))
    return Exit.OK if all(row.accepted for row in rows) else Exit.REJECTED


def _chosen(spec: ObjectSpec, name: str | None) -> tuple[ProgramSpec, ...]:
    if not spec.programs:
        raise InputError(f"{spec.name}: the object holds no program")
    if name is None:
        return spec.programs
    found = tuple(each for each in spec.programs if each.name == name)
    if not found:
        raise InputError(f"{spec.name}: no program {name!r}; there is {', '.join(p.name for p in spec.programs)}")
    return found


def _judge(spec: ObjectSpec, program: ProgramSpec, registry: Registry, arguments: Namespace, *, tried: bool) -> Row:
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
    return Row(
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
        slice=causes(failure, registry, policy) if failure and arguments.verbose else (),
        known=dict(failure.known) if failure else {},
        fix=failure.fix if failure else None,
        warnings=verified.warnings if verified else (),
        loops=_loops(program, verified) if verified else (),
        facts=effects.document(verified) if verified else None,
        effects=effects.sentence(verified) if verified else None,
        witness=_witness(failure, spec, program, registry, arguments.witness) if failure and tried else None,
        log=failure.log if failure else "",
        states=states(program, kind, spec.maps, registry, policy) if arguments.verbose > 1 else (),
    )


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
    failure: VerificationError, spec: ObjectSpec, program: ProgramSpec, registry: Registry, target: str | None
) -> str:
    """Whether the failure was seen to happen; its packet goes to the target, as a capture of one frame."""
    from netdev.capture import PcapWriter
    from netdev.port import pack
    from xdp.witness import find_witness, unseen

    found = find_witness(failure, spec, registry)
    if found is None:
        return f"not confirmed: {unseen(failure)}"
    if target is not None:
        with PcapWriter(target) as file:
            file.write(pack([found.packet], timestamps=[0]))
    line = program.line_at(found.pc)
    place = f"{line.file}:{line.line}" if line else f"instruction {found.pc}"
    maps = f", with {', '.join(found.entries)} filled," if found.entries else ""
    fields = "".join(f", with {name} = {value}," for name, value in found.context.items())
    told = f"a packet of {len(found.packet)} bytes{maps}{fields} {found.text}, at {place}"
    if found.rule:
        return f"not confirmed: a rule, which no execution shows to be broken ({found.rule}); {told}"
    return f"{'confirmed' if found.harm else 'reached'} by execution: {told}"


def _loops(program: ProgramSpec, verified: VerifiedProgram) -> tuple[str, ...]:
    """Of each loop, how often it runs at most."""
    found = []
    for loop in verified.facts.loops:
        line = program.line_at(loop.pc)
        place = f"{line.file}:{line.line}" if line else f"instruction {loop.pc}"
        found.append(f"at most {loop.iterations:,} iterations of the loop at {place}")
    return tuple(found)
