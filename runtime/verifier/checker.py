"""Judges obligations: it only reads the state, and returns a Failure or None.

Not here: what happens when they hold (transfer*.py). Rules and limits follow the Linux verifier where it has them.
"""

from __future__ import annotations

from typing import Final, assert_never

from runtime.isa import AluOp, Imm, JumpOp, Reg
from runtime.verifier.arguments import check_call
from runtime.verifier.failure import Failure, FailureCode
from runtime.verifier.fields import check_field
from runtime.verifier.memory import check_memory
from runtime.verifier.obligations import (
    Access,
    Arithmetic,
    Comparable,
    HelperCall,
    KnownMap,
    NoPointer,
    Obligation,
    PacketLoad,
    Readable,
    Returns,
    Revealed,
    ShiftInWidth,
    Storable,
    Supported,
    Whole,
    Writable,
)
from runtime.verifier.platform import Platform
from runtime.verifier.references import check_released
from runtime.verifier.state import FRAME_POINTER, State
from runtime.verifier.values import NOT_NULL, ZERO, Kind, Value

__all__ = ["check"]

_MAX_OFFSET: Final = 1 << 29
_PACKET_LOAD_CONTEXT: Final = 6
_MOVABLE: Final = frozenset({
    Kind.CONTEXT, Kind.STACK, Kind.PACKET, Kind.PACKET_META, Kind.MAP_VALUE, Kind.MAP_KEY, Kind.MEMORY,
    Kind.CONTEXT_PART,
})  # fmt: skip
_DATA: Final = frozenset({Kind.PACKET, Kind.PACKET_META, Kind.PACKET_END})
_PLACED: Final = frozenset({Kind.STACK, Kind.MAP_VALUE})  # a distance inside one frame or map tells no address
_DISTANT: Final = _DATA | {Kind.HALF}  # what a 32-bit distance between packet pointers is made of
_GROUPS: Final = {
    kind: Kind.PACKET if kind in _DATA else NOT_NULL.get(kind, kind) for kind in Kind
}  # pointers of one group may point into the same memory
_EQUAL: Final = frozenset({JumpOp.JEQ, JumpOp.JNE})
_APART: Final = frozenset({Kind.OBJECT, Kind.MEMORY, Kind.MAP})  # two of a kind are not in the same memory
_UNSIGNED: Final = _EQUAL | {JumpOp.JGT, JumpOp.JGE, JumpOp.JLT, JumpOp.JLE}
_ORDER: Final = frozenset(JumpOp) - _EQUAL - {JumpOp.JSET}


def check(platform: Platform, state: State, obligation: Obligation) -> Failure | None:
    """None when the obligation holds in the state."""
    match obligation:
        case Readable(register):
            return _readable(state, register)
        case Writable(register):
            if register == FRAME_POINTER:
                return Failure(
                    FailureCode.INSTRUCTION,
                    "writes r10, the frame pointer, which is read-only: copy it, and move the copy",
                )
            return None
        case NoPointer(register, what):
            value = state.registers[register]
            if value.kind is not Kind.NUMBER:
                return Failure(
                    FailureCode.POINTER_ARITHMETIC, f"r{register} is {value.kind.words}; {what} needs a number"
                )
            return None
        case Revealed(register, what):
            return _revealed(platform, state.registers[register], f"r{register}", what)
        case Whole(register):
            return _whole(platform, state.registers[register], register)
        case Comparable():
            return _comparable(platform, state, obligation)
        case Arithmetic():
            return _arithmetic(platform, state, obligation)
        case ShiftInWidth(op, width, value):
            return _immediate(op, width, value)
        case Access():
            return _access(platform, state, obligation)
        case Storable():
            return _storable(platform, state, obligation)
        case KnownMap(index, offset):
            return _known_map(platform, index, offset)
        case HelperCall(number):
            return check_call(platform, state, number)
        case PacketLoad():
            return _packet_load(platform, state)
        case Returns():
            return _returns(platform, state)
        case Supported(what):
            return Failure(FailureCode.INSTRUCTION, f"{what} are not supported")
        case _:
            assert_never(obligation)


