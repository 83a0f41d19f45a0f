"""Closures for helper calls: arguments that were judged before are not judged again, but for what lies on the stack.

Not here: helpers that call back, lock, release, leave the program or take kernel objects, and what a call does (transfer_call.py).
"""

from __future__ import annotations

from typing import Final

from runtime.isa import CallHelper
from runtime.spec import ArgType, Helper
from runtime.verifier.arguments import clean, memory_size
from runtime.verifier.compiled_values import GENERIC, Closure, Run
from runtime.verifier.state import State
from runtime.verifier.transfer_call import call_helper
from runtime.verifier.values import Kind, Value

__all__ = ["call"]

_STACK: Final = Kind.STACK
_TIMELESS: Final = frozenset({Kind.NUMBER, Kind.CONTEXT, Kind.STACK, Kind.MAP, Kind.MAP_VALUE})
"""What a value of these kinds allows depends on itself alone; on the packet's room, for one, it does not."""
_READ: Final = frozenset({ArgType.MAP_KEY, ArgType.MAP_VALUE, ArgType.MEMORY})
_PLAIN: Final = _READ | {
    ArgType.ANYTHING, ArgType.CONTEXT, ArgType.CONST_MAP, ArgType.UNINIT_MEMORY, ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO,
}  # fmt: skip


def call(run: Run, pc: int, instruction: CallHelper) -> Closure | None:
    """The call, of a helper with plain arguments."""
    helper = run.platform.helper(instruction.helper)
    if helper is None or not _is_plain(helper):
        return None
    following, end = pc + 1, len(helper.prototype.args) + 1
    read = [place for place, arg in enumerate(helper.prototype.args, 1) if arg.type in _READ]
    judged: set[tuple[object, ...]] = set()

    def closure(state: State) -> int:
        if state.lock is not None:
            return GENERIC
        arguments = state.registers[1:end]
        key = tuple(map(_what_is_judged, arguments))
        if key not in judged:
            run.judge(state, pc)
            if all(value.kind in _TIMELESS for value in arguments):
                judged.add(key)
        else:
            for place in read:
                value = state.registers[place]
                if value.kind is _STACK and clean(state, value, memory_size(run.platform, state, helper, place)):
                    return GENERIC
        call_helper(run.platform, run.notebook, state, pc, helper)
        return following

    return closure


def _is_plain(helper: Helper) -> bool:
    prototype = helper.prototype
    if helper.builtin == "tail_call" or helper.callback is not None or prototype.locks or prototype.unlocks:
        return False
    return all(arg.type in _PLAIN and not arg.releases for arg in prototype.args)


def _what_is_judged(value: Value) -> tuple[object, ...]:
    return value[:3] + (value.target,)  # noqa: RUF005  faster than unpacking
