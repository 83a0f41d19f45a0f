"""Whether a helper may be called here with these arguments.

Not here: what the call changes (transfer_call.py).
"""

from __future__ import annotations

from typing import Final

from runtime.spec import Arg, ArgType, Helper, MapOp
from runtime.verifier.failure import Failure, FailureCode
from runtime.verifier.memory import check_memory, stack_bytes, stack_range
from runtime.verifier.objects import OBJECT_ARGUMENTS, check_allocation, check_object
from runtime.verifier.platform import Platform
from runtime.verifier.references import check_released
from runtime.verifier.state import State
from runtime.verifier.values import Kind, Value

__all__ = ["check_call", "clean", "map_argument", "memory_size"]

_MAX_SIZE: Final = 1 << 29
_SIZES: Final = frozenset({ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO})
_GPL: Final = frozenset({"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"})
_LOOKED_UP: Final = frozenset({"map", "device"})  # values that programs may look at, and not change
_SOCKET: Final = Arg(ArgType.ANY_SOCK_COMMON)
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_RUNNABLE: Final = frozenset({
    ArgType.ANYTHING, ArgType.CONTEXT, ArgType.CONST_MAP, ArgType.MAP_KEY, ArgType.MAP_VALUE, ArgType.MEMORY,
    ArgType.UNINIT_MEMORY, ArgType.FIXED_MEMORY, ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO, ArgType.CALLBACK,
    ArgType.STACK, ArgType.CONST_STRING, ArgType.INT, ArgType.LONG, ArgType.CONST_ALLOC_SIZE, *OBJECT_ARGUMENTS,
})  # fmt: skip


def _bad(message: str) -> Failure:
    return Failure(FailureCode.HELPER_ARG, message)


def check_call(platform: Platform, state: State, number: int) -> Failure | None:
    """Whether the call of helper `number` is allowed in this state."""
    helper = platform.helper(number)
    if helper is None:
        known = platform.registry.helper(number)
        name = f"bpf_{known.name}" if known else f"helper {number}"
        return Failure(
            FailureCode.HELPER,
            f"{name} may not be called from {platform.program_type.name} programs: use a helper of this type, or do without",
        )
    if state.lock is not None and not (helper.prototype.unlocks or helper.prototype.locks):
        return Failure(FailureCode.LOCK, f"calls bpf_{helper.name} while a lock is held: unlock it first")
    if helper.builtin == "tail_call":
        failure = check_released(state, "a tail call leaves the program")
        if failure is not None:
            return failure
    if helper.prototype.gpl_only and platform.spec.license not in _GPL:
        return Failure(
            FailureCode.HELPER,
            f"bpf_{helper.name} is for GPL programs; the license is {platform.spec.license!r}: declare a compatible one, or do without",
        )
    for position, arg in enumerate(helper.prototype.args, 1):
        failure = _argument(platform, state, helper, position, arg)
        if failure is not None:
            return Failure(failure.code, f"argument {position} of bpf_{helper.name}: {failure.message}")
    return None


def map_argument(helper: Helper, state: State) -> int | None:
    """The map that the call works on, or None."""
    for position, arg in enumerate(helper.prototype.args, 1):
        if arg.type is ArgType.CONST_MAP:
            return state.registers[position].target
    return None


def memory_size(platform: Platform, state: State, helper: Helper, position: int) -> int:
    """The largest size in bytes of the memory argument at `position`."""
    arg = helper.prototype.args[position - 1]
    if arg.type in (ArgType.MAP_KEY, ArgType.MAP_VALUE):
        index = map_argument(helper, state)
        spec = platform.maps[index or 0]
        return spec.key_size if arg.type is ArgType.MAP_KEY else spec.value_size
    if arg.type is ArgType.FIXED_MEMORY:
        return arg.size
    if arg.type in (ArgType.INT, ArgType.LONG):
        return 4 if arg.type is ArgType.INT else 8
    return state.registers[position + 1].number.umax


