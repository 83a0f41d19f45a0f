"""Calls: functions of the program, helpers, map operations, and what engines carry out themselves.

Not here: what a helper does; natives say that, and run under Python here.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Final

from runtime.engine.interpreter.arithmetic import WORD
from runtime.engine.interpreter.machine import RETURN, Code, Machine, Registers, Step, map_call
from runtime.errors import InternalError, UnsupportedError
from runtime.isa import CallHelper, CallLocal
from runtime.native import memory
from runtime.native.library import natives
from runtime.spec import Env, MapOp

__all__ = ["PROGRAMS", "call_helper", "call_local"]

_SHAPE_WORDS: Final = 6  # map, key size, value size, entries, flags, environment
_MAX_LOOPS: Final = 1 << 23
_LOW32: Final = 0xFFFF_FFFF

PROGRAMS: Final[dict[int, Code]] = {}
"""Where tail calls lead: code by process-wide program id."""


def call_local(code: Code, pc: int, instruction: CallLocal) -> Step:
    """r0 = the function at pc + 1 + offset."""
    start, following = pc + 1 + instruction.offset, pc + 1

    def step(machine: Machine, r: Registers) -> int:
        r[0] = machine.call(code, start, r[1:6])
        return following

    return step


def call_helper(code: Code, pc: int, instruction: CallHelper) -> Step:
    """r0 = helper(r1 … r5). Raises UnsupportedError for helpers that nothing carries out."""
    helper = code.program.facts.helpers.get(instruction.helper)
    if helper is None:
        raise InternalError(f"instruction {pc}: no fact about helper {instruction.helper}")
    if helper.builtin in _BUILTINS:
        return _BUILTINS[helper.builtin](code, pc + 1)
    if helper.map_op is not None:
        return _map_operation(code, pc + 1, helper.map_op)
    if helper.native is None:
        raise UnsupportedError(f"instruction {pc}: helper {helper.name} cannot be run by this engine")
    (native,) = natives([helper.native])
    words = slice(1, native.arity)
    following = pc + 1

    def step(machine: Machine, r: Registers) -> int:
        r[0] = native(machine.environment, *r[words]) & WORD
        return following

    return step


def _map_operation(code: Code, following: int, op: MapOp) -> Step:
    def step(machine: Machine, r: Registers) -> int:
        owner = code.map_at(r[1])
        (native,) = natives([owner.kind.ops[op]])
        r[0] = map_call(owner, op, machine.environment, r[2 : 2 + native.arity - _SHAPE_WORDS])
        return following

    return step


def _tail_call(code: Code, following: int) -> Step:
    """Leave for the program in slot r3 of the array in r2, or go on when there is none or the budget is spent.

    Only a jump that is made counts against the budget.
    """

    def step(machine: Machine, r: Registers) -> int:
        memory.store(machine.key, 4, r[3])
        value = map_call(code.map_at(r[2]), MapOp.LOOKUP, machine.environment, (machine.key,))
        target = PROGRAMS.get(memory.load(value, 4)) if value else None
        budget = memory.load(machine.environment + Env.TAIL_CALLS, 8)
        if target is None or budget == 0:
            r[0] = -errno.ENOENT & WORD
            return following
        memory.store(machine.environment + Env.TAIL_CALLS, 8, budget - 1)
        r[0] = machine.call(target, 0, (machine.context,))
        return RETURN

    return step


def _loop(code: Code, following: int) -> Step:
    """Call r2(i, r3) for i below r1 until it gives other than 0; r0 is how many calls there were."""

    def step(machine: Machine, r: Registers) -> int:
        count, start, word, flags = r[1] & _LOW32, r[2], r[3], r[4]
        if flags:
            r[0] = -errno.EINVAL & WORD
        elif count > _MAX_LOOPS:
            r[0] = -errno.E2BIG & WORD
        else:
            made = 0
            while made < count:
                made += 1
                if machine.call(code, start, (made - 1, word)):
                    break
            r[0] = made
        return following

    return step


_BUILTINS: Final[Mapping[str, Callable[[Code, int], Step]]] = {"loop": _loop, "tail_call": _tail_call}
