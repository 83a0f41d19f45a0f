"""Whether what a program really does lies within what the verifier says that it can do, instruction by instruction.

Not here: programs. The exploration is recorded without pruning, so that every concrete state must lie in some recorded one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from netdev.port import pack
from runtime.engine.interpreter.machine import Machine, Registers, Step
from runtime.loader import LoadedObject
from runtime.maps import possible_cpus
from runtime.native import memory
from runtime.spec import ObjectSpec
from runtime.verifier import Policy, verify
from runtime.verifier.domains import DOMAIN
from runtime.verifier.state import Slot, State
from runtime.verifier.values import Kind, Value
from xdp.extension import default_registry
from xdp.hooks import Hook

__all__ = ["Outside", "outside"]

_WORD: Final = (1 << 64) - 1
_DATA, _DATA_END, _DATA_META = 0, 8, 16
_MOST_STATES: Final = 40_000


@dataclass(frozen=True, slots=True)
class Outside:
    """A concrete state at slot `pc` that no recorded state contains; `why` is about the nearest of them."""

    pc: int
    why: str


def outside(
    spec: ObjectSpec,
    frames: Sequence[bytes],
    *,
    speculate: bool = False,
    joins: Literal["always", "never"] = "never",
) -> Outside | None:
    """Verify, run on frames, compare. Raises VerificationError for programs that are not accepted."""
    registry = default_registry()
    recorded: defaultdict[tuple[int, int], list[State]] = defaultdict(list)

    def watch(pc: int, state: State) -> None:
        recorded[pc, state.depth].append(state.fork())

    program = spec.programs[0]
    policy = Policy(prune=False, speculate=speculate, joins=joins, steps=_MOST_STATES)
    verify(program, registry.program_type("xdp"), spec.maps, registry, policy=policy, watcher=watch)
    found: list[Outside] = []
    with LoadedObject(spec, registry, engine="interpreter", policy=Policy(), cpus=possible_cpus()) as loaded:
        bare = next(iter(loaded.bare_programs.values()))
        code = bare.executable("interpreter")._code
        code.steps = tuple(_watched(step, pc, recorded, found) for pc, step in enumerate(code.steps))
        hook = Hook(bare, engine="interpreter", keep=True)
        try:
            hook.run(pack(list(frames), timestamps=[1000] * len(frames)), checked=True)
        finally:
            hook.close()
    return found[0] if found else None


def _watched(step: Step, pc: int, recorded: dict[tuple[int, int], list[State]], found: list[Outside]) -> Step:
    def watched(machine: Machine, r: Registers) -> int:
        if not found:
            why = "never explored"
            for state in recorded.get((pc, machine.depth - 1), ()):
                why = next(_misses(state, machine, r), "")
                if not why:
                    break
            if why:
                found.append(Outside(pc, why))
        return step(machine, r)

    return watched


def _misses(state: State, machine: Machine, r: Registers) -> Iterator[str]:
    """What of the concrete state is not in the abstract one."""
    for index, value in enumerate(state.registers):
        if not _within(state, value, machine, r[index], r[10]):
            yield f"r{index} = {r[index]:#x} is not in {value}"
    for index, slot in state.stack.items():
        yield from _slot_misses(slot, index, r[10] + 8 * index)


def _slot_misses(slot: Slot, index: int, address: int) -> Iterator[str]:
    if slot.value is not None and slot.value.kind is Kind.NUMBER:
        concrete = int.from_bytes(memory.read(address, slot.size), "little")
        if not DOMAIN.contains(slot.value.number, concrete):
            yield f"fp{index * 8:+} = {concrete:#x} is not in {slot.value.number}"
    data = memory.read(address, 8)
    if any(data[at] for at in range(8) if slot.zero >> at & 1):
        yield f"fp{index * 8:+} = {data.hex()} is not zero in {slot.zero:#x}"


def _within(state: State, value: Value, machine: Machine, concrete: int, frame: int) -> bool:
    match value.kind:
        case Kind.NUMBER:
            return DOMAIN.contains(value.number, concrete)
        case Kind.CONTEXT:
            return concrete == machine.context + value.offset & _WORD
        case Kind.PACKET:
            return _in_packet(state, value, concrete, _field(machine, _DATA), _field(machine, _DATA_END))
        case Kind.PACKET_META:
            return _in_packet(state, value, concrete, _field(machine, _DATA_META), _field(machine, _DATA))
        case Kind.PACKET_END:
            return concrete == _field(machine, _DATA_END)
        case Kind.STACK if value.target == state.depth:
            return DOMAIN.contains(value.number, concrete - frame - value.offset & _WORD)
        case Kind.MAP_VALUE:
            return concrete != 0
        case _:
            return True


def _field(machine: Machine, offset: int) -> int:
    return memory.load(machine.context + offset, 8) & _WORD


def _in_packet(state: State, value: Value, concrete: int, start: int, end: int) -> bool:
    """The pointer is where it may be, and the bytes that are said to be there are."""
    if not DOMAIN.contains(value.number, concrete - start - value.offset & _WORD):
        return False
    room = state.room.get(value.id, 0)
    return not room or concrete - value.offset + room <= end
