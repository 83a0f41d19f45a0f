"""Loads, stores and atomics as LLVM instructions.

Not here: what may be accessed; the verifier has decided that. Accesses may have any alignment.
"""

from __future__ import annotations

from typing import Final

from runtime.engine.jit.emit import Emitter, word
from runtime.engine.jit.flow import CONTEXT
from runtime.engine.jit.scopes import CONTEXT_SCOPE, scope
from runtime.errors import InternalError
from runtime.isa import Atomic, AtomicOp, Imm, Load, Store
from runtime.spec import ContextField, FieldKind
from runtime.verifier.verified import Facts

__all__ = ["atomic", "load", "store"]

_NAMES: Final = {
    AtomicOp.ADD: "add",
    AtomicOp.OR: "or",
    AtomicOp.AND: "and",
    AtomicOp.XOR: "xor",
    AtomicOp.XCHG: "xchg",
}
_SCALARS: Final = (FieldKind.SCALAR, FieldKind.RESERVED)


def load(e: Emitter, facts: Facts, pc: int, instruction: Load) -> None:
    """Dst = memory, a field of the context, or what the facts say that it always is."""
    field, constant = facts.context_fields.get(pc), facts.constants.get(pc)
    if constant is not None:
        e.set(instruction.dst, word(constant))
        return
    bits = instruction.size.bytes * 8
    if field is not None and field.kind not in _SCALARS:
        e.set(instruction.dst, e.value(f"load i64, ptr {e.context(field.record_offset)}, align 8{CONTEXT_SCOPE}"))
        return
    pointer = _pointer(e, field, instruction.src, instruction.offset)
    value = e.value(f"load i{bits}, ptr {pointer}, align 1{_scope(facts, pc, field)}")
    if bits < 64:
        value = e.value(f"{'sext' if instruction.signed else 'zext'} i{bits} {value} to i64")
    e.set(instruction.dst, value)


def store(e: Emitter, facts: Facts, pc: int, instruction: Store) -> None:
    """Memory, or a field of the context, = src."""
    field = facts.context_fields.get(pc)
    bits = instruction.size.bytes * 8
    if isinstance(instruction.src, Imm):
        value = word(instruction.src.value) if bits == 64 else str(_low(instruction.src.value, bits))
    else:
        value = _narrow(e, e.get(instruction.src.index), bits)
    pointer = _pointer(e, field, instruction.dst, instruction.offset)
    e.line(f"store i{bits} {value}, ptr {pointer}, align 1{_scope(facts, pc, field)}")


def _scope(facts: Facts, pc: int, field: ContextField | None) -> str:
    return scope(facts.regions.get(pc)) if field is None else CONTEXT_SCOPE


def _pointer(e: Emitter, field: ContextField | None, register: int, offset: int) -> str:
    """Where an access goes: into the record when it is one of the context. A record's low bytes come first."""
    if field is None:
        return e.address(register, offset)
    base = e.base(register)
    inside = offset + (base.offset if base is not None and base.kind == CONTEXT else 0) - field.offset
    if not 0 <= inside < field.size:
        raise InternalError(f"access at {offset} is not in the context's {field.name}")
    return e.context(field.record_offset + inside)


def atomic(e: Emitter, facts: Facts, pc: int, instruction: Atomic) -> None:
    """One step on memory; what fetches is sequentially consistent, what does not is only indivisible."""
    width, apart = instruction.size.bytes, scope(facts.regions.get(pc))
    kind = f"i{width * 8}"
    pointer = e.address(instruction.dst, instruction.offset)
    value = _narrow(e, e.get(instruction.src), width * 8)
    if instruction.op is AtomicOp.CMPXCHG:
        expected = _narrow(e, e.get(0), width * 8)
        pair = e.value(
            f"cmpxchg ptr {pointer}, {kind} {expected}, {kind} {value} seq_cst seq_cst, align {width}{apart}"
        )
        old = e.value(f"extractvalue {{ {kind}, i1 }} {pair}, 0")
        e.set(0, _wide(e, old, width * 8))
        return
    order = "seq_cst" if instruction.fetch else "monotonic"
    name = _NAMES[instruction.op]
    old = e.value(f"atomicrmw {name} ptr {pointer}, {kind} {value} {order}, align {width}{apart}")
    if instruction.fetch:
        e.set(instruction.src, _wide(e, old, width * 8))


def _narrow(e: Emitter, value: str, bits: int) -> str:
    return value if bits == 64 else e.value(f"trunc i64 {value} to i{bits}")


def _wide(e: Emitter, value: str, bits: int) -> str:
    return value if bits == 64 else e.value(f"zext i{bits} {value} to i64")


def _low(value: int, bits: int) -> int:
    """The low bits of a value as LLVM writes a constant of that width."""
    half = 1 << bits - 1
    return ((value + half) & ((1 << bits) - 1)) - half
