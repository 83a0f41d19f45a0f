"""What calls and returns do to a state.

Not here: whether a call is allowed (arguments.py).
"""

from __future__ import annotations

from typing import Final

from runtime.isa import LoadPacket
from runtime.spec import ArgType, Helper, MapFlag, MapOp, ReturnType
from runtime.verifier.arguments import map_argument, memory_size
from runtime.verifier.callbacks import come_back, push_frame
from runtime.verifier.demand import need, read, slot_bit, slot_needs
from runtime.verifier.domains import DOMAIN
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.memory import clobber_stack, stack_bytes, stack_range
from runtime.verifier.objects import object_result
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.references import lock_of, release
from runtime.verifier.state import Frame, Slot, State
from runtime.verifier.values import STALE, UNINIT, UNKNOWN, ZERO, Kind, Value, number

__all__ = ["call_function", "call_helper", "leave", "load_packet", "tail_called", "void_packet"]

_CALLER_SAVED: Final = range(1, 6)
_MAX_ERRNO: Final = 4095
_PACKET_KINDS: Final = frozenset({Kind.PACKET, Kind.PACKET_END, Kind.PACKET_META})
_FILLED: Final = (ArgType.UNINIT_MEMORY, ArgType.INT, ArgType.LONG)
_CHANGED: Final = (*_FILLED, ArgType.SPIN_LOCK, ArgType.TIMER, ArgType.KPTR)
_WRITING: Final = frozenset({MapOp.UPDATE, MapOp.DELETE, MapOp.PUSH, MapOp.POP})


def call_helper(platform: Platform, notebook: Notebook, state: State, pc: int, helper: Helper) -> None:
    """Carry out a helper call; what it calls back is told in callbacks.py."""
    notebook.helpers[helper.id] = helper
    _note(notebook, state, pc, helper)
    result = _result(platform, notebook, state, helper)
    _write_memory(platform, notebook, state, helper)
    if helper.prototype.invalidates_packet:
        void_packet(state)
    _settle(state, helper)
    registers = state.registers
    for register in _CALLER_SAVED:
        registers[register] = UNINIT
    registers[0] = result


def _settle(state: State, helper: Helper) -> None:
    """What the call gives back, locks or unlocks."""
    for position, arg in enumerate(helper.prototype.args, 1):
        if arg.releases and state.registers[position].ref:
            release(state, state.registers[position].ref)
    if helper.prototype.locks:
        state.lock = lock_of(state.registers[1])
    elif helper.prototype.unlocks:
        state.lock = None


def void_packet(state: State) -> None:
    """Every packet pointer, and every distance to the packet's end, is void."""
    state.replace(lambda v: STALE if v.kind in _PACKET_KINDS else v._replace(length=None) if v.length else v)
    state.room.clear()


def tail_called(state: State, pc: int) -> State | None:
    """The state in which a function was left by a tail call that went through; None in the entry function."""
    if not state.frames:
        return None
    if any(frame.callback is not None for frame in state.frames):
        raise Rejected(Failure(FailureCode.HELPER, "a callback makes a tail call"), pc)
    twin = state.fork()
    void_packet(twin)
    twin.registers[0] = UNKNOWN
    return twin


def load_packet(notebook: Notebook, state: State, load: LoadPacket) -> State:
    """Carry out a packet load of classic BPF; returns the state in which it has ended the function instead, with 0."""
    notebook.reads_packet = True
    ended = state.fork()
    ended.registers[0] = number(ZERO, 0)
    for register in _CALLER_SAVED:
        state.registers[register] = UNINIT
    state.registers[0] = number(DOMAIN.truncate(DOMAIN.unknown, load.size.bytes * 8), 0)
    return ended


def _note(notebook: Notebook, state: State, pc: int, helper: Helper) -> None:
    notebook.writes_packet |= helper.writes_packet
    notebook.moves_packet |= helper.moves_packet
    index = map_argument(helper, state)
    if index is not None:
        notebook.call_maps[pc].add(index)
        if helper.map_op in _WRITING or helper.native is not None:  # what a native does to a map, its row does not say
            notebook.maps_written.add(index)
    for position, arg in enumerate(helper.prototype.args, 1):
        value = state.registers[position]
        if value.kind is Kind.NUMBER and arg.type is not ArgType.ANYTHING:
            need(state, value.needs)
        if value.kind in (Kind.PACKET, Kind.PACKET_META):
            notebook.reads_packet = True
            notebook.writes_packet |= arg.writes or arg.type is ArgType.UNINIT_MEMORY
        elif value.kind is Kind.MAP_VALUE and (arg.writes or arg.type in _CHANGED):
            notebook.maps_written.add(value.target)


