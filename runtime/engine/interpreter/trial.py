"""Rejected programs, run under guard, to see whether the failure that the verifier fears happens.

Not here: which inputs to try. Every access is held against what the program was given: the packet between its edges, its frames,
the values that lookups returned. A trial follows where numbers come from, so that whoever chooses inputs can steer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple, final

from runtime.engine.interpreter.arithmetic import WORD
from runtime.engine.interpreter.machine import Code, Machine, Registers, Step
from runtime.engine.interpreter.steps import step_of
from runtime.engine.interpreter.trial_checks import Checks, Unknown, counted
from runtime.engine.interpreter.trial_shadow import Origin, Origins, Shadow
from runtime.errors import InternalError, MemoryFault, XdpsimError
from runtime.isa import (
    Alu,
    Atomic,
    Branch,
    CallHelper,
    CallLocal,
    Instruction,
    Jump,
    Load,
    LoadMap,
    LoadMapValue,
    Reg,
    Store,
)
from runtime.native.intrinsics import bound
from runtime.spec import FieldKind
from runtime.verifier import FailureCode
from runtime.verifier.flow import registers

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import Suspect

__all__ = ["ENDLESS", "STEP_LIMIT", "Course", "Decision", "Origin", "Trial"]

STEP_LIMIT: Final = 1_000_000
"""So many instructions and no end are taken for a loop without one, where the verifier says so."""
_PATIENCE: Final = 50_000
"""So many instructions are followed where the verifier fears something else."""
_CALL_CLOBBERS: Final = 0b111110
ENDLESS: Final = frozenset({FailureCode.LOOP, FailureCode.BUDGET})
"""Failures of programs that may go on for ever."""


class Decision(NamedTuple):
    """A branch as it went: both operands as words, and where the left and the right one come from."""

    pc: int
    taken: bool
    left: int
    right: int
    left_from: Origin | None
    right_from: Origin | None


@final
@dataclass(slots=True)
class Course:
    """What happened: decisions in order, slots that were reached, lookups that found nothing, and the violation, if any.

    `feared` are the numbers in the registers that the rejected instruction reads, with where they come from. `lesser`: the violation
    is of a contract, and worse may be found.
    """

    decisions: list[Decision] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)
    missed: list[tuple[str, bytes]] = field(default_factory=list)
    feared: list[tuple[Origin, int]] = field(default_factory=list)
    edges: tuple[int, int] = (0, 0)
    at: int | None = None
    violation: str | None = None
    lesser: bool = False
    steps: int = 0


@final
class _Stopped(Exception):  # noqa: N818  how a trial ends early; it does not leave this file
    """The trial is over."""


@final
class Trial:
    """A suspect as an executable of one run after the other; `course` is the last one."""

    def __init__(self, suspect: Suspect, maps: Sequence[Map]) -> None:
        self.course = Course()
        self._suspect = suspect
        self._fields = dict(suspect.facts.context_fields)  # grows by what is found on paths that were not followed
        self._found: dict[int, Step] = {}
        self._code = Code(suspect, maps)
        self._driver = suspect.program_type.driver
        self._regions = _region_offsets(suspect)
        self._shadows: list[Shadow] = []
        self._begin()
        self._steps = [self._when_reached(pc, each) for pc, each in enumerate(suspect.spec.code)]
        self._steps.append(self._beyond)
        self._code.steps = self._steps

    def _begin(self) -> None:
        self.course = Course()
        self._origins = Origins(self._code, self._fields, self._regions)
        self.course.missed = self._origins.missed
        self._checks = Checks(self._suspect, self._code, self._origins)

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver, under Python, over the batch record; violations end the run and are in `course`."""
        if self._driver is None:
            raise InternalError(f"program type {self._suspect.program_type.name} has no driver")
        self._begin()
        machine = Machine()

        def enter(context: int, env: int) -> int:
            self._shadows = [Shadow(1 << 1 | 1 << 10)]
            try:
                return machine.enter(self._code, context, env)
            except (_Stopped, Unknown):
                return 0

        try:
            with bound(enter):
                return self._driver(batch, environment)
        finally:
            machine.close()

    def close(self) -> None:
        """Nothing is held."""

    def _stop(self, pc: int, violation: str | None) -> None:
        if violation is not None:
            self.course.at, self.course.violation = pc, violation
            self.course.lesser = self._checks.lesser
        raise _Stopped

    def _beyond(self, _machine: Machine, _r: Registers) -> int:
        self._stop(len(self._code.steps) - 2, "runs on behind the last instruction")
        raise InternalError("a trial goes on after its end")

    def _when_reached(self, pc: int, instruction: Instruction) -> Step:
        """Makes the guarded step when it is first carried out: a run sees little of a program."""

        def step(machine: Machine, r: Registers) -> int:
            self._steps[pc] = self._guarded(pc, instruction)
            return self._steps[pc](machine, r)

        return step

    def _guarded(self, pc: int, instruction: Instruction) -> Step:
        match instruction:
            case Load() | Store() | Atomic():
                step = self._memory_step(pc, instruction)
            case CallHelper() | CallLocal():
                step = self._call_step(pc, instruction)
            case Branch():
                step = self._branch_step(pc, instruction)
            case _:
                step = self._plain_step(pc, instruction)
        return self._counted(pc, instruction, step)

    def _counted(self, pc: int, instruction: Instruction, inner: Step) -> Step:
        """What is done before every instruction: counting, and looking for registers that nobody wrote."""
        reads, writes = registers(instruction)
        if isinstance(instruction, CallHelper):
            helper = self._suspect.facts.helpers.get(instruction.helper)
            reads = (1 << len(helper.prototype.args) + 1) - 2 if helper else 0
        elif isinstance(instruction, CallLocal):
            reads = 0
        suspected = pc == self._suspect.pc
        endless = self._suspect.code in ENDLESS
        limit = STEP_LIMIT if endless else _PATIENCE
        leaves = isinstance(instruction, Jump | Branch) and self._suspect.code == FailureCode.STRUCTURE
        called = isinstance(instruction, CallHelper | CallLocal)

        def step(machine: Machine, r: Registers) -> int:
            course = self.course
            course.steps += 1
            course.reached.add(pc)
            shadow = self._shadows[-1]
            if reads & ~shadow.written:
                missing = (reads & ~shadow.written & -(reads & ~shadow.written)).bit_length() - 1
                self._stop(pc, f"reads r{missing}, which was never written")
            if course.steps > limit:
                self._stop(pc, f"is still running after {STEP_LIMIT:,} instructions" if endless else None)
            if suspected:
                self._note(shadow, reads, r)
                found = self._checks.feared(machine, instruction, r)
                if found is not None:
                    self._stop(pc, found)
            following = inner(machine, r)
            if leaves and not 0 <= following < len(self._suspect.spec.code):
                self._stop(pc, f"goes on at instruction {following}, where the program has none")
            shadow.written = shadow.written & ~_CALL_CLOBBERS | 1 if called else shadow.written | writes
            return following

        return step

    def _note(self, shadow: Shadow, reads: int, r: Registers) -> None:
        self.course.feared = [
            (origin, r[index])
            for index, origin in enumerate(shadow.origins)
            if origin is not None and reads >> index & 1
        ]

    def _inner(self, pc: int, instruction: Instruction) -> Step:
        absent = isinstance(instruction, LoadMap | LoadMapValue) and not 0 <= instruction.map < len(self._code.maps)
        try:
            return _unable if absent else step_of(self._code, pc, instruction)
        except XdpsimError:
            return _unable

    def _plain_step(self, pc: int, instruction: Instruction) -> Step:
        inner = self._inner(pc, instruction)
        if not isinstance(instruction, Alu | LoadMapValue) and not registers(instruction)[1]:
            return inner

        def step(machine: Machine, r: Registers) -> int:
            before = r[:]
            following = inner(machine, r)
            self._origins.follow(machine, self._shadows[-1], pc, instruction, before, r)
            return following

        return step

    def _branch_step(self, pc: int, instruction: Branch) -> Step:
        inner = self._inner(pc, instruction)
        dst, target = instruction.dst, pc + 1 + instruction.offset
        source = instruction.src.index if isinstance(instruction.src, Reg) else None
        immediate = 0 if isinstance(instruction.src, Reg) else instruction.src.value & WORD

        def step(machine: Machine, r: Registers) -> int:
            following = inner(machine, r)
            origins = self._shadows[-1].origins
            right = immediate if source is None else r[source]
            origin = None if source is None else origins[source]
            self.course.decisions.append(Decision(pc, following == target, r[dst], right, origins[dst], origin))
            self.course.edges = self._origins.packet(machine)
            return following

        return step

    def _memory_step(self, pc: int, instruction: Load | Store | Atomic) -> Step:
        inner = self._inner(pc, instruction)

        def step(machine: Machine, r: Registers) -> int:
            shadow = self._shadows[-1]
            carried = inner
            if pc not in self._suspect.facts.context_fields:
                carried = self._discovered(machine, pc, instruction, r) or inner
            if pc not in self._fields:
                found = self._checks.access(machine, pc, instruction, r) or self._checks.stale(shadow, instruction)
                if found is not None:
                    self._stop(pc, found)
            if not isinstance(instruction, Load):
                self._checks.changes += 1
            before = r[:]
            following = self._run(carried, machine, pc, r)
            self._origins.follow(machine, shadow, pc, instruction, before, r)
            return following

        return step

    def _discovered(self, machine: Machine, pc: int, instruction: Load | Store | Atomic, r: Registers) -> Step | None:
        """On a path that the verifier did not follow: the step for the field of the context that the instruction is about."""
        base = r[instruction.src if isinstance(instruction, Load) else instruction.dst]
        if pc in self._found:
            if base != machine.context:
                raise Unknown
            return self._found[pc]
        if isinstance(instruction, Atomic) or pc == self._suspect.pc or base != machine.context:
            return None
        size = instruction.size.bytes
        field = self._suspect.program_type.context.field_at(instruction.offset, size)
        widths = () if field is None else field.reads if isinstance(instruction, Load) else field.writes
        if field is None or size not in widths:
            return None
        self._fields[pc] = field
        self._found[pc] = step_of(Code(self._known(), self._code.maps), pc, instruction)
        return self._found[pc]

    def _known(self) -> Suspect:
        return replace(self._suspect, facts=replace(self._suspect.facts, context_fields=self._fields))

    def _call_step(self, pc: int, instruction: CallHelper | CallLocal) -> Step:
        inner = self._inner(pc, instruction)
        helper = self._suspect.facts.helpers.get(instruction.helper) if isinstance(instruction, CallHelper) else None

        def step(machine: Machine, r: Registers) -> int:
            found = self._checks.call(machine, instruction, r)
            if found is not None:
                self._stop(pc, found)
            shadow = self._shadows[-1]
            self._shadows.append(shadow.callee(instruction))
            self._checks.entered(machine.depth)
            if helper is not None:
                self._checks.changes += 1
            before = r[:]
            following = self._run(inner, machine, pc, r)
            self._shadows.pop()
            self._origins.follow(machine, shadow, pc, instruction, before, r)
            self._origins.called(helper, before, r)
            return following

        return step

    def _run(self, inner: Step, machine: Machine, pc: int, r: Registers) -> int:
        """Carry out what touches memory; what the checks let through meets the table of regions."""
        try:
            return inner(machine, r)
        except MemoryFault as fault:
            verb = "writes" if fault.write else "reads"
            self._stop(pc, f"{verb} {counted(fault.size)} of memory that is not its own")
            raise


def _unable(_machine: Machine, _r: Registers) -> int:
    raise _Stopped


def _region_offsets(suspect: Suspect) -> tuple[int, int]:
    """Where the record holds the edges of the packet."""
    fields = {each.kind: each.record_offset for each in suspect.program_type.context.fields}
    return fields[FieldKind.REGION], fields[FieldKind.REGION_END]
