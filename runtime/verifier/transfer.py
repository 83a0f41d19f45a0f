"""What instructions do to a state; every obligation has been judged, so nothing is checked again.

Not here: branches and calls (transfer_branch.py, transfer_call.py).
"""

from __future__ import annotations

from typing import Final, assert_never

from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    ByteSwap,
    Imm,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    MoveSigned,
    Negate,
    Operand,
    Reg,
    Store,
)
from runtime.spec import ContextField, FieldKind
from runtime.verifier.demand import ROOMS, need, read, slot_bit
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.memory import clobber_stack, read_stack, stack_bytes, stack_range, write_stack
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.state import META_BASE, PACKET_BASE, Slot, State
from runtime.verifier.values import MAX_LENGTH, UNKNOWN, ZERO, Kind, Length, Progress, Value, number

__all__ = ["Plain", "compute", "step"]

_DATA: Final = frozenset({Kind.PACKET, Kind.PACKET_META, Kind.PACKET_END})
_LENGTH = DOMAIN.signed_range(-MAX_LENGTH, MAX_LENGTH)
_WORD32: Final = (1 << 32) - 1
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1

Plain = Alu | MoveSigned | Negate | ByteSwap | LoadImm64 | LoadMap | LoadMapValue | LoadFunction | Load | Store | Atomic


def step(platform: Platform, notebook: Notebook, state: State, pc: int, instruction: Plain) -> None:
    """Change the state as the instruction does."""
    registers = state.registers
    match instruction:
        case Alu(op=AluOp.MOV):
            _move(notebook, registers, instruction, leaky=platform.policy.leaks == "warn")
        case Alu():
            _alu(notebook, state, instruction)
        case MoveSigned(width=width, bits=bits, dst=dst, src=source):
            value = registers[source]
            extended = DOMAIN.sign_extend(value.number, bits, width)
            registers[dst] = value if extended is value.number else number(extended, value.needs)
        case Negate(width, dst):
            value = _as_number(registers[dst])
            registers[dst] = number(DOMAIN.negate(width, value.number), value.needs)
        case ByteSwap(kind=kind, bits=bits, dst=dst):
            value = _as_number(registers[dst])
            registers[dst] = number(DOMAIN.byteswap(kind, bits, value.number), value.needs)
        case LoadImm64(dst, value):
            registers[dst] = number(DOMAIN.const(value), 0)
        case LoadMap(dst, index):
            notebook.maps.add(index)
            registers[dst] = Value(Kind.MAP, ZERO, 0, 0, index)
        case LoadMapValue(dst=dst, map=index, offset=offset):
            notebook.maps.add(index)
            registers[dst] = Value(Kind.MAP_VALUE, ZERO, offset, 0, index)
        case LoadFunction(dst, offset):
            registers[dst] = Value(Kind.FUNCTION, ZERO, 0, 0, pc + 1 + offset)
        case Load():
            registers[instruction.dst] = _load(platform, notebook, state, pc, instruction)
        case Store():
            _store(platform, notebook, state, pc, instruction)
        case Atomic():
            _atomic(platform, notebook, state, pc, instruction)
        case _:
            assert_never(instruction)


def _as_number(value: Value) -> Value:
    """An address that may be known counts as any number."""
    return value if value.kind is Kind.NUMBER else UNKNOWN


def _linked(notebook: Notebook, registers: list[Value], source: int) -> Value:
    """The number in a register, made comparable with copies of it."""
    value = registers[source]
    if value.kind is Kind.NUMBER and not value.id and value.number.const is None:
        value = registers[source] = value._replace(id=notebook.fresh_id(), offset=0)
    return value


def _move(notebook: Notebook, registers: list[Value], move: Alu, *, leaky: bool) -> None:
    match move.src:
        case Imm(immediate):
            wide = immediate if move.width == 64 else immediate & _WORD32
            registers[move.dst] = number(DOMAIN.const(wide), 0)
        case Reg(source):
            value = registers[source]
            if move.width == 64:
                registers[move.dst] = _linked(notebook, registers, source)
            elif value.kind is not Kind.NUMBER and not leaky:
                registers[move.dst] = Value(Kind.HALF, ZERO)
            elif value.kind is not Kind.NUMBER:
                registers[move.dst] = number(DOMAIN.truncate(DOMAIN.unknown, 32), 0)
            elif value.number.umax <= _WORD32:
                registers[move.dst] = _linked(notebook, registers, source)
            else:
                registers[move.dst] = number(DOMAIN.truncate(value.number, 32), value.needs)
        case _:
            assert_never(move.src)


