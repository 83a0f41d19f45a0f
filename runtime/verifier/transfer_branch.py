"""What a conditional jump says on each of its sides.

Not here: which side is explored first (explore.py).
"""

from __future__ import annotations

from typing import Final

from runtime.isa import AluOp, Branch, Imm, JumpOp, Reg, Width
from runtime.verifier.demand import need
from runtime.verifier.domains import DOMAIN, Branches, Scalar
from runtime.verifier.state import State
from runtime.verifier.values import MAX_LENGTH, NOT_NULL, ZERO, Kind, Value, number

__all__ = ["Sides", "split", "split_numbers"]

_NEAR: Final = 1 << 29  # so far from null is all memory, here as in Linux
_NO_WRAP: Final = 1 << 32  # so far from the packet, additions cannot go round
_WORD32: Final = (1 << 32) - 1
_MIRROR: Final = {
    JumpOp.JGT: JumpOp.JLT,
    JumpOp.JGE: JumpOp.JLE,
    JumpOp.JLT: JumpOp.JGT,
    JumpOp.JLE: JumpOp.JGE,
}
_NEEDS: Final = Value._fields.index("needs")
_ORDER: Final = frozenset(_MIRROR)

_VALID: Final = frozenset({Kind.CONTEXT, Kind.STACK, Kind.PACKET, Kind.MAP, Kind.MAP_VALUE, Kind.OBJECT, Kind.MEMORY})

Sides = tuple["State | None", "State | None"]


def split(state: State, branch: Branch) -> Sides:
    """The state where the jump is taken and where it is not; None for a side that is impossible.

    The given state is used up: it becomes one of the two.
    """
    left = state.registers[branch.dst]
    right = _right(state, branch)
    if left.kind is Kind.NUMBER and right.kind is Kind.NUMBER:
        sides = DOMAIN.branch(branch.op, branch.width, left.number, right.number)
        return split_numbers(state, branch, left, right, sides)
    need(state, left.needs | right.needs)
    if branch.width == 64:
        if branch.op in (JumpOp.JEQ, JumpOp.JNE) and (left.kind in NOT_NULL or right.kind in NOT_NULL):
            return _null_test(state, branch, left, right)
        if branch.op in (JumpOp.JEQ, JumpOp.JNE) and _never_null(left) and _is_zero(right):
            return (None, state) if branch.op is JumpOp.JEQ else (state, None)
        if branch.op in _ORDER and isinstance(branch.src, Reg):
            return _order(state, branch, left, right)
    return state.fork(), state


def _right(state: State, branch: Branch) -> Value:
    match branch.src:
        case Reg(index):
            return state.registers[index]
        case Imm(value):
            return number(DOMAIN.const(value if branch.width == 64 else value & _WORD32), 0)


def _is_zero(value: Value) -> bool:
    return value.kind is Kind.NUMBER and value.number is ZERO


def _never_null(value: Value) -> bool:
    """Memory lies far from null, but pointers may be moved as far when they are not followed."""
    near = value.number.smin + value.offset >= -_NEAR and value.number.smax + value.offset <= _NEAR
    return value.kind in _VALID and near


def split_numbers(state: State, branch: Branch, left: Value, right: Value, sides: Branches) -> Sides:
    """The same for two numbers; `sides` is what the domain says of them."""
    taken, not_taken = sides
    if taken is None or not_taken is None:
        need(state, left.needs | right.needs)
    if taken is None and not_taken is None:
        return None, None
    if taken is None:
        return None, state
    if not_taken is None:
        return state, None
    other = state.fork()
    source = branch.src.index if isinstance(branch.src, Reg) else None
    for each, refined in ((other, taken), (state, not_taken)):
        _refine(each, branch.dst, refined[0], right.needs)
        if source is not None and source != branch.dst:
            _refine(each, source, refined[1], left.needs)
    return other, state


