"""Instructions as closures: what is common is done at once, all else is left to the judge and the transfer functions.

Not here: semantics of its own. A closure goes on where obligations.py, checker.py and transfer*.py would let it go on, with the state
that they would make; where it is not sure it changes nothing and answers GENERIC. Tests compare both ways.
"""

from __future__ import annotations

from runtime.isa import (
    Alu,
    AluOp,
    Branch,
    ByteSwap,
    CallHelper,
    Instruction,
    Jump,
    Load,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    MoveSigned,
    Negate,
    Store,
)
from runtime.verifier.compiled_branch import branch
from runtime.verifier.compiled_calls import call
from runtime.verifier.compiled_memory import load, store
from runtime.verifier.compiled_numbers import alu, constant, move, unary
from runtime.verifier.compiled_values import GENERIC, Closure, Run
from runtime.verifier.state import State
from runtime.verifier.values import ZERO, Kind, Value

__all__ = ["GENERIC", "Closure", "compile_program"]


def compile_program(run: Run) -> tuple[Closure, ...]:
    """A closure for each slot: it changes the state as the instruction does, and returns where the path goes on, or GENERIC."""
    code = run.platform.spec.code
    if not run.platform.policy.compile:
        return (_generic,) * len(code)
    return tuple(_compile(run, pc, each) for pc, each in enumerate(code))


def _compile(run: Run, pc: int, instruction: Instruction) -> Closure:
    found: Closure | None = None
    match instruction:
        case Alu(op=AluOp.MOV):
            found = move(run, pc, instruction)
        case Alu():
            found = alu(pc, instruction)
        case MoveSigned() | Negate() | ByteSwap():
            found = unary(pc, instruction)
        case LoadImm64(dst, value):
            found = constant(pc + 2, dst, value)
        case LoadMap(dst, index):
            found = _address(run, pc, dst, Value(Kind.MAP, ZERO, 0, 0, index))
        case LoadMapValue(dst=dst, map=index, offset=offset):
            found = _address(run, pc, dst, Value(Kind.MAP_VALUE, ZERO, offset, 0, index))
        case Load():
            found = load(run, pc, instruction)
        case Store():
            found = store(run, pc, instruction)
        case Branch():
            found = branch(run, pc, instruction)
        case CallHelper():
            found = call(run, pc, instruction)
        case Jump(offset):
            found = _jump(pc + 1 + offset)
        case _:
            pass
    return _generic if found is None else found


def _generic(_state: object) -> int:
    return GENERIC


def _address(run: Run, pc: int, dst: int, made: Value) -> Closure:
    """A map, or a place in a map's only value: judged once, since the state has no part in that."""
    following = pc + 2
    judged = False

    def closure(state: State) -> int:
        nonlocal judged
        if not judged:
            run.judge(state, pc)
            judged = True
        run.notebook.maps.add(made.target)
        state.registers[dst] = made
        return following

    return closure


def _jump(target: int) -> Closure:
    return lambda _state: target
