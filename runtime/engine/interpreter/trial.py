"""Rejected programs, run under guard, to see whether the failure that the verifier fears happens.

Not here: which inputs to try. Every access is held against what the program was given: the packet between its edges, its frames,
the values that lookups returned. A trial follows where numbers come from, so that whoever chooses inputs can steer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, final

from runtime.engine.interpreter.arithmetic import WORD
from runtime.engine.interpreter.machine import Code, Machine, Registers, Step
from runtime.engine.interpreter.steps import step_of
from runtime.errors import InternalError, MemoryFault, XdpsimError
from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    Branch,
    CallHelper,
    CallLocal,
    Instruction,
    Load,
    LoadMapValue,
    MoveSigned,
    Reg,
    Store,
)
from runtime.native import memory
from runtime.native.intrinsics import bound
from runtime.spec import FieldKind, MapOp
from runtime.verifier.flow import registers

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import Suspect

__all__ = ["Course", "Decision", "Origin", "Trial"]

_STEP_LIMIT: Final = 200_000
_MARGIN: Final = 1 << 11  # addresses so near to the packet are taken for attempts at the packet
_CALL_CLOBBERS: Final = 0b111110


class Origin(NamedTuple):
    """Where a number was read: `size` bytes at `offset` of the packet (map None), or of the value of a map's key."""

    map: str | None
    key: bytes
    offset: int
    size: int


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
    """What happened: decisions in order, slots that were reached, lookups that found nothing, and the violation, if any."""

    decisions: list[Decision] = field(default_factory=list)
    reached: set[int] = field(default_factory=set)
    missed: list[tuple[str, bytes]] = field(default_factory=list)
    edges: tuple[int, int] = (0, 0)
    at: int | None = None
    violation: str | None = None
    steps: int = 0


@final
class _Stopped(Exception):  # noqa: N818  how a trial ends early; it does not leave this file
    """The trial is over."""


@final
class _Shadow:
    """Of one function: registers that were written, and where their numbers come from."""

    __slots__ = ("origins", "written")

    def __init__(self, written: int) -> None:
        self.written = written
        self.origins: list[Origin | None] = [None] * 11