def _argument(platform: Platform, state: State, helper: Helper, position: int, arg: Arg) -> Failure | None:
    value = state.registers[position]
    if value.kind is Kind.UNINIT:
        return Failure(FailureCode.UNINIT_REG, f"r{position} was not written on this path: set it first")
    if arg.type not in _RUNNABLE:
        return _bad(f"arguments of type {arg.type.value} are not supported")
    match arg.type:
        case ArgType.ANYTHING:
            if value.kind is not Kind.NUMBER and not arg.address and platform.policy.leaks == "reject":
                return Failure(
                    FailureCode.LEAK, f"r{position} is {value.kind.words} where a number is expected: pass a number"
                )
            return None
        case ArgType.CONTEXT:
            if arg.nullable and value.kind is Kind.NUMBER and value.number.const == 0:
                return None
            if value.kind is not Kind.CONTEXT or value.offset:
                moved = f", moved by {value.offset}" if value.offset else ""
                return _bad(
                    f"r{position} is {value.kind.words}{moved}; the context as the program got it is wanted: pass the context itself, not a member of it"
                )
            return None
        case _ if arg.type in OBJECT_ARGUMENTS:
            return check_object(platform, state, helper, position, arg)
        case ArgType.CONST_ALLOC_SIZE:
            return check_allocation(value, position)
        case ArgType.CONST_MAP:
            return _map(platform, value, helper, position)
        case ArgType.CONST_SIZE | ArgType.CONST_SIZE_OR_ZERO:
            return _size(value, position, arg)
        case ArgType.CALLBACK:
            return None if value.kind is Kind.FUNCTION else _bad(f"r{position} is {value.kind.words}, not a function")
        case ArgType.STACK:
            null = value.kind is Kind.NUMBER and value.number.const == 0 and arg.nullable
            if null or value.kind is Kind.STACK:
                return None
            return _bad(f"r{position} is {value.kind.words}; a pointer to the stack is wanted, or 0")
        case ArgType.CONST_STRING:
            return _string(platform, value, position)
        case ArgType.MAP_VALUE if _is_of_objects(platform, state, helper):
            return check_object(platform, state, helper, position, _SOCKET)
        case _:
            return _memory(platform, state, helper, position, arg)


def _is_of_objects(platform: Platform, state: State, helper: Helper) -> bool:
    """Whether the call puts an object of the kernel into a map, not bytes."""
    index = map_argument(helper, state)
    kind = None if index is None else platform.kinds[index]
    return kind is not None and bool(kind.changed_by)


def _string(platform: Platform, value: Value, position: int) -> Failure | None:
    """A string that never changes: in frozen data, with its end."""
    if value.kind is Kind.MAP_VALUE and value.number.const is not None:
        start = value.offset + value.number.smin
        text = platform.constant_bytes(value.target, start, platform.maps[value.target].value_size - start)
        if text is not None and 0 in text:
            return None
    return _bad(f"r{position} is {value.kind.words}; a constant string with its end is wanted")


def _map(platform: Platform, value: Value, helper: Helper, position: int) -> Failure | None:
    if value.kind is not Kind.MAP:
        return _bad(f"r{position} is {value.kind.words}; a map is wanted")
    spec, kind = platform.maps[value.target], platform.kinds[value.target]
    if kind is None:
        return _bad(f"map {spec.name!r} is of a type that is not known here")
    if helper.builtin == "tail_call":
        return (
            None
            if kind.value_is == "program"
            else _bad(f"map {spec.name!r} is no program array: declare it as BPF_MAP_TYPE_PROG_ARRAY")
        )
    if kind.value_is == "map" and platform.inner(value.target) is None:
        return _bad(f"the object does not say what the maps inside {spec.name!r} are like")
    op = helper.map_op
    if op is None:
        if helper.callback is not None and helper.callback.elements and spec.kind not in helper.map_types:
            return _bad(f"bpf_{helper.name} does not visit maps of type {kind.name}, which {spec.name!r} is")
        anything = not helper.map_types and (helper.native or helper.builtin)
        if anything or spec.kind in helper.map_types:
            return None
        return _bad(f"bpf_{helper.name} does not take a map of type {kind.name}, which {spec.name!r} is")
    found = op is MapOp.LOOKUP and (kind.value_is in _LOOKED_UP or kind.struct)
    changed = platform.program_type.name in kind.changed_by.get(op, ())
    if op not in kind.ops or not (kind.value_is == "data" or op is MapOp.REDIRECT or found or changed):
        return _bad(f"map {spec.name!r} ({kind.name}) does not allow {op.value} from programs")
    if (
        op in (MapOp.UPDATE, MapOp.DELETE)
        and not changed
        and not (kind.program_writable and platform.map_writable(value.target))
    ):
        return Failure(FailureCode.READ_ONLY, f"map {spec.name!r} is read-only for programs")
    return None