def _readable(state: State, register: int) -> Failure | None:
    kind = state.registers[register].kind
    if kind is Kind.UNINIT:
        hint = ": a call leaves r1 to r5 unset; keep the value in r6 to r9" if 1 <= register <= 5 else ": set it first"
        return Failure(FailureCode.UNINIT_REG, f"r{register} is read before it was written on this path{hint}")
    return None


def _immediate(op: AluOp, width: int, value: int) -> Failure | None:
    if op in (AluOp.LSH, AluOp.RSH, AluOp.ARSH):
        if not 0 <= value < width:
            return Failure(
                FailureCode.INSTRUCTION, f"shifts {width} bits by {value}: the amount must be 0 to {width - 1}"
            )
    elif value == 0:
        return Failure(FailureCode.INSTRUCTION, "divides by the constant 0: the divisor must be another number")
    return None


def _whole(platform: Platform, value: Value, register: int) -> Failure | None:
    if value.kind is Kind.NUMBER or value.kind in _DISTANT or platform.policy.leaks == "warn":
        return None
    return Failure(
        FailureCode.LEAK, f"r{register} is {value.kind.words}; half of it as a number leaks an address: use all 64 bits"
    )


def _comparable(platform: Platform, state: State, wanted: Comparable) -> Failure | None:
    left = state.registers[wanted.left]
    match wanted.right:
        case Imm(immediate):
            group, zero, inside = _GROUPS[Kind.NUMBER], immediate == 0, False
        case Reg(index):
            right = state.registers[index]
            group, zero = _GROUPS[right.kind], right.kind is Kind.NUMBER and right.number is ZERO
            inside = group is Kind.PACKET or (right.target == left.target and group not in _APART)
            inside |= group is Kind.MEMORY and 0 != right.ref == left.ref
        case _:
            assert_never(wanted.right)
    if left.kind is Kind.NUMBER and group == left.kind:
        return None
    if wanted.width == 32 and left.kind in _DATA and wanted.op in _EQUAL and isinstance(wanted.right, Imm) and zero:
        return None  # what compilers make of a test for null, as the fields of the context have 32 bits
    if Kind.HALF in (left.kind, group) and platform.policy.leaks == "reject":
        return Failure(
            FailureCode.LEAK,
            "compares half of a packet pointer: the outcome tells where memory lies: compare whole pointers",
        )
    null_test = (zero or (left.kind is Kind.NUMBER and left.number is ZERO)) and wanted.op in _UNSIGNED
    related = _GROUPS[left.kind] == group and (wanted.op in _EQUAL or (inside and wanted.op in _ORDER))
    if platform.policy.leaks == "warn" or (wanted.width == 64 and (null_test or related)):
        return None
    names = sorted({left.kind.words, Kind(group).words})
    return Failure(
        FailureCode.LEAK,
        f"compares {' with '.join(names)}: the outcome tells where memory lies: compare two pointers into the same memory, or two numbers",
    )


def _known_map(platform: Platform, index: int, offset: int | None) -> Failure | None:
    if not 0 <= index < platform.own:
        return Failure(FailureCode.STRUCTURE, f"refers to map {index}; the object has {platform.own}")
    spec = platform.maps[index]
    kind = platform.kinds[index]
    if kind is None:
        return Failure(FailureCode.HELPER, f"map {spec.name!r} is of type {spec.kind}, which is not known here")
    for each in spec.special:
        if each.type in platform.program_type.refuses:
            return Failure(
                FailureCode.SPECIAL,
                f"{platform.program_type.name} programs may not use map {spec.name!r}, whose values have a {each.type}",
            )
    if offset is not None and (not kind.bounded_array or kind.per_cpu or kind.value_is != "data"):
        return Failure(FailureCode.HELPER_ARG, f"values of map {spec.name!r} ({kind.name}) have no fixed address")
    if offset is not None and (spec.max_entries != 1 or offset >= spec.value_size):
        return Failure(FailureCode.MAP_OOB, f"byte {offset} is outside the {spec.value_size} bytes of {spec.name!r}")
    return None


