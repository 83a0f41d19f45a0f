"""Callbacks: what a helper hands to a function of the program, how often it calls it, and what it wants back.

Not here: the exploration of rounds (explore.py). The calls of one helper are a loop whose head is the helper's call: a round
begins with the state that the round before left, and when the helper stops is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.isa import CallHelper, Code
from runtime.spec import ArgType, Given, Helper, MapFlag
from runtime.verifier.demand import FRAME_BITS, SLOTS, need
from runtime.verifier.domains import DOMAIN
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.flow import MAX_FRAMES
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.state import FRAME_POINTER, Frame, State
from runtime.verifier.values import UNINIT, ZERO, Kind, Value, number

__all__ = ["call_back", "callers", "come_back", "push_frame", "rounds"]

_MAX_LOOPS: Final = 1 << 23


def callers(code: Code, helper_of: Callable[[int], Helper | None]) -> frozenset[int]:
    """The slots that call helpers which call back."""
    return frozenset(
        pc
        for pc, each in enumerate(code)
        if isinstance(each, CallHelper) and (helper := helper_of(each.helper)) is not None and _takes_function(helper)
    )


def _takes_function(helper: Helper) -> bool:
    return any(arg.type is ArgType.CALLBACK for arg in helper.prototype.args)


def rounds(platform: Platform, state: State, helper: Helper) -> int:
    """How often the helper calls back at most when it is called in this state."""
    row = helper.callback
    assert row is not None
    if row.count:
        return min(state.registers[row.count].number.umax, _MAX_LOOPS)
    if row.elements:
        spec, kind = (
            platform.maps[state.registers[row.elements].target],
            platform.kinds[state.registers[row.elements].target],
        )
        known = kind is not None and kind.bounded_array and not spec.flags & MapFlag.INNER_MAP
        return spec.max_entries if known else _MAX_LOOPS  # a map inside a map may have more
    return 1 if row.later else _MAX_LOOPS


def call_back(
    platform: Platform, notebook: Notebook, state: State, pc: int, helper: Helper, *, made: int
) -> tuple[State, int] | None:
    """The state and slot in which a round begins, `made` rounds having been made; None when there is no further one."""
    row = helper.callback
    if row is None:
        raise Rejected(Failure(FailureCode.HELPER, f"callbacks of bpf_{helper.name} are not supported"), pc)
    target = state.registers[row.function].target
    notebook.callbacks[pc].add(target)
    if row.count:
        need(state, state.registers[row.count].needs)
    most = rounds(platform, state, helper)
    if made >= most:
        return None
    if not row.later:
        notebook.loops[pc] = max(notebook.loops.get(pc, 0), most)
    inside = state.fork()
    registers = state.registers
    arguments = [_given(platform, notebook, each, registers) for each in row.given]
    if row.later:
        notebook.later.add(target)
        inside.checkpoint, inside.heads, inside.frames, inside.starts = None, {}, (), inside.starts[:1]
        inside.registers, inside.stack, inside.written = [UNINIT] * 11, {}, 0
        inside.references, inside.lock = (), None
    push_frame(inside, Frame(inside.registers, inside.stack, pc, row), pc, target)
    inside.registers[1:6] = arguments + [UNINIT] * (5 - len(arguments))
    return inside, target


def _given(platform: Platform, notebook: Notebook, given: Given | int, registers: list[Value]) -> Value:
    """What a callback gets in a register: a thing, or what is in a register of the helper's caller."""
    match given:
        case Given.INDEX:
            return number(DOMAIN.unsigned_range(0, _MAX_LOOPS), 0)
        case Given.KEY:
            return Value(Kind.MAP_KEY, ZERO, 0, 0, registers[1].target)
        case Given.VALUE:
            target = registers[1].target
            ident = -notebook.fresh_id() if platform.lockable(target) else 0  # each element has a lock of its own
            return Value(Kind.MAP_VALUE, ZERO, 0, ident, target)
        case Given.MAP:
            return Value(Kind.MAP, ZERO, 0, 0, registers[1].target)
        case Given.OBJECT:
            return Value(Kind.OPAQUE, ZERO)
        case _:
            return registers[given]


def push_frame(state: State, frame: Frame, pc: int, target: int) -> None:
    """Enter the function at slot `target`; `frame` is its caller, whose registers 1 to 5 are the arguments."""
    if state.depth + 2 > MAX_FRAMES:
        raise Rejected(
            Failure(
                FailureCode.CALL,
                f"more than {MAX_FRAMES} functions are active at once: inline some, or make recursion a loop",
            ),
            pc,
        )
    arguments = frame.registers[1:6]
    state.frames = (*state.frames, frame)
    state.starts = (*state.starts, target)
    state.registers = [UNINIT, *arguments, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    state.registers[FRAME_POINTER] = Value(Kind.STACK, ZERO, 0, 0, state.depth)
    state.stack = {}
    state.heads = {place: head for place, head in state.heads.items() if place[1] < state.depth}
    state.written |= (1 << FRAME_BITS - SLOTS) - 1 << state.depth * FRAME_BITS + SLOTS


def come_back(state: State) -> int | None:
    """Leave a callback: back to the helper that called it, with its arguments; None where that is another story."""
    frame = state.frames[-1]
    assert frame.callback is not None
    need(state, state.registers[0].needs)
    if frame.callback.later:
        return None
    depth = state.depth
    state.frames = state.frames[:-1]
    state.starts = state.starts[:-1]
    state.registers, state.stack = frame.registers, frame.stack
    state.registers[0] = UNINIT
    state.replace(lambda v: UNINIT if v.kind is Kind.STACK and v.target >= depth else v)
    return frame.resume