def _size(value: Value, position: int, arg: Arg) -> Failure | None:
    if value.kind is not Kind.NUMBER:
        return _bad(f"r{position} is {value.kind.words}; a size is wanted")
    scalar = value.number
    if scalar.smin < 0:
        return _bad(
            f"r{position}, a size, is at least {scalar.smin} and may be negative: make it unsigned, or check that it is positive"
        )
    if scalar.umax >= _MAX_SIZE:
        return _bad(
            f"r{position}, a size, is up to {scalar.umax}: compare it with the size of the buffer first, or mask it"
        )
    if scalar.umin == 0 and arg.type is ArgType.CONST_SIZE:
        return _bad(f"r{position}, a size, is in [0, {scalar.umax}] and may not be 0: leave when it is 0 first")
    return None


def _memory(platform: Platform, state: State, helper: Helper, position: int, arg: Arg) -> Failure | None:
    value = state.registers[position]
    args = helper.prototype.args
    sized = position < len(args) and args[position].type in _SIZES
    if sized:
        length = state.registers[position + 1]
        if length.kind is Kind.UNINIT:
            return Failure(FailureCode.UNINIT_REG, f"r{position + 1} was not written on this path: set it first")
        failure = _size(length, position + 1, args[position])
        if failure is not None:
            return failure
    size = memory_size(platform, state, helper, position)
    if value.kind is Kind.NUMBER:
        if value.number.const == 0 and arg.nullable:
            return None if not sized or size == 0 else _bad(f"r{position} is null and r{position + 1} is not 0")
        return _bad(f"r{position} is a number; a pointer to {size} bytes is wanted: pass the address of a variable")
    if value.kind in _REGIONS and not (
        helper.prototype.packet_access and platform.program_type.context.region_in_helpers
    ):
        return _bad(f"r{position} points into the packet, which this helper does not take")
    if value.kind in (Kind.CONTEXT, Kind.OBJECT):
        return _bad(f"r{position} is {value.kind.words}; a pointer to {size} bytes is wanted")
    write = arg.writes or arg.type is ArgType.UNINIT_MEMORY
    if size == 0:
        return None
    failure = check_memory(platform, state, value, 0, size, write=write, register=position, direct=False)
    if failure is None and arg.type is not ArgType.UNINIT_MEMORY:
        failure = clean(state, value, size)
    return failure


def clean(state: State, value: Value, size: int) -> Failure | None:
    """A helper never sees a pointer that was spilled."""
    if value.kind is not Kind.STACK:
        return None
    low, high = stack_range(value, 0, size)
    stack = state.stack_of(value.target)
    for index, mask in stack_bytes(low, high):
        slot = stack.get(index)
        if slot is not None and slot.rest & mask:
            return Failure(FailureCode.LEAK, f"bytes at fp{index * 8:+} are left of a pointer")
        if slot is not None and slot.value is not None and slot.value.kind is not Kind.NUMBER:
            return Failure(
                FailureCode.LEAK,
                f"bytes at fp{index * 8:+} hold {slot.value.kind.words}, an address: store a number there",
            )
    return None
