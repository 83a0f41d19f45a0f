"""Closures for loads and stores: the stack at constant places, the packet where bytes are proven, map values, fields of numbers.

Not here: atomics, and whatever needs a message. The first access of an instruction to a kind of memory always goes the generic way,
which notes what there is to note; a map value or a field is judged once, since the state has no part in that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from runtime.isa import Load, Reg, Store
from runtime.spec import FieldKind
from runtime.verifier.compiled_values import GENERIC, NUMBER, Closure, Run, linked
from runtime.verifier.demand import ROOMS, depending, need, read, slot_bit
from runtime.verifier.domains import DOMAIN
from runtime.verifier.memory import read_stack, write_stack
from runtime.verifier.platform import Platform
from runtime.verifier.state import FRAME_POINTER, PACKET_BASE, STACK_SIZE, Slot, State
from runtime.verifier.values import ZERO, Kind, Value, number

__all__ = ["load", "store"]

_FULL: Final = 0xFF
_REST: Final = Slot(_FULL, 0, None, 8)[4:]
_PACKETS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})
_STACK: Final = Kind.STACK
_MAP_VALUE: Final = Kind.MAP_VALUE
_CONTEXT: Final = Kind.CONTEXT
_SPILLED: Final = frozenset({Kind.CONTEXT, Kind.PACKET, Kind.PACKET_END, Kind.PACKET_META, Kind.MAP, Kind.MAP_VALUE})
_Rule = Callable[[State, Value], int]


def load(run: Run, pc: int, instruction: Load) -> Closure | None:
    """A load through any register."""
    dst, src, size, following = instruction.dst, instruction.src, instruction.size.bytes, pc + 1
    if dst == FRAME_POINTER:
        return None
    unknown = DOMAIN.truncate(DOMAIN.unknown, size * 8)
    fresh = number(DOMAIN.sign_extend(unknown, size * 8, 64) if instruction.signed else unknown, 0)
    stack = _stack_load(run, pc, instruction)
    context = _context_load(run, pc, instruction, fresh)
    judged: set[tuple[int, int, object]] = set()
    offset = instruction.offset

    def closure(state: State) -> int:
        base = state.registers[src]
        kind = base.kind
        if kind is _STACK:
            return stack(state, base)
        if kind is _CONTEXT:
            return context(state, base)
        notebook = run.notebook
        if kind not in notebook.reached.get(pc, ()):
            return GENERIC
        if kind in _PACKETS:
            start = base.offset + offset
            if base.number.smin < 0 or start < 0 or start + size > state.room.get(base.id, 0):
                return GENERIC
            notebook.reads_packet = True
        elif kind is _MAP_VALUE:
            key = (base.target, base.offset, base.number)
            if key not in judged:
                if _may_be_constant(run.platform, base.target):
                    return GENERIC
                run.judge(state, pc)
                judged.add(key)
        else:
            return GENERIC
        notebook.constants[pc] = None
        state.registers[dst] = fresh
        return following

    return closure


def _may_be_constant(platform: Platform, index: int) -> bool:
    return platform.maps[index].frozen


def _stack_load(run: Run, pc: int, instruction: Load) -> _Rule:
    dst, size, offset, following = instruction.dst, instruction.size.bytes, instruction.offset, pc + 1
    signed = instruction.signed

    def rule(state: State, base: Value) -> int:
        notebook = run.notebook
        low = base.offset + offset
        if base.number is not ZERO or low % size or signed or _STACK not in notebook.reached.get(pc, ()):
            return GENERIC
        frame = base.target
        if notebook.stack[state.starts[frame]] < -low or low + size > 0:
            return GENERIC
        index = low >> 3
        slot = state.stack_of(frame).get(index)
        if slot is None or slot.rest:
            return GENERIC
        spilled = slot.value
        if spilled is not None and slot.size == size and not low & 7 and (size == 8 or spilled.kind is NUMBER):
            value = _filled(state, slot_bit(frame, index), spilled)
        else:
            found = read_stack(notebook, state, frame, low, size)
            if found is None:
                return GENERIC
            value = found
        notebook.constants[pc] = None
        state.registers[dst] = value
        return following

    return rule


def _filled(state: State, bit: int, value: Value) -> Value:
    """What was spilled whole."""
    if state.written & bit:
        return value
    read(state, bit)
    return value if value.kind is not NUMBER or value.needs == bit else depending(value, bit)


def _context_load(run: Run, pc: int, instruction: Load, fresh: Value) -> _Rule:
    dst, following = instruction.dst, pc + 1
    field = run.platform.program_type.context.field_at(instruction.offset, instruction.size.bytes)
    kind = None if field is None else field.kind
    made = {
        FieldKind.SCALAR: fresh,
        FieldKind.REGION: Value(Kind.PACKET, ZERO, 0, PACKET_BASE),
        FieldKind.REGION_END: Value(Kind.PACKET_END, ZERO),
    }
    value = None if kind is None else made.get(kind)

    def rule(state: State, base: Value) -> int:
        notebook = run.notebook
        if value is None or base.offset or notebook.context_fields.get(pc) is not field:
            return GENERIC
        if kind is FieldKind.REGION:
            need(state, ROOMS)
        notebook.constants[pc] = None
        state.registers[dst] = value
        return following

    return rule


def store(run: Run, pc: int, instruction: Store) -> Closure | None:
    """A store of a number through any register, or of a pointer to the stack."""
    dst, size, offset, following = instruction.dst, instruction.size.bytes, instruction.offset, pc + 1
    source = instruction.src.index if isinstance(instruction.src, Reg) else None
    immediate = number(ZERO if isinstance(instruction.src, Reg) else DOMAIN.const(instruction.src.value), 0)
    writable = run.platform.program_type.context.region_writable
    stack = _stack_store(run, pc, instruction)
    judged: set[tuple[int, int, object]] = set()

    def closure(state: State) -> int:
        registers = state.registers
        base = registers[dst]
        kind = base.kind
        value = immediate if source is None else registers[source]
        notebook = run.notebook
        if kind not in notebook.reached.get(pc, ()):
            return GENERIC
        if kind is _STACK:
            return stack(state, base, value)
        if value.kind is not NUMBER:
            return GENERIC
        if kind in _PACKETS:
            start = base.offset + offset
            if not writable or base.number.smin < 0 or start < 0 or start + size > state.room.get(base.id, 0):
                return GENERIC
            notebook.writes_packet = True
            return following
        if kind is _MAP_VALUE:
            key = (base.target, base.offset, base.number)
            if key not in judged:
                run.judge(state, pc)
                judged.add(key)
            notebook.maps_written.add(base.target)
            return following
        return GENERIC

    return closure


def _stack_store(run: Run, pc: int, instruction: Store) -> Callable[[State, Value, Value], int]:
    size, offset, following = instruction.size.bytes, instruction.offset, pc + 1
    source = instruction.src.index if isinstance(instruction.src, Reg) else None

    def rule(state: State, base: Value, value: Value) -> int:
        low = base.offset + offset
        if base.number is not ZERO or low % size or low < -STACK_SIZE or low + size > 0:
            return GENERIC
        frame = base.target
        if run.notebook.stack[state.starts[frame]] < -low:
            return GENERIC
        if value.kind is NUMBER:
            if source is not None:
                value = linked(run.notebook, state.registers, source)
        elif size != 8 or value.kind not in _SPILLED:
            return GENERIC
        if size == 8:
            index = low >> 3
            state.written |= slot_bit(frame, index)
            state.stack_of(frame)[index] = tuple.__new__(Slot, (_FULL, 0, value, 8) + _REST)  # noqa: RUF005
        else:
            write_stack(state, frame, low, size, value)
        return following

    return rule