def _result(platform: Platform, notebook: Notebook, state: State, helper: Helper) -> Value:
    match helper.prototype.ret:
        case ReturnType.INTEGER:
            bounds = helper.prototype.returns
            if helper.prototype.at_most:
                size = state.registers[helper.prototype.at_most]
                return number(DOMAIN.signed_range(-_MAX_ERRNO, size.number.umax), size.needs)
            return UNKNOWN if bounds is None else number(DOMAIN.signed_range(*bounds), 0)
        case ReturnType.VOID:
            return UNINIT
        case ReturnType.MAP_VALUE_OR_NULL | ReturnType.MAP_VALUE:
            index = map_argument(helper, state)
            assert index is not None
            return _found(platform, notebook, state, helper, index)
        case _:
            return object_result(platform, notebook, state, helper)


def _found(platform: Platform, notebook: Notebook, state: State, helper: Helper, index: int) -> Value:
    """What a lookup in a map gives: a value, or a map or an object in its place."""
    kind, inner = platform.kinds[index], platform.inner(index)
    ident = notebook.fresh_id()
    if kind is not None and kind.value_is == "map" and inner is not None:
        return Value(Kind.MAP_OR_NULL, ZERO, 0, ident, inner)
    if kind is not None and kind.struct:
        struct = platform.struct(kind.struct)
        assert struct is not None
        if kind.acquires:
            state.references = (*state.references, ident)
        return Value(Kind.OBJECT_OR_NULL, ZERO, 0, ident, struct, ref=ident if kind.acquires else 0)
    ident = -ident if platform.lockable(index) else ident
    if helper.prototype.ret is ReturnType.MAP_VALUE or _always_found(platform, state, helper, index):
        return Value(Kind.MAP_VALUE, ZERO, 0, min(ident, 0), index)
    return Value(Kind.MAP_VALUE_OR_NULL, ZERO, 0, ident, index)


def _always_found(platform: Platform, state: State, helper: Helper, index: int) -> bool:
    """A constant index below the size of an array cannot miss."""
    kind, key = platform.kinds[index], state.registers[2]
    if helper.map_op is not MapOp.LOOKUP or kind is None or not kind.bounded_array or kind.per_cpu:
        return False
    if platform.maps[index].flags & MapFlag.INNER_MAP:  # a map inside a map may be shorter
        return False
    if key.kind is not Kind.STACK or key.number.const is None or key.offset % 8 not in (0, 4):
        return False
    low, _ = stack_range(key, 0, 4)
    slot = state.stack_of(key.target).get(low // 8)
    if slot is None:
        return False
    read(state, slot_bit(key.target, low // 8))
    need(state, slot_needs(state, key.target, low // 8, slot))
    first = low % 8
    if slot.value is not None:
        known = slot.value.number.const if slot.value.kind is Kind.NUMBER and first + 4 <= slot.size else None
        return known is not None and (known >> 8 * first) & 0xFFFFFFFF < platform.maps[index].max_entries
    mask = 0xF << first
    return slot.zero & mask == mask and platform.maps[index].max_entries > 0


def _write_memory(platform: Platform, notebook: Notebook, state: State, helper: Helper) -> None:
    for position, arg in enumerate(helper.prototype.args, 1):
        value = state.registers[position]
        reads = arg.type in (ArgType.MAP_KEY, ArgType.MAP_VALUE, ArgType.MEMORY, ArgType.FIXED_MEMORY)
        writes = arg.writes or arg.type in _FILLED
        if value.kind is not Kind.STACK or not (reads or writes):
            continue
        size = memory_size(platform, state, helper, position)
        low, high = stack_range(value, 0, size)
        notebook.deepen(state.starts[value.target], low)
        stack = state.stack_of(value.target)
        if reads:
            for index, mask in stack_bytes(low, high):
                read(state, slot_bit(value.target, index))
                if stack.get(index, Slot(0)).written & mask != mask:
                    notebook.reads_uninitialised_stack = True
        if writes:
            unwritten = any(stack.get(index, Slot(0)).written & mask != mask for index, mask in stack_bytes(low, high))
            notebook.leaves_stack_unwritten |= unwritten  # the helper may fail
            certain = value.number.const is not None and _size_is_constant(state, helper, position)
            clobber_stack(state, value.target, low, high, certain=certain)


def _size_is_constant(state: State, helper: Helper, position: int) -> bool:
    args = helper.prototype.args
    if position < len(args) and args[position].type in (ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO):
        return state.registers[position + 1].number.const is not None
    return True


def call_function(state: State, pc: int, target: int) -> int:
    """Enter a function of the program; returns where it starts."""
    push_frame(state, Frame(state.registers, state.stack, pc + 1), pc, target)
    return target


def leave(platform: Platform, state: State) -> int | None:
    """Return from a function; the slot where the caller goes on, or None where the path ends."""
    if not state.frames:
        if platform.program_type.returns is not None:
            need(state, state.registers[0].needs)
        return None
    frame = state.frames[-1]
    if frame.callback is not None:
        return come_back(state)
    result, depth = state.registers[0], state.depth
    state.frames = state.frames[:-1]
    state.starts = state.starts[:-1]
    state.registers, state.stack = frame.registers, frame.stack
    state.registers[0] = result
    for register in _CALLER_SAVED:
        state.registers[register] = UNINIT
    state.replace(lambda v: UNINIT if v.kind is Kind.STACK and v.target >= depth else v)
    return frame.resume
