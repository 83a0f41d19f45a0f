"""Calls: helpers, map operations, functions of the program, and what engines carry out themselves.

Not here: what a helper does; natives say that, and LLVM inlines them.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Final

from runtime.engine.jit.emit import Emitter
from runtime.engine.jit.unit import Unit
from runtime.errors import InternalError, UnsupportedError
from runtime.isa import CallHelper, CallLocal
from runtime.spec import ArgType, Env, Helper, MapOp, MapSpec
from runtime.verifier.verified import Facts

__all__ = ["FUNCTION_WORDS", "call_helper", "call_local", "function_name"]

FUNCTION_WORDS: Final = 5
_ENVIRONMENT: Final = "ptrtoint ptr %environment to i64"
_MAX_LOOPS: Final = 1 << 23
_COPIED: Final = 64  # keys and values up to so many bytes are handed over as copies, so that the frame stays private


def function_name(start: int) -> str:
    """The LLVM name of the function that starts at a slot."""
    return f"f{start}"


def _call_function(e: Emitter, start: int, arguments: Iterable[str]) -> str:
    """r0 of a function of the program, called with up to five words."""
    words = [f"i64 {each}" for each in arguments]
    words += ["i64 0"] * (FUNCTION_WORDS - len(words))
    return e.value(f"call i64 @{function_name(start)}({', '.join([*words, 'ptr %context', 'ptr %environment'])})")


def call_local(e: Emitter, pc: int, instruction: CallLocal) -> None:
    """r0 = the function at pc + 1 + offset."""
    e.set(0, _call_function(e, pc + 1 + instruction.offset, [e.get(index) for index in range(1, 6)]))


def call_helper(e: Emitter, unit: Unit, facts: Facts, pc: int, instruction: CallHelper) -> None:
    """r0 = helper(r1 … r5). Raises UnsupportedError for helpers that nothing carries out."""
    helper = facts.helpers.get(instruction.helper)
    if helper is None:
        raise InternalError(f"instruction {pc}: no fact about helper {instruction.helper}")
    if helper.native is not None:
        native = unit.native(helper.native)
        words = [f"i64 {each}" for each in [e.value(_ENVIRONMENT), *(e.get(at) for at in range(1, native.arity))]]
        e.set(0, e.value(f"call i64 @{native.symbol}({', '.join(words)})"))
    elif helper.map_op is not None:
        e.set(0, _call_map(e, unit, _maps(facts, pc, helper), helper, helper.map_op))
    elif helper.builtin in _BUILTINS:
        _BUILTINS[helper.builtin](e, unit, facts, pc, helper)
    else:
        raise UnsupportedError(f"instruction {pc}: helper {helper.name} cannot be run by this engine")


def _maps(facts: Facts, pc: int, helper: Helper) -> list[int]:
    maps = sorted(facts.call_maps.get(pc, ()))
    if not maps:
        raise InternalError(f"instruction {pc}: no fact about the map of {helper.name}")
    return maps


def _call_map(e: Emitter, unit: Unit, maps: list[int], helper: Helper, op: MapOp) -> str:
    """The operation on the map in r1, which is one of those; its other words are r2 and on."""

    def one(index: int) -> str:
        name, count = unit.map_op(index, op)
        words = [f"i64 {e.value(_ENVIRONMENT)}"]
        for at in range(2, 2 + count):
            size = 0 if unit.is_inside(index, op) else _given(unit.maps[index].spec, helper, at)
            words.append(f"i64 {e.copied(at, size) if 0 < size <= _COPIED else e.get(at)}")
        return e.value(f"call i64 @{name}({', '.join(words)})")

    if len(maps) > 1:
        e.preload(range(1, 6))  # every branch of the choice may read every argument
    return _choose(e, [(unit.map_address(index), one, index) for index in maps], 1)


def _given(spec: MapSpec, helper: Helper, register: int) -> int:
    """How many bytes the operation reads, and only reads, where the register points; 0 when that is not known."""
    arguments = helper.prototype.args
    argument = arguments[register - 1] if register <= len(arguments) else None
    if argument is None or argument.writes:
        return 0
    return {ArgType.MAP_KEY: spec.key_size, ArgType.MAP_VALUE: spec.value_size}.get(argument.type, 0)


def _choose(e: Emitter, options: list[tuple[str, Callable[[int], str], int]], register: int) -> str:
    """A chain of comparisons of a register with constants; the last option needs none."""
    results: list[tuple[str, str]] = []
    done = e.label("chosen")
    for constant, act, index in options[:-1]:
        hit, miss = e.label("hit"), e.label("miss")
        same = e.value(f"icmp eq i64 {e.get(register)}, {constant}")
        e.line(f"br i1 {same}, label %{hit}, label %{miss}")
        e.line(f"{hit}:")
        results.append((act(index), hit))
        e.line(f"br label %{done}")
        e.line(f"{miss}:")
        last = miss
    _, act, index = options[-1]
    if len(options) == 1:
        return act(index)
    results.append((act(index), last))
    e.line(f"br label %{done}")
    e.line(f"{done}:")
    return e.value("phi i64 " + ", ".join(f"[ {value}, %{label} ]" for value, label in results))


def _environment(e: Emitter, word: Env) -> str:
    return e.value(f"getelementptr i8, ptr %environment, i64 {int(word)}")


def _tail_call(e: Emitter, unit: Unit, facts: Facts, pc: int, helper: Helper) -> None:
    """Leave for the program in slot r3 of the array in r2, or go on when there is none or the budget is spent.

    As the kernel's JIT does, only a jump that is made counts against the budget.
    """
    unit.tail_calls = True
    e.preload((2, 3))
    maps = _maps(facts, pc, helper)
    spot = e.slot("i64")
    e.line(f"store i32 {e.get32(3)}, ptr {spot}")

    def lookup(at: int) -> str:
        name, _ = unit.map_op(at, MapOp.LOOKUP)
        key = e.value(f"ptrtoint ptr {spot} to i64")
        return e.value(f"call i64 @{name}(i64 {e.value(_ENVIRONMENT)}, i64 {key})")

    value = _choose(e, [(unit.map_address(at), lookup, at) for at in maps], 2)
    out = e.label("stay")
    _unless(e, e.value(f"icmp eq i64 {value}, 0"), out)
    pointer = e.value(f"inttoptr i64 {value} to ptr")
    number = e.value(f"zext i32 {e.value(f'load i32, ptr {pointer}')} to i64")
    budget_at = _environment(e, Env.TAIL_CALLS)
    budget = e.value(f"load i64, ptr {budget_at}")
    count = e.value(f"load i64, ptr {_environment(e, Env.PROGRAM_COUNT)}")
    _unless(e, e.value(f"icmp eq i64 {budget}, 0"), out)
    _unless(e, e.value(f"icmp uge i64 {number}, {count}"), out)
    table = e.value(f"load ptr, ptr {_environment(e, Env.PROGRAMS)}")
    entry = e.value(f"load ptr, ptr {e.value(f'getelementptr i64, ptr {table}, i64 {number}')}")
    _unless(e, e.value(f"icmp eq ptr {entry}, null"), out)
    e.line(f"store i64 {e.value(f'sub i64 {budget}, 1')}, ptr {budget_at}")
    result = e.value(f"call i64 {entry}(ptr %context, ptr %environment)")
    e.line(f"ret i64 {result}")
    e.line(f"{out}:")
    e.set(0, str(-errno.ENOENT))


def _unless(e: Emitter, condition: str, out: str) -> None:
    on = e.label("on")
    e.line(f"br i1 {condition}, label %{out}, label %{on}")
    e.line(f"{on}:")


def _loop(e: Emitter, _unit: Unit, facts: Facts, pc: int, helper: Helper) -> None:
    """Call r2(i, r3) for i below r1 until it gives other than 0; r0 is how many calls there were."""
    callbacks = sorted(facts.callbacks.get(pc, ()))
    if not callbacks:
        raise InternalError(f"instruction {pc}: no fact about the function of {helper.name}")
    e.preload((1, 2, 3, 4))
    head, body, done = e.label("loop"), e.label("body"), e.label("looped")
    count = e.value(f"zext i32 {e.get32(1)} to i64")
    many = e.value(f"icmp ugt i64 {count}, {_MAX_LOOPS}")
    flags = e.value(f"icmp ne i64 {e.get(4)}, 0")
    error = e.value(f"select i1 {flags}, i64 {-errno.EINVAL}, i64 {-errno.E2BIG}")
    wrong = e.value(f"or i1 {many}, {flags}")
    rounds = e.slot("i64")
    e.line(f"store i64 0, ptr {rounds}")
    e.line(f"br i1 {wrong}, label %{done}, label %{head}")
    e.line(f"{head}:")
    at = e.value(f"load i64, ptr {rounds}")
    finished = e.value(f"icmp uge i64 {at}, {count}")
    e.line(f"br i1 {finished}, label %{done}, label %{body}")
    e.line(f"{body}:")
    following = e.value(f"add i64 {at}, 1")
    e.line(f"store i64 {following}, ptr {rounds}")
    options = [(str(start), lambda start: _call_function(e, start, [at, e.get(3)]), start) for start in callbacks]
    result = _choose(e, options, 2)
    stop = e.value(f"icmp ne i64 {result}, 0")
    e.line(f"br i1 {stop}, label %{done}, label %{head}")
    e.line(f"{done}:")
    made = e.value(f"load i64, ptr {rounds}")
    e.set(0, e.value(f"select i1 {wrong}, i64 {error}, i64 {made}"))


_BUILTINS: Final[dict[str, Callable[[Emitter, Unit, Facts, int, Helper], None]]] = {
    "loop": _loop,
    "tail_call": _tail_call,
}