def _operand(registers: list[Value], src: Operand, width: int) -> Value:
    match src:
        case Reg(index):
            return registers[index]
        case Imm(value):
            return number(DOMAIN.const(value if width == 64 else value & _WORD32), 0)
        case _:
            assert_never(src)


def _alu(notebook: Notebook, state: State, alu: Alu) -> None:
    registers = state.registers
    left, right = registers[alu.dst], _operand(registers, alu.src, alu.width)
    if left.kind is Kind.NUMBER and right.kind is Kind.NUMBER:
        registers[alu.dst] = compute(alu, left, right)
    elif alu.width == 32 and Kind.NUMBER in (left.kind, right.kind):
        registers[alu.dst] = Value(Kind.HALF, ZERO)
    elif alu.width == 32:
        registers[alu.dst] = number(DOMAIN.truncate(DOMAIN.unknown, 32), 0)
    elif right.kind is Kind.NUMBER:
        registers[alu.dst] = _moved(notebook, state, left, right, alu.op)
    elif left.kind is Kind.NUMBER:
        registers[alu.dst] = _moved(notebook, state, right, left, alu.op)
    else:
        registers[alu.dst] = _distance(left, right)


def compute(alu: Alu, left: Value, right: Value) -> Value:
    """`left OP right` of two numbers."""
    result = DOMAIN.alu(alu.op, alu.width, left.number, right.number)
    delta = right.number.const
    needs = left.needs | right.needs
    progress = _progressed(alu, left, right.number)
    if left.id and delta is not None and result.const is None and alu.op in (AluOp.ADD, AluOp.SUB):
        offset = left.offset + (delta if alu.op is AluOp.ADD else -delta)
        if alu.width == 64 and left.id > 0:
            return Value(Kind.NUMBER, result, offset, left.id, 0, None, needs, progress)
        if alu.width == 32 and left.number.umax <= _WORD32:
            return Value(Kind.NUMBER, result, offset, -abs(left.id), 0, None, needs, progress)
    return Value(Kind.NUMBER, result, 0, 0, 0, None, needs, progress)


def _progressed(alu: Alu, left: Value, by: Scalar) -> Progress | None:
    """How far a number is from what it was when the round of its loop began, where nothing can wrap."""
    tag = left.progress
    if tag is None or alu.op not in (AluOp.ADD, AluOp.SUB):
        return None
    view = by.whole if alu.width == 64 else by.half
    low, high = (view.smin, view.smax) if alu.op is AluOp.ADD else (-view.smax, -view.smin)
    if alu.width == 64:
        fits = left.number.smin + low >= _LOWEST and left.number.smax + high <= _HIGHEST
    else:
        fits = left.number.umin + low >= 0 and left.number.umax + high <= _WORD32
    return tag._replace(low=tag.low + low, high=tag.high + high) if fits else None


def _moved(notebook: Notebook, state: State, pointer: Value, by: Value, op: AluOp) -> Value:
    """A pointer plus or minus a number: constants go to the offset, the rest to the variable part."""
    if pointer.kind is Kind.CONTEXT_PART:
        return pointer
    need(state, by.needs)
    progress = None
    if pointer.progress is not None:
        low, high = (by.number.smin, by.number.smax) if op is AluOp.ADD else (-by.number.smax, -by.number.smin)
        if pointer.number.smin + low >= _LOWEST and pointer.number.smax + high <= _HIGHEST:
            progress = pointer.progress._replace(low=pointer.progress.low + low, high=pointer.progress.high + high)
    if by.number.const is not None:
        delta = by.number.smin if op is AluOp.ADD else -by.number.smin
        return pointer._replace(offset=pointer.offset + delta, progress=progress)
    if pointer.kind is Kind.CONTEXT:
        return Value(Kind.CONTEXT_PART, ZERO)
    moved = DOMAIN.alu(op, 64, pointer.number, by.number)
    if pointer.kind in (Kind.PACKET, Kind.PACKET_META):
        return pointer._replace(number=moved, id=notebook.fresh_id(), progress=progress)
    return pointer._replace(number=moved, progress=progress)