def _refine(state: State, register: int, scalar: Scalar, because: int) -> None:
    """A number turned out to be narrower: so are its copies, and the packet is longer by as much.

    `because` are the components behind what it was compared with.
    """
    old = state.registers[register]
    if old.number is scalar:
        return
    needs = old.needs | because
    state.registers[register] = _narrowed(old, scalar, needs)
    if old.length is not None and scalar.smin > 0:
        need(state, needs)
        base, offset = old.length
        state.room[base] = max(state.room.get(base, 0), offset + scalar.smin)
    if not old.id:
        return

    def copy(value: Value) -> Value:
        if value.kind is not Kind.NUMBER or value.number is scalar:
            return value
        width: Width = 64 if value.id > 0 and old.id > 0 else 32
        if width == 32 and value.number.umax > _WORD32:
            return value
        distance = DOMAIN.const(value.offset - old.offset)
        shifted = DOMAIN.meet(value.number, DOMAIN.alu(AluOp.ADD, width, scalar, distance))
        return value if shifted is None else _narrowed(value, shifted, value.needs | needs)

    state.replace_named(old.id, copy)


def _narrowed(value: Value, scalar: Scalar, needs: int) -> Value:
    """The same number, of which more is known."""
    return tuple.__new__(Value, (value.kind, scalar) + value[2:_NEEDS] + (needs,) + value[_NEEDS + 1 :])  # noqa: RUF005  faster than unpacking


def _null_test(state: State, branch: Branch, left: Value, right: Value) -> Sides:
    pointer, other = (left, right) if left.kind in NOT_NULL else (right, left)
    twin = state.fork()
    equal, unequal = (twin, state) if branch.op is JumpOp.JEQ else (state, twin)
    if _is_zero(other):
        equal.replace_named(
            pointer.id, lambda v: number(ZERO, 0) if v.kind is pointer.kind and v.id == pointer.id else v
        )
        if pointer.ref == pointer.id:  # nothing was acquired
            equal.references = tuple(each for each in equal.references if each != pointer.ref)
        _not_null(unequal, pointer)
    elif _never_null(other) and other.kind is NOT_NULL[pointer.kind]:
        _not_null(equal, pointer)
    return twin, state


def _not_null(state: State, pointer: Value) -> None:
    kind, keeps = NOT_NULL[pointer.kind], pointer.id < 0 or pointer.kind is Kind.MAP_OR_NULL
    ident = pointer.id if keeps else 0
    state.replace_named(
        pointer.id, lambda v: v._replace(kind=kind, id=ident) if v.kind is pointer.kind and v.id == pointer.id else v
    )


def _order(state: State, branch: Branch, left: Value, right: Value) -> Sides:
    """A packet pointer against the end of the packet, or metadata against its start."""
    pointer, op = left, branch.op
    if _is_limit(left, right):
        pass
    elif _is_limit(right, left):
        pointer, op = right, _MIRROR[branch.op]
    else:
        return state.fork(), state
    taken, not_taken = state.fork(), state
    match op:
        case JumpOp.JGT:
            _prove(not_taken, pointer, beyond=0)
        case JumpOp.JGE:
            _prove(not_taken, pointer, beyond=1)
        case JumpOp.JLT:
            _prove(taken, pointer, beyond=1)
        case _:
            _prove(taken, pointer, beyond=0)
    return taken, not_taken


def _is_limit(pointer: Value, limit: Value) -> bool:
    if pointer.kind is Kind.PACKET:
        return limit.kind is Kind.PACKET_END
    return pointer.kind is Kind.PACKET_META and limit.kind is Kind.PACKET and not limit.offset and limit.number is ZERO


def _prove(state: State, pointer: Value, *, beyond: int) -> None:
    """`pointer + beyond <= limit`: so many bytes from the pointer's base are there, and the base is so far from the end."""
    if pointer.offset < 0 or pointer.number.smin < 0 or pointer.number.umax + pointer.offset > _NO_WRAP:
        return
    room = pointer.offset + beyond
    if room > state.room.get(pointer.id, 0):
        state.room[pointer.id] = room
    if pointer.number.const is None and pointer.number.umax + room > MAX_LENGTH >= room:
        scalar = DOMAIN.meet(pointer.number, DOMAIN.unsigned_range(0, MAX_LENGTH - room))
        if scalar is not None:
            kind, ident = pointer.kind, pointer.id
            state.replace_named(ident, lambda v: v._replace(number=scalar) if v.kind is kind and v.id == ident else v)
