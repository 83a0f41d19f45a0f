"""Global functions on their own: verified once from what BTF says of their parameters, and calls of them judged by that alone.

Not here: calls that are followed (transfer_call.py), which is what happens first; see prove.py. The rules are those of Linux: a
number is any number, the context is the context, other pointers lead to memory of the size of what they point to, or are null.
"""

from __future__ import annotations

from typing import Final

from runtime.isa import CallHelper, CallLocal, LoadFunction
from runtime.spec import Callback, Parameter, Signature, Subprogram
from runtime.verifier.demand import need, read, slot_bit, slot_needs
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.flow import Graph
from runtime.verifier.memory import check_memory, clobber_stack, stack_bytes, stack_range
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.state import FRAME_POINTER, Frame, Slot, State
from runtime.verifier.transfer_call import void_packet
from runtime.verifier.values import CONTEXT, NOT_NULL, UNINIT, UNKNOWN, ZERO, Kind, Value

__all__ = ["alone", "call_by_signature", "check_unlocked", "global_functions", "movers"]

_ALONE: Final = Callback(function=0, given=(), returns=(0, (1 << 64) - 1), later=True)
_MOST: Final = 5
_REGIONS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})


def global_functions(graph: Graph) -> dict[int, Subprogram]:
    """The functions that can be verified on their own, by start; never the entry."""
    return {start: each for start, each in graph.starts.items() if start and each.is_global and each.signature}


def movers(platform: Platform, graph: Graph) -> frozenset[int]:
    """The functions that may move the packet, by start: those that call a helper which does, and their callers.

    Who names a function may hand it to a helper that calls it.
    """
    moving: set[int] = set()
    calls: list[tuple[int, int]] = []
    for pc, each in enumerate(platform.spec.code):
        match each:
            case CallHelper(number):
                helper = platform.helper(number)
                if helper is not None and helper.prototype.invalidates_packet:
                    moving.add(graph.function[pc])
            case CallLocal(offset) | LoadFunction(_, offset):
                calls.append((graph.function[pc], pc + 1 + offset))
            case _:
                pass
    grown = True
    while grown:
        found = {caller for caller, callee in calls if callee in moving} - moving
        moving |= found
        grown = bool(found)
    return frozenset(moving)


def alone(platform: Platform, notebook: Notebook, function: Subprogram) -> State:
    """The state in which a function begins of which only the signature is known; raises Rejected."""
    signature = _signature(function)
    state = State()
    registers = [UNINIT] * 11
    for position, parameter in enumerate(signature.parameters, 1):
        registers[position] = _given(platform, notebook, function, position, parameter)
    registers[FRAME_POINTER] = Value(Kind.STACK, ZERO, 0, 0, 1)
    state.frames = (Frame([UNINIT] * 11, {}, function.start, _ALONE),)
    state.starts = (function.start, function.start)
    state.registers = registers
    return state


def _signature(function: Subprogram) -> Signature:
    signature = function.signature
    if signature is None or not signature.scalar or len(signature.parameters) > _MOST:
        raise _refused(function, "does not return a number", function.start)
    return signature


def _refused(function: Subprogram, why: str, pc: int) -> Rejected:
    return Rejected(Failure(FailureCode.CALL, f"the global function {function.name} {why}"), pc)


def _given(platform: Platform, notebook: Notebook, function: Subprogram, position: int, parameter: Parameter) -> Value:
    if not parameter.pointer:
        return UNKNOWN
    if _is_context(platform, parameter):
        return CONTEXT
    if not parameter.size or parameter.tags - {"nonnull"}:
        raise _refused(function, f"has a parameter {position} of a type that is not followed", function.start)
    if "nonnull" in parameter.tags:
        return Value(Kind.MEMORY, ZERO, 0, 0, parameter.size)
    return Value(Kind.MEMORY_OR_NULL, ZERO, 0, notebook.fresh_id(), parameter.size)


def _is_context(platform: Platform, parameter: Parameter) -> bool:
    return "ctx" in parameter.tags or parameter.struct == platform.program_type.context.name


