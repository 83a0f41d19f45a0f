"""What led to a rejection: the path is gone again with a watcher, and followed backwards from the operand at fault.

Not here: the verdict. The slice is that of M. Weiser (dynamic, over one path): instructions that made the operand what it is, and
branches that looked at it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, final

from runtime.errors import VerificationError
from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    Branch,
    CallHelper,
    CallLocal,
    Exit,
    Imm,
    Instruction,
    Load,
    Reg,
    Store,
    disassemble_one,
)
from runtime.spec import MapSpec, ProgramSpec, ProgramType, Registry
from runtime.verifier.failure import FailureCode
from runtime.verifier.policy import Policy
from runtime.verifier.suspect import Suspect

if TYPE_CHECKING:
    from runtime.verifier.state import State
    from runtime.verifier.values import Value

__all__ = ["Cause", "causes", "states"]

_REGISTER: Final = re.compile(r"\br(\d+)\b")
_ARGUMENT: Final = re.compile(r"argument (\d)")
_SLOT: Final = 8
_LONGEST: Final = 60


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One instruction of the slice: its text, what it made or decided, and its place in the source (0 and "" without)."""

    pc: int
    instruction: str
    value: str
    file: str
    line: int
    text: str


class _Event(NamedTuple):
    """An instruction of the failing path, with what was known before it."""

    pc: int
    decided: int
    depth: int
    registers: list[Value]
    words: list[str]


def causes(error: VerificationError, registry: Registry, policy: Policy | None = None) -> tuple[Cause, ...]:
    """The backward slice of a rejection, oldest first; empty where the code is no program."""
    suspect = error.suspect
    if not isinstance(suspect, Suspect):
        return ()
    return _Slice(suspect, str(error), _replayed(suspect, registry, policy)).causes()


def states(
    spec: ProgramSpec,
    program_type: ProgramType,
    maps: tuple[MapSpec, ...],
    registry: Registry,
    policy: Policy | None = None,
) -> tuple[str, ...]:
    """Every state that the verifier sees, in the kernel's log form."""
    from runtime.verifier.prove import prove
    from runtime.verifier.statelog import StateLog

    numbers = {each.helper for each in spec.code if isinstance(each, CallHelper)}
    names = {number: helper.name for number in numbers if (helper := registry.helper(number)) is not None}
    log = StateLog(spec, maps, names)
    end: tuple[str, ...] = ()
    try:
        prove(spec, program_type, maps, registry, policy=policy, watcher=log)
    except VerificationError as error:
        end = (str(error),)
    log.close()
    return (*log.lines, *end)


def _replayed(suspect: Suspect, registry: Registry, policy: Policy | None) -> list[_Event]:
    """The states on the path that failed: those whose decisions begin the trail."""
    from runtime.verifier.prove import prove

    recorder = _Recorder(suspect)
    try:
        prove(suspect.spec, suspect.program_type, suspect.maps, registry, policy=policy, watcher=recorder.see)
    except VerificationError:
        return recorder.events
    return []


@final
class _Recorder:
    def __init__(self, suspect: Suspect) -> None:
        self.events: list[_Event] = []
        self._trail = suspect.trail
        self._known: dict[int, tuple[object, int]] = {}
        self._places: dict[tuple[object, ...], int] = {}

    def see(self, pc: int, state: State) -> None:
        """Keep the state if it lies on the trail; a second visit of the place throws away what came behind it."""
        from runtime.verifier.report import describe

        decided = self._decided(state)
        if decided < 0:
            return
        place = (decided, pc, state.depth, tuple(each.resume for each in state.frames))
        at = self._places.get(place, len(self.events))
        for dropped in [each for each, index in self._places.items() if index >= at]:
            del self._places[dropped]
        del self.events[at:]
        self._places[place] = at
        words = [describe(state, each) for each in state.registers]
        self.events.append(_Event(pc, decided, state.depth, state.registers[:], words))

    def _decided(self, state: State) -> int:
        """How many decisions of the trail the path has taken; -1 when it took another."""
        pending = []
        path = state.path
        while path is not None and id(path) not in self._known:
            pending.append(path)
            path = path.before
        count = 0 if path is None else self._known[id(path)][1]
        for each in reversed(pending):
            follows = 0 <= count < len(self._trail) and self._trail[count] == (each.pc, each.taken)
            count = count + 1 if follows else -1
            self._known[id(each)] = each, count  # held, so that the id stays its own
        return count