def _arithmetic(platform: Platform, state: State, wanted: Arithmetic) -> Failure | None:
    left = state.registers[wanted.dst]
    if isinstance(wanted.src, Imm):
        if left.kind is Kind.NUMBER:
            return None
        delta = wanted.src.value
        return _pointer_math(wanted, left, delta, delta)
    right = state.registers[wanted.src.index]
    if left.kind is Kind.NUMBER and right.kind is Kind.NUMBER:
        return None
    if right.kind is Kind.NUMBER:
        return _pointer_math(wanted, left, right.number.smin, right.number.smax)
    if left.kind is Kind.NUMBER:
        if wanted.op is not AluOp.ADD:
            return _no_math(f"{wanted.width}-bit {wanted.op.name} of a number and {right.kind.words}")
        return _pointer_math(wanted, right, left.number.smin, left.number.smax)
    if wanted.op is AluOp.SUB and {left.kind, right.kind} <= (_DATA if wanted.width == 64 else _DISTANT):
        return None
    if wanted.op is AluOp.SUB and left.kind is right.kind and left.kind in _PLACED and left.target == right.target:
        return None
    if wanted.op is AluOp.SUB:
        return _revealed(platform, left, f"r{wanted.dst}", f"the distance to {right.kind.words}")
    return _no_math(f"{wanted.width}-bit {wanted.op.name} of {left.kind.words} and {right.kind.words}")


def _revealed(platform: Platform, value: Value, name: str, what: str) -> Failure | None:
    if value.kind is Kind.NUMBER or platform.policy.leaks == "warn":
        return None
    return Failure(
        FailureCode.LEAK,
        f"{name} is {value.kind.words}; {what} makes a number that tells where memory lies: use a number",
    )


def _no_math(message: str) -> Failure:
    return Failure(
        FailureCode.POINTER_ARITHMETIC,
        f"{message} is not allowed: pointers into the packet, the stack and map values move by + and - of numbers, in 64 bits: compute with the distance between two of them",
    )


def _pointer_math(wanted: Arithmetic, pointer: Value, low: int, high: int) -> Failure | None:
    if pointer.kind is Kind.HALF and wanted.width == 32 and wanted.op in (AluOp.ADD, AluOp.SUB):
        return None
    if wanted.op not in (AluOp.ADD, AluOp.SUB) or wanted.width != 64:
        return _no_math(f"{wanted.width}-bit {wanted.op.name} on {pointer.kind.words}")
    if pointer.kind in NOT_NULL:
        return Failure(
            FailureCode.NULL_DEREF,
            "moves the result of a lookup, which may be null: leave when it is null before it is moved",
        )
    if pointer.kind is Kind.MAP and low == high == 0 and wanted.op is AluOp.ADD:
        return None
    if pointer.kind not in _MOVABLE:
        return _no_math(f"arithmetic on {pointer.kind.words}")
    unsigned_wrap = pointer.kind in (Kind.PACKET, Kind.PACKET_META) and wanted.op is AluOp.ADD
    if (low <= -_MAX_OFFSET or high >= _MAX_OFFSET) and (not unsigned_wrap or low == high):
        return Failure(
            FailureCode.POINTER_ARITHMETIC,
            f"{pointer.kind.words} is moved by a number in [{low}, {high}]: compare the number with both its limits first, or mask it",
        )
    return None


def _access(platform: Platform, state: State, wanted: Access) -> Failure | None:
    value = state.registers[wanted.base]
    if wanted.atomic and value.kind not in (Kind.STACK, Kind.MAP_VALUE, Kind.MEMORY):
        return Failure(
            FailureCode.BAD_DEREF,
            f"an atomic operation through {value.kind.words}: only the stack and map values take them; use a load and a store",
        )
    if value.kind is Kind.CONTEXT and value.offset:
        return Failure(
            FailureCode.CONTEXT,
            f"r{wanted.base} is the context, moved by {value.offset}: read its members through the context itself",
        )
    if value.kind is Kind.CONTEXT:
        return _context(platform, value.offset + wanted.offset, wanted)
    return check_memory(
        platform,
        state,
        value,
        wanted.offset,
        wanted.size,
        write=wanted.write,
        aligned=wanted.atomic,
        register=wanted.base,
    )