def _distance(left: Value, right: Value) -> Value:
    """The number between two packet pointers."""
    if (
        left.kind is Kind.PACKET_END
        and right.kind is Kind.PACKET
        and 0 <= right.offset <= MAX_LENGTH - right.number.umax
    ):
        return Value(Kind.NUMBER, _LENGTH, length=Length(right.id, right.offset))
    if {left.kind, right.kind} <= _DATA and left.number is ZERO and right.number is ZERO:
        apart = left.offset - right.offset
        return number(DOMAIN.signed_range(apart - MAX_LENGTH, apart + MAX_LENGTH), 0)
    return UNKNOWN


def _note_access(notebook: Notebook, pc: int, kind: Kind, field: ContextField | None = None) -> None:
    if field is not None:
        if pc in notebook.reached or notebook.context_fields.setdefault(pc, field) is not field:
            raise _mixed(pc)
    else:
        if pc in notebook.context_fields:
            raise _mixed(pc)
        notebook.reached[pc].add(kind)


def _mixed(pc: int) -> Rejected:
    message = "reaches the context on one path and other memory, or another field, on another path"
    return Rejected(Failure(FailureCode.CONTEXT, message), pc)


def _load(platform: Platform, notebook: Notebook, state: State, pc: int, load: Load) -> Value:
    base, size = state.registers[load.src], load.size.bytes
    if base.kind is Kind.CONTEXT:
        return _load_context(platform, notebook, state, pc, load)
    _note_access(notebook, pc, base.kind)
    value = number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)
    match base.kind:
        case Kind.STACK:
            value = _load_stack(platform, notebook, state, pc, base, load)
        case Kind.PACKET | Kind.PACKET_META:
            notebook.reads_packet = True
        case Kind.MAP_VALUE:
            constant = None
            if base.number.const is not None:
                constant = platform.constant_bytes(base.target, base.number.smin + base.offset + load.offset, size)
            if constant is not None:
                value = number(DOMAIN.const(int.from_bytes(constant, "little")), 0)
            result = value if not load.signed else number(DOMAIN.sign_extend(value.number, size * 8, 64), 0)
            notebook.constant(pc, result.number.const if constant is not None else None)
            return result
        case _:
            pass
    notebook.constant(pc, None)
    if load.signed and value.kind is Kind.NUMBER:
        return number(DOMAIN.sign_extend(value.number, size * 8, 64), value.needs)
    return value


def _load_stack(platform: Platform, notebook: Notebook, state: State, pc: int, base: Value, load: Load) -> Value:
    size = load.size.bytes
    stack = state.stack_of(base.target)
    low, high = stack_range(base, load.offset, size)
    notebook.deepen(state.starts[base.target], low)
    _no_rest(platform, stack, pc, low, high)
    if base.number.const is None:
        leaky = platform.policy.leaks == "warn"
        for index in range(low // 8, (high + 7) // 8):
            read(state, slot_bit(base.target, index))
            slot = stack.get(index)
            if slot is not None and slot.value is not None and slot.value.kind is not Kind.NUMBER and not leaky:
                raise Rejected(Failure(FailureCode.LEAK, f"may read {slot.value.kind.words} at fp{index * 8:+}"), pc)
            if slot is None or slot.written != 0xFF:
                notebook.reads_uninitialised_stack = True
        return number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)
    value = read_stack(notebook, state, base.target, low, size)
    if value is None or (load.signed and value.kind is not Kind.NUMBER):
        raise Rejected(Failure(FailureCode.STACK, f"reads a part of the pointer that is stored at fp{low & ~7:+}"), pc)
    return value


def _no_rest(platform: Platform, stack: dict[int, Slot], pc: int, low: int, high: int) -> None:
    """Refuse to read what is left of a pointer in [low, high)."""
    if platform.policy.leaks == "warn":
        return
    for index, mask in stack_bytes(low, high):
        slot = stack.get(index)
        if slot is not None and slot.rest & mask:
            raise Rejected(Failure(FailureCode.LEAK, f"reads what is left of a pointer at fp{index * 8:+}"), pc)