@final
class Trial:
    """A suspect as an executable of one run after the other; `course` is the last one."""

    def __init__(self, suspect: Suspect, maps: Sequence[Map]) -> None:
        self.course = Course()
        self._code = Code(suspect, maps)
        self._suspect = suspect
        self._driver = suspect.program_type.driver
        self._shadows: list[_Shadow] = []
        self._spilled: dict[int, Origin | None] = {}
        self._values: dict[int, tuple[str, bytes, int]] = {}
        self._regions = _region_offsets(suspect)
        self._code.steps = tuple(self._guarded(pc, each) for pc, each in enumerate(suspect.spec.code))

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver, under Python, over the batch record; violations end the run and are in `course`."""
        if self._driver is None:
            raise InternalError(f"program type {self._suspect.program_type.name} has no driver")
        self.course = Course()
        self._values.clear()
        self._spilled.clear()
        machine = Machine()

        def enter(context: int, env: int) -> int:
            self._shadows = [_Shadow(1 << 1 | 1 << 10)]
            try:
                return machine.enter(self._code, context, env)
            except _Stopped:
                return 0

        try:
            with bound(enter):
                return self._driver(batch, environment)
        finally:
            machine.close()

    def close(self) -> None:
        """Nothing is held."""

    def _guarded(self, pc: int, instruction: Instruction) -> Step:
        try:
            inner = step_of(self._code, pc, instruction)
        except XdpsimError as error:
            inner = _unable(str(error))
        reads, writes = registers(instruction)
        if isinstance(instruction, CallHelper):
            helper = self._suspect.facts.helpers.get(instruction.helper)
            reads = (1 << len(helper.prototype.args) + 1) - 2 if helper else 0
        elif isinstance(instruction, CallLocal):
            reads = 0

        def step(machine: Machine, r: Registers) -> int:
            course = self.course
            course.steps += 1
            course.reached.add(pc)
            course.edges = self._edges(machine)
            del self._shadows[machine.depth :]
            shadow = self._shadows[-1]
            if reads & ~shadow.written:
                missing = (reads & ~shadow.written & -(reads & ~shadow.written)).bit_length() - 1
                self._stop(pc, f"reads r{missing}, which was never written")
            if course.steps > _STEP_LIMIT:
                self._stop(pc, f"is still running after {_STEP_LIMIT:,} instructions")
            if isinstance(instruction, Load | Store | Atomic):
                self._hold(machine, pc, instruction, r)
            if isinstance(instruction, CallHelper | CallLocal):
                self._shadows.append(self._callee(instruction, shadow))
            before = list(r)
            try:
                following = inner(machine, r)
            except MemoryFault as fault:
                self._stop(
                    pc, f"{'writes' if fault.write else 'reads'} {_bytes(fault.size)} of memory that is not its own"
                )
            self._follow(machine, pc, instruction, before, r, following)
            if isinstance(instruction, CallHelper | CallLocal):
                shadow.written = shadow.written & ~_CALL_CLOBBERS | 1
            else:
                shadow.written |= writes
            return following

        return step

    @staticmethod
    def _callee(instruction: CallHelper | CallLocal, caller: _Shadow) -> _Shadow:
        """What the called function, or the callback of a helper, starts with."""
        if isinstance(instruction, CallHelper):
            return _Shadow(0b110 | 1 << 10)
        made = _Shadow(caller.written & 0b111110 | 1 << 10)
        made.origins[1:6] = caller.origins[1:6]
        return made

    def _stop(self, pc: int, violation: str) -> None:
        self.course.at, self.course.violation = pc, violation
        raise _Stopped

    def _edges(self, machine: Machine) -> tuple[int, int]:
        start, end = self._regions
        return memory.load(machine.context + start, 8) & WORD, memory.load(machine.context + end, 8) & WORD

    def _hold(self, machine: Machine, pc: int, instruction: Load | Store | Atomic, r: Registers) -> None:
        """Stop at an access outside what the program was given."""
        if pc in self._suspect.facts.context_fields:
            return
        base = r[instruction.src if isinstance(instruction, Load) else instruction.dst]
        size = instruction.size.bytes
        address = base + instruction.offset & WORD
        verb = "reads" if isinstance(instruction, Load) else "writes"
        if machine.owns(address):
            return
        if 0 <= address - machine.context < self._suspect.program_type.context.record_size:
            raise _Stopped  # a path that the verifier did not follow: which field this is was never found out
        low, high = self._edges(machine)
        if low - _MARGIN <= address < high + _MARGIN and not self._in_value(address):
            if address < low:
                self._stop(pc, f"{verb} {_bytes(low - address)} before the start of the packet")
            if address + size > high:
                self._stop(pc, f"{verb} {_bytes(min(size, address + size - high))} past the end of the packet")
        elif address < 1 << 16:
            self._stop(pc, f"{verb} {_bytes(size)} through a null pointer")
        else:
            self._hold_value(pc, verb, address, size)

    def _in_value(self, address: int) -> bool:
        return any(start <= address < start + size for start, (_, _, size) in self._values.items())

    def _hold_value(self, pc: int, verb: str, address: int, size: int) -> None:
        owner = next(
            (each for each in self._code.maps if each.address <= address < each.address + each.arena.size), None
        )
        if owner is None:
            return
        for start, (_, _, length) in self._values.items():
            if start <= address and address + size <= start + length:
                return
        nearest = max((start for start in self._values if start <= address), default=None)
        where = (
            ""
            if nearest is None
            else f", {address + size - nearest} bytes from the start of a value of {self._values[nearest][2]}"
        )
        self._stop(pc, f"{verb} {_bytes(size)} of map {owner.spec.name!r} outside of its values{where}")

    def _follow(
        self, machine: Machine, pc: int, instruction: Instruction, before: Registers, r: Registers, following: int
    ) -> None:
        """Note where numbers go."""
        origins = self._shadows[machine.depth - 1].origins
        match instruction:
            case Branch(dst=dst, src=src):
                right = src.index if isinstance(src, Reg) else None
                word = before[src.index] if isinstance(src, Reg) else src.value & WORD
                self.course.decisions.append(
                    Decision(
                        pc,
                        following == pc + 1 + instruction.offset,
                        before[dst],
                        word,
                        origins[dst],
                        origins[right] if right is not None else None,
                    )
                )
            case Alu(op=AluOp.MOV, dst=dst, src=src):
                origins[dst] = origins[src.index] if isinstance(src, Reg) else None
            case Alu(dst=dst, src=Reg(index)):
                origins[dst] = origins[dst] or origins[index]
            case MoveSigned(dst=dst, src=source):
                origins[dst] = origins[source]
            case Load(dst=dst):
                address = before[instruction.src] + instruction.offset & WORD
                origins[dst] = self._origin(machine, pc, address, instruction.size.bytes)
            case Store(dst=dst, src=Reg(index)):
                self._spilled[before[dst] + instruction.offset & WORD] = origins[index]
            case LoadMapValue():
                owner = self._code.maps[instruction.map].spec
                self._values[r[instruction.dst] - instruction.offset] = (
                    owner.name,
                    bytes(owner.key_size),
                    owner.value_size,
                )
                origins[instruction.dst] = None
            case CallHelper(number):
                origins[0:6] = [None] * 6
                self._looked_up(number, before, r)
            case CallLocal():
                origins[0:6] = [None] * 6
            case _:
                pass

    def _origin(self, machine: Machine, pc: int, address: int, size: int) -> Origin | None:
        if pc in self._suspect.facts.context_fields:
            return None
        low, high = self._edges(machine)
        if low <= address and address + size <= high:
            return Origin(None, b"", address - low, size)
        for start, (name, key, length) in self._values.items():
            if start <= address < start + length:
                return Origin(name, key, address - start, size)
        return self._spilled.get(address)

    def _looked_up(self, number: int, before: Registers, r: Registers) -> None:
        helper = self._suspect.facts.helpers.get(number)
        if helper is None or helper.map_op not in (MapOp.LOOKUP, MapOp.LOOKUP_PERCPU):
            return
        owner = self._code.by_address.get(before[1])
        if owner is None:
            return
        key = memory.read(before[2], owner.spec.key_size)
        if r[0]:
            self._values[r[0]] = owner.spec.name, key, owner.spec.value_size
        else:
            self.course.missed.append((owner.spec.name, key))


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _unable(message: str) -> Step:
    def step(_machine: Machine, _r: Registers) -> int:
        raise _Stopped(message)

    return step


def _region_offsets(suspect: Suspect) -> tuple[int, int]:
    """Where the record holds the edges of the packet."""
    fields = {each.kind: each.record_offset for each in suspect.program_type.context.fields}
    return fields[FieldKind.REGION], fields[FieldKind.REGION_END]