@final
class _Slice:
    """Registers are wanted by depth and number, stack slots by frame and number below r10."""

    def __init__(self, suspect: Suspect, message: str, events: Sequence[_Event]) -> None:
        self._suspect = suspect
        self._message = message
        self._events = events
        self._names = [each.name for each in suspect.maps]
        self._helpers = {number: helper.name for number, helper in suspect.facts.helpers.items()}
        self._wanted: set[tuple[str, int, int]] = set()
        self._bases: set[int] = set()

    def causes(self) -> tuple[Cause, ...]:
        """From the failure back to where its operands come from."""
        if not self._events:
            return ()
        self._begin(self._events[-1])
        found: list[Cause] = []
        told: set[int] = set()  # of a loop only the last round
        for at in range(len(self._events) - 2, -1, -1):
            value = self._concerns(self._events[at], self._events[at + 1])
            if value is not None and self._events[at].pc not in told:
                told.add(self._events[at].pc)
                found.append(self._cause(self._events[at].pc, value))
            if len(found) >= _LONGEST:
                break
        return tuple(reversed(found))

    def _cause(self, pc: int, value: str) -> Cause:
        line = self._suspect.spec.line_at(pc)
        return Cause(
            pc=pc,
            instruction=disassemble_one(self._suspect.spec.code[pc], pc, maps=self._names, helper_name=self._helpers),
            value=value,
            file=line.file if line else "",
            line=line.line if line else 0,
            text=line.text.strip() if line else "",
        )

    def _begin(self, last: _Event) -> None:
        """What the failing instruction looks at."""
        from runtime.verifier.flow import registers

        instruction = self._suspect.spec.code[last.pc]
        argument = _ARGUMENT.search(self._message)
        if self._suspect.code == FailureCode.LOOP:
            self._want_loop(last)
        elif isinstance(instruction, CallHelper):
            numbers = {int(argument[1])} if argument else set()
            numbers |= {int(each) for each in _REGISTER.findall(self._message)}
            for number in numbers:
                self._want_register(last, number)
                self._want_memory(last, number)
        else:
            reads = registers(instruction)[0]
            if isinstance(instruction, Exit):
                reads = 1
            for number in range(10):
                if reads >> number & 1:
                    self._want_register(last, number)

    def _want_loop(self, last: _Event) -> None:
        """What the branches of the last round looked at."""
        for event in reversed(self._events[:-1]):
            instruction = self._suspect.spec.code[event.pc]
            if isinstance(instruction, Branch):
                self._wanted.add(("r", event.depth, instruction.dst))
                if isinstance(instruction.src, Reg):
                    self._wanted.add(("r", event.depth, instruction.src.index))
            if event.pc == last.pc and event.depth == last.depth:
                break

    def _want_register(self, event: _Event, number: int) -> None:
        from runtime.verifier.values import Kind

        if number > 9:
            return
        self._wanted.add(("r", event.depth, number))
        value = event.registers[number]
        if value.kind in (Kind.PACKET, Kind.PACKET_META):
            self._bases.add(value.id)

    def _want_memory(self, event: _Event, number: int) -> None:
        """The stack slot that an argument points to."""
        from runtime.verifier.values import Kind

        value = event.registers[number]
        if value.kind is Kind.STACK and value.number.const is not None:
            self._wanted.add(("s", value.target, (value.offset + value.number.smin) // _SLOT))

    def _slot(self, event: _Event, base: int, offset: int) -> tuple[str, int, int] | None:
        from runtime.verifier.values import Kind

        value = event.registers[base]
        if value.kind is not Kind.STACK or value.number.const is None:
            return None
        return "s", value.target, (value.offset + value.number.smin + offset) // _SLOT

    def _concerns(self, event: _Event, after: _Event) -> str | None:
        """Whether an instruction had to do with what is wanted: what it made of it, in words."""
        from runtime.verifier.flow import registers

        instruction, depth = self._suspect.spec.code[event.pc], event.depth
        match instruction:
            case Branch():
                return self._branch(event, after, instruction)
            case CallLocal() if after.depth > depth:
                inner = [key for key in self._wanted if key[:2] == ("r", after.depth)]
                self._wanted -= set(inner)
                self._wanted |= {("r", depth, key[2]) for key in inner if 1 <= key[2] <= 5}
                return "its arguments" if inner else None
            case Exit() if after.depth < depth:
                if ("r", after.depth, 0) in self._wanted:
                    self._wanted.discard(("r", after.depth, 0))
                    self._wanted.add(("r", depth, 0))
                    return f"returns {event.words[0]}"
                return None
            case Store():
                return self._store(event, instruction)
            case CallHelper(number) if self._suspect.code == FailureCode.STALE_POINTER:
                helper = self._suspect.facts.helpers.get(number)
                if helper is not None and helper.prototype.invalidates_packet:
                    return "changes the packet: pointers from before are void"
            case _:
                pass
        writes = registers(instruction)[1]
        made = [n for n in range(10) if writes >> n & 1 and ("r", depth, n) in self._wanted]
        if not made or after.depth != depth:
            return None
        self._wanted -= {("r", depth, number) for number in made}
        self._want_sources(event, instruction)
        return ", ".join(f"r{number} = {after.words[number]}" for number in made)

    def _want_sources(self, event: _Event, instruction: Instruction) -> None:
        match instruction:
            case Load(src=base):
                slot = self._slot(event, base, instruction.offset)
                if slot is None:
                    self._want_register(event, base)
                else:
                    self._wanted.add(slot)
            case Alu(op=op, dst=dst, src=src):
                if op is not AluOp.MOV:
                    self._want_register(event, dst)
                if isinstance(src, Reg):
                    self._want_register(event, src.index)
            case CallHelper():
                pass
            case Atomic(dst=base):
                self._want_register(event, base)
            case _:
                from runtime.verifier.flow import registers

                reads = registers(instruction)[0]
                for number in range(10):
                    if reads >> number & 1:
                        self._want_register(event, number)

    def _store(self, event: _Event, store: Store) -> str | None:
        slot = self._slot(event, store.dst, store.offset)
        if slot is None or slot not in self._wanted:
            return None
        self._wanted.discard(slot)
        if isinstance(store.src, Imm):
            return f"stores {store.src.value}"
        self._want_register(event, store.src.index)
        return f"stores {event.words[store.src.index]}"

    def _branch(self, event: _Event, after: _Event, branch: Branch) -> str | None:
        """A branch counts when it looks at what is wanted, or compares a pointer of the same base."""
        numbers = [branch.dst] + ([branch.src.index] if isinstance(branch.src, Reg) else [])
        looks = any(("r", event.depth, number) in self._wanted for number in numbers)
        pairs = any(event.registers[number].id in self._bases for number in numbers)
        if not looks and not (pairs and isinstance(branch.src, Reg)):
            return None
        taken = after.pc == event.pc + 1 + branch.offset
        shown = " and ".join(f"r{number} = {event.words[number]}" for number in numbers)
        return f"{'taken' if taken else 'not taken'}, with {shown}"