def _load_context(platform: Platform, notebook: Notebook, state: State, pc: int, load: Load) -> Value:
    offset = state.registers[load.src].offset + load.offset
    field = platform.program_type.context.field_at(offset, load.size.bytes)
    assert field is not None
    _note_access(notebook, pc, Kind.CONTEXT, field)
    notebook.constant(pc, None)
    match field.kind:
        case FieldKind.SCALAR | FieldKind.RESERVED:
            scalar = DOMAIN.truncate(DOMAIN.unknown, load.size.bytes * 8)
            return number(DOMAIN.sign_extend(scalar, load.size.bytes * 8, 64) if load.signed else scalar, 0)
        case _ if load.signed:
            raise Rejected(Failure(FailureCode.CONTEXT, f"{field.name} is a pointer and is not sign-extended"), pc)
        case FieldKind.REGION:
            need(state, ROOMS)
            return Value(Kind.PACKET, ZERO, 0, PACKET_BASE)
        case FieldKind.REGION_END:
            return Value(Kind.PACKET_END, ZERO)
        case FieldKind.REGION_META:
            need(state, ROOMS)
            return Value(Kind.PACKET_META, ZERO, 0, META_BASE)
        case _:
            name = field.kind.value
            struct = platform.struct(name.removesuffix("_or_null"))
            if struct is None:
                return Value(Kind.OPAQUE, ZERO)
            if name.endswith("_or_null"):
                return Value(Kind.OBJECT_OR_NULL, ZERO, 0, notebook.fresh_id(), struct)
            return Value(Kind.OBJECT, ZERO, 0, 0, struct)


def _store(platform: Platform, notebook: Notebook, state: State, pc: int, store: Store) -> None:
    base, size = state.registers[store.dst], store.size.bytes
    value = _operand(state.registers, store.src, 64)
    if base.kind is Kind.CONTEXT:
        field = platform.program_type.context.field_at(base.offset + store.offset, size)
        _note_access(notebook, pc, Kind.CONTEXT, field)
        return
    _note_access(notebook, pc, base.kind)
    if base.kind in (Kind.PACKET, Kind.PACKET_META):
        notebook.writes_packet = True
    elif base.kind is Kind.MAP_VALUE:
        notebook.maps_written.add(base.target)
    if base.kind is not Kind.STACK:
        return
    low, high = stack_range(base, store.offset, size)
    notebook.deepen(state.starts[base.target], low)
    if base.number.const is None:
        for index in range(low // 8, (high + 7) // 8):
            read(state, slot_bit(base.target, index))
        clobber_stack(state, base.target, low, high, certain=False)
        return
    if isinstance(store.src, Reg):
        value = _linked(notebook, state.registers, store.src.index)
    write_stack(state, base.target, low, size, value)


def _atomic(platform: Platform, notebook: Notebook, state: State, pc: int, atomic: Atomic) -> None:
    registers, size = state.registers, atomic.size.bytes
    base = registers[atomic.dst]
    _note_access(notebook, pc, base.kind)
    if base.kind is Kind.STACK:
        low, high = stack_range(base, atomic.offset, size)
        notebook.deepen(state.starts[base.target], low)
        stack = state.stack_of(base.target)
        _no_rest(platform, stack, pc, low, high)
        for index in range(low // 8, (high + 7) // 8):
            read(state, slot_bit(base.target, index))
            slot = stack.get(index)
            if slot is not None and slot.value is not None and slot.value.kind is not Kind.NUMBER:
                raise Rejected(Failure(FailureCode.STACK, f"an atomic operation on a pointer at fp{index * 8:+}"), pc)
            if slot is None or slot.written != 0xFF:
                notebook.reads_uninitialised_stack = True
        clobber_stack(state, base.target, low, high, certain=base.number.const is not None)
    elif base.kind is Kind.MAP_VALUE:
        notebook.maps_written.add(base.target)
    if atomic.fetch:
        target = 0 if atomic.op is AtomicOp.CMPXCHG else atomic.src
        registers[target] = number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)