def check_unlocked(state: State, pc: int, function: Subprogram) -> None:
    """Global functions are not called under a lock, as nobody knows how long they take; raises Rejected."""
    if state.lock is not None and function.is_global:
        message = f"calls the global function {function.name} while a lock is held: unlock it first, or make it static"
        raise Rejected(Failure(FailureCode.LOCK, message), pc)


def call_by_signature(
    platform: Platform, notebook: Notebook, state: State, pc: int, function: Subprogram, *, moves: bool
) -> None:
    """Call a function that is verified on its own: judge the arguments, forget what it may change; raises Rejected.

    `moves`: it may move the packet, which makes every pointer into it void, also what it would have been lent.
    """
    for position, parameter in enumerate(_signature(function).parameters, 1):
        failure = _argument(platform, notebook, state, position, parameter)
        if failure is None and moves and parameter.pointer and state.registers[position].kind in _REGIONS:
            message = f"r{position} points into the packet, which the function may move: copy the bytes to the stack"
            failure = Failure(FailureCode.STALE_POINTER, message)
        if failure is not None:
            message = f"argument {position} of the global function {function.name}: {failure.message}"
            raise Rejected(Failure(failure.code, message), pc)
    for register in range(1, 6):
        state.registers[register] = UNINIT
    state.registers[0] = UNKNOWN
    if moves:
        void_packet(state)


def _argument(
    platform: Platform, notebook: Notebook, state: State, position: int, parameter: Parameter
) -> Failure | None:
    value = state.registers[position]
    if value.kind is Kind.UNINIT:
        return Failure(FailureCode.UNINIT_REG, f"r{position} was not written on this path: set it first")
    if not parameter.pointer:
        return _wanted(value, Kind.NUMBER, position)
    if _is_context(platform, parameter):
        if value.kind is Kind.CONTEXT and value.offset:
            return Failure(FailureCode.CONTEXT, f"r{position} is the context, moved by {value.offset}")
        return _wanted(value, Kind.CONTEXT, position)
    nullable = "nonnull" not in parameter.tags
    if nullable and value.kind is Kind.NUMBER and value.number is ZERO:
        need(state, value.needs)
        return None
    if nullable and value.kind in (Kind.MAP_VALUE_OR_NULL, Kind.MEMORY_OR_NULL):
        value = value._replace(kind=NOT_NULL[value.kind])
    failure = check_memory(platform, state, value, 0, parameter.size, write=True, register=position, direct=False)
    if failure is None:
        failure = check_memory(platform, state, value, 0, parameter.size, write=False, register=position, direct=False)
    if failure is None and value.kind is Kind.STACK:
        failure = _lend_stack(notebook, state, value, parameter.size)
    if value.kind in _REGIONS:
        notebook.reads_packet = notebook.writes_packet = True
    elif value.kind is Kind.MAP_VALUE:
        notebook.maps_written.add(value.target)
    return failure


def _wanted(value: Value, kind: Kind, position: int) -> Failure | None:
    if value.kind is kind:
        return None
    return Failure(FailureCode.HELPER_ARG, f"r{position} is {value.kind.words}; {kind.words} is wanted")


def _lend_stack(notebook: Notebook, state: State, value: Value, size: int) -> Failure | None:
    """The function may read and write these bytes of the caller's stack."""
    low, high = stack_range(value, 0, size)
    notebook.deepen(state.starts[value.target], low)
    stack = state.stack_of(value.target)
    for index, mask in stack_bytes(low, high):
        slot = stack.get(index, Slot(0))
        if slot.secret & mask:
            return Failure(FailureCode.LEAK, f"bytes at fp{index * 8:+} hold a pointer: store a number there")
        read(state, slot_bit(value.target, index))
        need(state, slot_needs(state, value.target, index, slot))
        if slot.written & mask != mask:
            notebook.reads_uninitialised_stack = True
    clobber_stack(state, value.target, low, high, certain=False)
    return None
