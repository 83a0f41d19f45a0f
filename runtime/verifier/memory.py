"""Whether bytes behind a pointer are there, and what a load, a store or a helper does to the stack.

Not here: the context, whose fields are rows (checker.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.isa import Size
from runtime.verifier.demand import read, slot_bit, slot_needs
from runtime.verifier.domains import DOMAIN
from runtime.verifier.failure import Failure, FailureCode
from runtime.verifier.fields import check_field
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.state import META_BASE, STACK_SIZE, Slot, State
from runtime.verifier.values import ZERO, Kind, Value, number

__all__ = ["check_memory", "clobber_stack", "read_stack", "stack_bytes", "stack_range", "write_stack"]

_MAX_OFFSET = 1 << 29
_FULL = 0xFF
_NULL_PAGE = 4096  # a member of a struct at null is as null as its start


def check_memory(
    platform: Platform,
    state: State,
    value: Value,
    offset: int,
    size: int,
    *,
    write: bool,
    register: int,
    aligned: bool = False,
    direct: bool = True,
) -> Failure | None:
    """Whether [pointer + offset, + size) may be read or written; not for the context.

    `direct`: by an instruction, which touches the stack in aligned pieces; helpers take any bytes. `aligned`: by an atomic.
    """
    match value.kind:
        case Kind.STACK:
            return _check_stack(value, offset, size, direct=direct)
        case Kind.PACKET | Kind.PACKET_META:
            return _check_packet(platform, state, value, offset, size, write=write)
        case Kind.MAP_VALUE:
            return _check_map_value(platform, value, offset, size, write=write, aligned=aligned)
        case Kind.MAP_KEY:
            return _check_map_key(platform, value, offset, size, write=write)
        case Kind.OBJECT if direct:
            return _check_object(platform, value, offset, size, write=write)
        case Kind.MEMORY:
            return _check_memory(value, offset, size, aligned=aligned)
        case _:
            return _no_access(platform, value, register)


def _no_access(platform: Platform, value: Value, register: int) -> Failure:
    """Why nothing is accessed through the value."""
    match value.kind:
        case Kind.MAP_VALUE_OR_NULL:
            name = platform.maps[value.target].name
            return Failure(
                FailureCode.NULL_DEREF,
                f"r{register} is the result of a lookup in {name!r} and may be null: leave when it is null before this access",
            )
        case Kind.OBJECT_OR_NULL | Kind.MEMORY_OR_NULL | Kind.MAP_OR_NULL:
            return Failure(
                FailureCode.NULL_DEREF,
                f"r{register} is {value.kind.words}: leave when it is null before this access",
            )
        case Kind.RELEASED:
            return Failure(
                FailureCode.STALE_POINTER,
                f"r{register} points to what was given back: use it before the call that releases it",
            )
        case Kind.STALE:
            return Failure(
                FailureCode.STALE_POINTER,
                f"r{register} points into the packet as it was before a helper moved it: load data and data_end again, and compare",
            )
        case Kind.CONTEXT_PART:
            return Failure(
                FailureCode.CONTEXT,
                f"r{register} is {value.kind.words}: only helpers that read at any address take it; index a member by constants",
            )
        case _:
            return Failure(FailureCode.BAD_DEREF, _no_pointer(value, register))


def _no_pointer(value: Value, register: int) -> str:
    if value.kind is Kind.NUMBER and value.number.const is not None and 0 <= value.number.const < _NULL_PAGE:
        return f"r{register} is null on this path: leave when it is null, and use it when it is not"
    known = f"{value.kind.words}, which cannot be dereferenced"
    return f"r{register} is {known}: take a pointer from the context, a lookup or a variable"


def stack_range(value: Value, offset: int, size: int) -> tuple[int, int]:
    """The bytes [low, high) below r10 that an access may touch."""
    return value.number.smin + value.offset + offset, value.number.smax + value.offset + offset + size


def _check_stack(value: Value, offset: int, size: int, *, direct: bool) -> Failure | None:
    low, high = stack_range(value, offset, size)
    if low < -STACK_SIZE or high > 0:
        return Failure(
            FailureCode.STACK,
            f"touches bytes [{low}, {high}) of the stack, which is [-{STACK_SIZE}, 0): limit the index or the size",
        )
    if direct and (value.number.mask & size - 1 or (value.number.value + value.offset + offset) % size):
        return Failure(
            FailureCode.ALIGNMENT,
            f"touches {size} bytes at fp{low:+}; the stack is accessed in aligned pieces: use a multiple of {size}",
        )
    return None


def _check_packet(
    platform: Platform, state: State, value: Value, offset: int, size: int, *, write: bool
) -> Failure | None:
    layout = platform.program_type.context
    if write and not layout.region_writable:
        return Failure(FailureCode.READ_ONLY, f"programs of this type may not write the {layout.region}")
    start = value.offset + offset
    room = state.room.get(value.id, 0)
    if value.number.smin < 0:
        message = f"data is moved by at least {value.number.smin}, before the start of the {layout.region}"
        return Failure(FailureCode.PACKET_OOB, f"{message}: leave when the number is negative first")
    if start < 0 or start + size > room:
        name = "metadata" if value.kind is Kind.PACKET_META else layout.region
        limit = "data" if value.id == META_BASE or value.kind is Kind.PACKET_META else "data_end"
        span = f"byte {start}" if size == 1 else f"bytes {start} to {start + size - 1}"
        touched = f"{'writes' if write else 'reads'} {span} of the {name}"
        if start < 0:
            return Failure(
                FailureCode.PACKET_OOB,
                f"{touched}, before its start: nothing proves what lies there: begin at the start, with an offset of 0 or more",
            )
        return Failure(FailureCode.PACKET_OOB, _missing_check(value, touched, start + size, room, limit))
    return None


def _missing_check(value: Value, touched: str, end: int, room: int, limit: str) -> str:
    begin = "data_meta" if value.kind is Kind.PACKET_META or value.id == META_BASE else "data"
    moved = ""
    if value.number.const is None:
        moved = f" behind {begin} + x, x in [{value.number.smin}, {value.number.smax}]"
        begin += " + x"
    return f"{touched}{moved}, of which {room} are proven to be there: leave when {begin} + {end} > {limit} first"


def _check_map_value(
    platform: Platform, value: Value, offset: int, size: int, *, write: bool, aligned: bool
) -> Failure | None:
    spec = platform.maps[value.target]
    start = value.offset + offset
    low, high = value.number.smin + start, value.number.umax + start + size
    if low < 0 or value.number.umax >= _MAX_OFFSET or high > spec.value_size:
        touched = (
            f"touches bytes [{low}, {min(high, 1 << 32)}) of a value of {spec.name!r}, which has {spec.value_size}"
        )
        if value.number.const is not None or size > spec.value_size:
            return Failure(FailureCode.MAP_OOB, f"{touched}: declare a larger value, or touch less of it")
        return Failure(FailureCode.MAP_OOB, f"{touched}: keep the offset in [0, {spec.value_size - size}] by a check")
    for each in spec.special:
        if low < each.offset + each.size and each.offset < high:
            return Failure(
                FailureCode.SPECIAL,
                f"touches the {each.type} at offset {each.offset} of a value of {spec.name!r}, as only its helpers may: "
                "access the members around it one by one",
            )
    if aligned and (value.number.mask & size - 1 or (value.number.value + start) % size):
        return Failure(
            FailureCode.ALIGNMENT,
            f"an atomic operation on {size} bytes at offset {low} of {spec.name!r}: use a multiple of {size}",
        )
    if write and not platform.map_writable(value.target):
        return Failure(
            FailureCode.READ_ONLY,
            f"writes a value of {spec.name!r}, which is read-only for programs: keep what changes in another map",
        )
    if (aligned or not write) and not platform.map_readable(value.target):
        return Failure(
            FailureCode.READ_ONLY,
            f"reads a value of {spec.name!r}, which is write-only for programs: keep what is read in another map",
        )
    return None


def _check_map_key(platform: Platform, value: Value, offset: int, size: int, *, write: bool) -> Failure | None:
    spec = platform.maps[value.target]
    if write:
        return Failure(FailureCode.READ_ONLY, f"writes a key of {spec.name!r}: copy it, and change the copy")
    low, high = value.number.smin + value.offset + offset, value.number.smax + value.offset + offset + size
    if low < 0 or high > spec.key_size:
        message = f"reads bytes [{low}, {high}) of a key of {spec.name!r}, which has {spec.key_size}: read less of it"
        return Failure(FailureCode.MAP_OOB, message)
    return None


def _check_object(platform: Platform, value: Value, offset: int, size: int, *, write: bool) -> Failure | None:
    struct = platform.structs[value.target]
    if write:
        return Failure(FailureCode.READ_ONLY, f"writes {struct.words}, which is read-only for programs")
    if not struct.layout.fields:
        by_btf = struct.name.startswith("struct ")
        why = "whose fields differ from kernel to kernel and are not followed" if by_btf else "which has no fields here"
        return Failure(FailureCode.BAD_DEREF, f"reads {struct.words}, {why}: hand it to a helper")
    failure = check_field(struct.layout, offset, size, write=write)
    return failure and Failure(failure.code, f"{failure.message.partition(':')[0]}: {struct.words} has other fields")


def _check_memory(value: Value, offset: int, size: int, *, aligned: bool) -> Failure | None:
    start = value.offset + offset
    low, high = value.number.smin + start, value.number.umax + start + size
    if low < 0 or value.number.umax >= _MAX_OFFSET or high > value.target:
        return Failure(
            FailureCode.MAP_OOB,
            f"touches bytes [{low}, {min(high, 1 << 32)}) of memory of which a helper gave {value.target}: ask for more, or touch less",
        )
    if aligned and (value.number.mask & size - 1 or (value.number.value + start) % size):
        return Failure(
            FailureCode.ALIGNMENT, f"an atomic operation on {size} bytes at offset {low}: use a multiple of {size}"
        )
    return None


def stack_bytes(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Slots that [low, high) touches, each with the mask of its bytes."""
    while low < high:
        index, first = divmod(low, 8)
        last = min(8, first + high - low)
        yield index, (1 << last) - (1 << first)
        low += last - first