def _context(platform: Platform, offset: int, wanted: Access) -> Failure | None:
    return check_field(platform.program_type.context, offset, wanted.size, write=wanted.write)


def _storable(platform: Platform, state: State, wanted: Storable) -> Failure | None:
    base, value = state.registers[wanted.base], state.registers[wanted.value]
    if value.kind is Kind.NUMBER:
        return None
    if base.kind is not Kind.STACK:
        if platform.policy.leaks == "warn" and base.kind is not Kind.CONTEXT and wanted.size == 8:
            return None
        return Failure(
            FailureCode.LEAK,
            f"r{wanted.value} is {value.kind.words}; storing it through {base.kind.words} leaks it: store a number",
        )
    if wanted.size != 8:
        return Failure(
            FailureCode.STACK, f"r{wanted.value} is {value.kind.words}; it is stored whole or not at all: store 8 bytes"
        )
    if value.kind is Kind.STACK and value.target > base.target:
        return Failure(FailureCode.STACK, "a pointer to the function's own stack is stored in a caller's")
    if base.number.const is None:
        return Failure(
            FailureCode.STACK, f"r{wanted.value} is {value.kind.words}; its place on the stack must be a constant"
        )
    return None


def _packet_load(platform: Platform, state: State) -> Failure | None:
    kind = platform.program_type
    if not kind.legacy_packet_loads:
        return Failure(FailureCode.INSTRUCTION, f"{kind.name} programs have no packet loads of classic BPF")
    context = state.registers[_PACKET_LOAD_CONTEXT]
    if context.kind is not Kind.CONTEXT or context.offset:
        return Failure(
            FailureCode.CONTEXT, f"r6 is {context.kind.words}; a packet load needs the unmoved context there"
        )
    failure = check_released(state, "a packet load may end the function")
    if failure is not None:
        return failure
    if not state.frames and kind.returns is not None and not kind.returns[0] <= 0 <= kind.returns[1]:
        return Failure(FailureCode.RETURN, f"a packet load may return 0; programs return {list(kind.returns)}")
    return None


def _returns(platform: Platform, state: State) -> Failure | None:
    value = state.registers[0]
    if value.kind is Kind.UNINIT and state.frames and state.frames[-1].callback is None:
        return None  # a function without a result: its caller may not read r0 either
    if value.kind is Kind.UNINIT:
        return Failure(FailureCode.UNINIT_REG, "r0, the return value, was not written on this path: return a number")
    callback = state.frames[-1].callback if state.frames else None
    if not state.frames or (callback is not None and callback.later):
        failure = check_released(state, "returns")
        if failure is not None:
            return failure
    if state.frames:
        frame = state.frames[-1]
        if value.kind is Kind.STACK and value.target >= state.depth:
            return Failure(FailureCode.STACK, "a function returns a pointer to its own stack")
        if frame.callback is not None and (
            value.kind is not Kind.NUMBER or value.number.umax > frame.callback.returns[1]
        ):
            what = f"in [{value.number.smin}, {value.number.smax}]" if value.kind is Kind.NUMBER else value.kind.words
            wanted = "0 to go on or 1 to stop" if frame.callback.returns[1] else "0"
            return Failure(FailureCode.RETURN, f"a callback returns {wanted}; here r0 is {what}")
        return None
    if value.kind is not Kind.NUMBER:
        if platform.policy.leaks == "warn":
            return None
        return Failure(FailureCode.LEAK, f"r0 is {value.kind.words}; returning it leaks an address: return a number")
    allowed = platform.program_type.returns
    if allowed is None:
        return None
    low, high = value.number.smin, value.number.smax
    if low < allowed[0] or high > allowed[1]:
        attach = platform.program_type.attach
        name = f"{attach.name if attach else platform.program_type.name} programs"
        return Failure(FailureCode.RETURN, f"r0 is in [{low}, {high}]; {name} return {list(allowed)}")
    return None
