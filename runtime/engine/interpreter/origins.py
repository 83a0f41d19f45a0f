"""Steps that also keep the origins of values, and leave that of the result in the environment.

Not here: what an instruction says about origins (runtime.engine.origins).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from runtime.engine.interpreter.machine import RETURN, Machine, Registers, Step
from runtime.engine.origins import Decision, Origin, Source, origins
from runtime.isa import Branch, CallHelper, Exit, Instruction
from runtime.native import memory
from runtime.spec import Env

if TYPE_CHECKING:
    from runtime.verifier import VerifiedProgram

__all__ = ["WORDS", "keeping"]

_FIRST: Final = 11  # the word of r0's origin
_BEFORE: Final = _FIRST + 11
WORDS: Final = _BEFORE + 1
"""Registers, an origin for each, and the last place that has a line."""
_LOW: Final = (1 << 32) - 1


def keeping(program: VerifiedProgram, steps: Sequence[Step], number: int) -> tuple[Step, ...]:
    """The same steps, which keep origins; `number` is the program's."""
    plan, base = origins(program), number << 32
    code = program.spec.code
    made = []
    for pc, step in enumerate(steps):
        now = step
        if pc in plan.made:
            now = _making(now, pc, plan.made[pc], base)
        if pc in plan.lined:
            now = _passing(now, pc)
        if pc in plan.decided:
            now = _deciding(now, pc, code[pc], plan.decided[pc])
        if isinstance(code[pc], Exit):
            now = _leaving(base)
        elif _leaves(program, code[pc]):
            now = _calling(now, pc, base)
        made.append(now)
    return tuple(made)


def _making(step: Step, pc: int, origin: Origin, base: int) -> Step:
    place = _FIRST + origin.of
    source = _FIRST + origin.source if isinstance(origin.source, int) else _BEFORE

    def keep(machine: Machine, r: Registers) -> int:
        following = step(machine, r)
        match origin.source:
            case Source.HERE:
                r[place] = pc + 1
            case Source.CALLEE:
                said = memory.load(machine.environment + Env.ORIGIN, 8) ^ base
                r[place] = said if said <= _LOW else pc + 1
            case _:
                r[place] = r[source]
        return following

    return keep


def _passing(step: Step, pc: int) -> Step:
    def keep(machine: Machine, r: Registers) -> int:
        r[_BEFORE] = pc + 1
        return step(machine, r)

    return keep


def _deciding(step: Step, pc: int, branch: Instruction, decisions: tuple[Decision, ...]) -> Step:
    assert isinstance(branch, Branch)
    target = pc + 1 + branch.offset

    def keep(machine: Machine, r: Registers) -> int:
        following = step(machine, r)
        for each in decisions:
            if each.taken == (following == target):
                r[_FIRST + each.of] = pc + 1 if each.source is Source.HERE else r[_BEFORE]
        return following

    return keep


def _leaving(base: int) -> Step:
    def keep(machine: Machine, r: Registers) -> int:
        memory.store(machine.environment + Env.ORIGIN, 8, base | r[_FIRST])
        return RETURN

    return keep


def _calling(step: Step, pc: int, base: int) -> Step:
    def keep(machine: Machine, r: Registers) -> int:
        memory.store(machine.environment + Env.ORIGIN, 8, base | pc + 1)
        return step(machine, r)

    return keep


def _leaves(program: VerifiedProgram, instruction: Instruction) -> bool:
    """Whether another program may follow here."""
    if not isinstance(instruction, CallHelper):
        return False
    helper = program.facts.helpers.get(instruction.helper)
    return helper is not None and helper.builtin == "tail_call"