def read_stack(notebook: Notebook, state: State, frame: int, low: int, size: int) -> Value | None:
    """What a load of `size` bytes at fp + low of a frame gives; None where it would cut a pointer."""
    index, first = divmod(low, 8)
    slot = state.stack_of(frame).get(index, Slot(0))
    needs = slot_needs(state, frame, index, slot)
    read(state, slot_bit(frame, index))
    wanted = (1 << first + size) - (1 << first)
    if slot.written & wanted != wanted:
        notebook.reads_uninitialised_stack = True
        if slot.value is None or slot.value.kind is Kind.NUMBER:
            return number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)
    if slot.value is not None:
        return _read_spill(slot, slot.value, first, size, needs)
    if slot.zero & wanted == wanted:
        return number(ZERO, needs)
    return number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)


def _read_spill(slot: Slot, value: Value, first: int, size: int, needs: int) -> Value | None:
    if value.kind is not Kind.NUMBER:
        return value if size == Size.DW.bytes and first == 0 else None
    if first == 0 and (size == slot.size or (size < slot.size and value.number.umax < 1 << size * 8)):
        return value._replace(needs=needs)
    if first + size <= slot.size:
        shifted = value.number
        if first:
            shifted = DOMAIN.unsigned_range(0, (1 << 64) - 1)
            if value.number.const is not None:
                shifted = DOMAIN.const(value.number.const >> 8 * first)
        return number(DOMAIN.truncate(shifted, size * 8), needs)
    return number(DOMAIN.truncate(DOMAIN.unknown, size * 8), 0)


