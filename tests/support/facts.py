"""Whether what the verifier recorded of a program holds while it runs, instruction by instruction.

Not here: programs. What engines rely on is asked: a fact that does not hold would be a wrong translation.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

from netdev.port import pack
from runtime.engine.interpreter.machine import Machine, Registers, Step
from runtime.isa import Atomic, Branch, CallHelper, Instruction, Load, Store
from runtime.loader import LoadedObject
from runtime.maps import Map, possible_cpus
from runtime.native import memory
from runtime.spec import ArgType, ObjectSpec
from runtime.verifier import Facts, Policy
from runtime.verifier.verified import Region
from xdp.extension import default_registry
from xdp.hooks import Hook

__all__ = ["broken"]

_WORD: Final = (1 << 64) - 1
_DATA, _DATA_END, _DATA_META = 0, 8, 16


def broken(
    spec: ObjectSpec, frames: Sequence[bytes], *, claim: Callable[[Facts], Facts] = lambda facts: facts
) -> str | None:
    """Verify, run on frames; the first fact that does not hold. Raises VerificationError for what is not accepted.

    What is compared are the facts that `claim` makes of those that were recorded.
    """
    with LoadedObject(spec, default_registry(), engine="interpreter", policy=Policy(), cpus=possible_cpus()) as loaded:
        program = next(iter(loaded.bare_programs.values()))
        witness = _Witness(
            claim(program.verified.facts), program.spec.code, [s.start for s in program.spec.subprograms], program.maps
        )
        code = program.executable("interpreter")._code
        code.steps = tuple(witness.watched(step, pc) for pc, step in enumerate(code.steps))
        hook = Hook(program, engine="interpreter", keep=True)
        try:
            hook.run(pack(list(frames), timestamps=[1000] * len(frames)), checked=True)
        finally:
            hook.close()
    return witness.found


@final
class _Witness:
    def __init__(self, facts: Facts, code: Sequence[Instruction], starts: list[int], maps: Sequence[Map]) -> None:
        self.found: str | None = None
        self._facts = facts
        self._code = code
        self._starts = starts
        self._maps = maps

    def watched(self, step: Step, pc: int) -> Step:
        """The step, with facts compared before and after it."""

        def watched(machine: Machine, r: Registers) -> int:
            instruction = self._code[pc]
            self._complain(pc, self._before(pc, instruction, machine, r))
            following = step(machine, r)
            self._complain(pc, self._after(pc, instruction, r, following))
            return following

        return watched

    def _complain(self, pc: int, complaints: Iterator[str]) -> None:
        for each in complaints:
            self.found = self.found or f"instruction {pc}: {each}"

    def _before(self, pc: int, instruction: Instruction, machine: Machine, r: Registers) -> Iterator[str]:
        facts = self._facts
        if pc in facts.unreachable:
            yield "is reached"
        match instruction:
            case Load(src=base, offset=offset):
                yield from self._access(pc, r[base] + offset & _WORD, machine, r[10], write=False)
            case Store(dst=base, offset=offset) | Atomic(dst=base, offset=offset):
                yield from self._access(pc, r[base] + offset & _WORD, machine, r[10], write=True)
            case CallHelper(number):
                yield from self._call(pc, number, r)
            case _:
                pass

    def _access(self, pc: int, address: int, machine: Machine, frame: int, *, write: bool) -> Iterator[str]:
        facts = self._facts
        if pc in facts.context_fields:
            return
        where = self._region(address, machine)
        recorded = facts.regions.get(pc, frozenset())
        if where not in recorded and Region.OTHER not in recorded:
            yield f"reaches {where.name}, not {sorted(each.name for each in recorded)}"
        for index, each in enumerate(self._maps):
            if write and 0 <= address - each.address < each.arena.size and index not in facts.maps_written:
                yield f"writes map {each.name}"
        if where is Region.PACKET and not (facts.writes_packet if write else facts.reads_packet):
            yield f"{'writes' if write else 'reads'} the packet"
        start = self._starts[bisect_right(self._starts, pc) - 1]
        if where is Region.STACK and frame - 512 <= address < frame and frame - address > facts.stack[start]:
            yield f"uses {frame - address} bytes of stack, more than {facts.stack[start]}"

    def _region(self, address: int, machine: Machine) -> Region:
        if machine.frame_of(address) is not None:
            return Region.STACK
        low, high = (memory.load(machine.context + at, 8) & _WORD for at in (_DATA_META, _DATA_END))
        if low <= address < high:
            return Region.PACKET
        if any(0 <= address - each.address < each.arena.size for each in self._maps):
            return Region.MAPS
        return Region.OTHER

    def _call(self, pc: int, number: int, r: Registers) -> Iterator[str]:
        helper = self._facts.helpers.get(number)
        if helper is None:
            yield f"calls helper {number}"
            return
        for at, argument in enumerate(helper.prototype.args, 1):
            if argument.type is ArgType.CONST_MAP:
                maps = [self._maps[index].address for index in self._facts.call_maps.get(pc, ())]
                if r[at] not in maps:
                    yield f"{helper.name} gets another map"
        if helper.prototype.invalidates_packet and not self._facts.moves_packet:
            yield "moves the packet"

    def _after(self, pc: int, instruction: Instruction, r: Registers, following: int) -> Iterator[str]:
        facts = self._facts
        if (
            pc in facts.constants
            and isinstance(instruction, Load)
            and r[instruction.dst] != facts.constants[pc] & _WORD
        ):
            yield f"loads {r[instruction.dst]:#x}, not {facts.constants[pc]:#x}"
        if pc in facts.branches and isinstance(instruction, Branch) and instruction.offset:
            taken = following == pc + 1 + instruction.offset
            if taken is not facts.branches[pc]:
                yield f"is {'' if taken else 'not '}taken"