def write_stack(state: State, frame: int, low: int, size: int, value: Value) -> None:
    """Store at a known place."""
    index, first = divmod(low, 8)
    stack = state.stack_of(frame)
    bit = slot_bit(frame, index)
    if size == Size.DW.bytes:
        state.written |= bit
        stack[index] = Slot(_FULL, 0, value, size)
        return
    mask = (1 << first + size) - (1 << first)
    old = stack.get(index, Slot(0))
    scalar = DOMAIN.truncate(value.number, size * 8)
    zero, needs = _zeroes(state, frame, index, old)
    read(state, bit)  # the other bytes stay what they were
    state.written |= bit
    if first == 0 and (old.written | old.rest) & ~mask == 0:
        kept = value if scalar is value.number else number(scalar, value.needs)
        stack[index] = Slot(mask, mask if scalar is ZERO else 0, kept, size)
        return
    zero = zero | mask if scalar is ZERO else zero & ~mask
    stack[index] = Slot(old.written | mask, zero, needs=needs | value.needs, rest=old.secret & ~mask)


def _zeroes(state: State, frame: int, index: int, slot: Slot) -> tuple[int, int]:
    """The bytes of a slot that are 0, and what says so."""
    needs = slot_needs(state, frame, index, slot)
    if slot.value is None:
        return slot.zero, needs
    if slot.value.kind is Kind.NUMBER and slot.value.number is ZERO:
        return (1 << slot.size) - 1, needs
    return 0, needs


def clobber_stack(state: State, frame: int, low: int, high: int, *, certain: bool) -> None:
    """Unknown bytes may have been stored in [low, high); `certain`: all of them were."""
    stack = state.stack_of(frame)
    for index, mask in stack_bytes(low, high):
        bit = slot_bit(frame, index)
        old = stack.get(index, Slot(0))
        zero, needs = _zeroes(state, frame, index, old)
        if not (certain and mask == _FULL):
            read(state, bit)
        state.written |= bit
        written, rest = (old.written | mask, old.secret & ~mask) if certain else (old.written, old.secret)
        stack[index] = Slot(written, zero & ~mask & _FULL, needs=needs, rest=rest)
