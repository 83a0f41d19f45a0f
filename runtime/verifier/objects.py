"""Arguments that are kernel objects, memory from helpers, locks and timers; and what helpers give of these.

Not here: numbers, maps and other memory (arguments.py).
"""

from __future__ import annotations

from typing import Final

from runtime.spec import Arg, ArgType, Helper, ReturnType
from runtime.verifier.failure import Failure, FailureCode
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.references import lock_of
from runtime.verifier.state import State
from runtime.verifier.values import ZERO, Kind, Value

__all__ = ["OBJECT_ARGUMENTS", "check_allocation", "check_object", "object_result", "reference_of"]

OBJECT_ARGUMENTS: Final = frozenset({
    ArgType.SOCK_COMMON, ArgType.ANY_SOCK_COMMON, ArgType.SOCKET, ArgType.BTF_ID, ArgType.ALLOC_MEMORY,
    ArgType.SPIN_LOCK, ArgType.TIMER,
})  # fmt: skip
"""What `check_object` judges."""

_FIELDS: Final = {ArgType.SPIN_LOCK: "bpf_spin_lock", ArgType.TIMER: "bpf_timer"}
_WORD32: Final = (1 << 32) - 1


def _bad(message: str) -> Failure:
    return Failure(FailureCode.HELPER_ARG, message)


def check_object(platform: Platform, state: State, helper: Helper, position: int, arg: Arg) -> Failure | None:
    """Whether the argument is the object, memory, lock or timer that the helper wants."""
    value = state.registers[position]
    if arg.nullable and value.kind is Kind.NUMBER and value.number.const == 0:
        return None
    if arg.type in _FIELDS:
        return _special(platform, state, helper, position, _FIELDS[arg.type])
    if value.kind in (Kind.OBJECT_OR_NULL, Kind.MEMORY_OR_NULL):
        return Failure(
            FailureCode.NULL_DEREF, f"r{position} is {value.kind.words}: leave when it is null before this call"
        )
    if value.kind is Kind.RELEASED:
        return Failure(FailureCode.STALE_POINTER, f"r{position} is {value.kind.words}: give it back once")
    if arg.type is ArgType.ALLOC_MEMORY:
        return _record(value, position)
    if value.kind is not Kind.OBJECT:
        return _bad(f"r{position} is {value.kind.words}; {_wanted(platform, arg)} is wanted")
    struct = platform.structs[value.target]
    if arg.type.value not in struct.passes_as and arg.struct != struct.name:
        return _bad(f"r{position} is {struct.words}; {_wanted(platform, arg)} is wanted")
    if arg.releases and not value.ref:
        return Failure(
            FailureCode.REFERENCE,
            f"r{position} is {struct.words} that this program did not acquire: release only what a lookup gave",
        )
    return None


def _wanted(platform: Platform, arg: Arg) -> str:
    index = platform.struct(arg.struct)
    if index is not None:
        return platform.structs[index].words
    return "an object of the kernel" if arg.type is ArgType.BTF_ID else "a socket"


def _record(value: Value, position: int) -> Failure | None:
    """What was reserved in a ring buffer, from its start."""
    if value.kind is not Kind.MEMORY or not value.ref:
        return _bad(f"r{position} is {value.kind.words}; what bpf_ringbuf_reserve gave is wanted")
    if value.offset or value.number is not ZERO:
        return _bad(
            f"r{position} was moved; the record as it was reserved is wanted: keep the pointer, and move a copy"
        )
    return None


def _special(platform: Platform, state: State, helper: Helper, position: int, field: str) -> Failure | None:
    """A lock or timer in a map value."""
    value = state.registers[position]
    if value.kind is Kind.MAP_VALUE_OR_NULL:
        return Failure(FailureCode.NULL_DEREF, f"r{position} may be null: leave when it is null before this call")
    if value.kind is not Kind.MAP_VALUE:
        return _bad(f"r{position} is {value.kind.words}; the address of a {field} in a map value is wanted")
    spec = platform.maps[value.target]
    if value.number.const is None:
        return _bad(f"r{position} is at a variable place in a value of {spec.name!r}; a {field} has one place")
    place = value.offset + value.number.smin
    if not any(each.type == field and each.offset == place for each in spec.special):
        return _bad(f"byte {place} of a value of {spec.name!r} is no {field}, as far as its BTF says")
    if helper.prototype.locks and state.lock is not None:
        return Failure(FailureCode.LOCK, "a lock is held already: unlock it before another is taken")
    if helper.prototype.unlocks and state.lock is None:
        return Failure(FailureCode.LOCK, "no lock is held: bpf_spin_lock takes one")
    if helper.prototype.unlocks and state.lock != lock_of(value):
        return Failure(FailureCode.LOCK, "another lock is held: unlock the value that was locked")
    for other, arg in enumerate(helper.prototype.args, 1):
        if arg.type is ArgType.CONST_MAP and _other_map(state.registers[other], value):
            return _bad(f"r{other} is not the map that the {field} is in")
    return None


def _other_map(given: Value, value: Value) -> bool:
    return given.kind is Kind.MAP and (given.target != value.target or given.id != 0)


def check_allocation(value: Value, position: int) -> Failure | None:
    """Whether a size is one constant."""
    if value.kind is not Kind.NUMBER:
        return _bad(f"r{position} is {value.kind.words}; a size is wanted")
    if value.number.const is None:
        return _bad(
            f"r{position}, a size, is in [{value.number.umin}, {value.number.umax}]; it must be one constant: use bpf_ringbuf_output"
        )
    return None


def reference_of(state: State, helper: Helper) -> int:
    """The reference that the first argument of a cast keeps."""
    return state.registers[1].ref if helper.prototype.casts else 0


def object_result(platform: Platform, notebook: Notebook, state: State, helper: Helper) -> Value:
    """The object or memory that a helper gives, acquired where the prototype says so."""
    ret = helper.prototype.ret.value
    nullable = ret.endswith("_or_null")
    ident = notebook.fresh_id() if nullable or helper.prototype.acquires else 0
    ref = ident if helper.prototype.acquires else reference_of(state, helper)
    if helper.prototype.acquires:
        state.references = (*state.references, ident)
    if helper.prototype.ret is ReturnType.ALLOC_MEMORY_OR_NULL:
        size = next(
            state.registers[position].number.umin & _WORD32
            for position, arg in enumerate(helper.prototype.args, 1)
            if arg.type is ArgType.CONST_ALLOC_SIZE
        )
        return Value(Kind.MEMORY_OR_NULL, ZERO, 0, ident, size, ref=ref)
    struct = platform.struct(helper.prototype.struct or ret.removesuffix("_or_null"))
    if struct is None:
        return Value(Kind.OPAQUE, ZERO)
    return Value(Kind.OBJECT_OR_NULL if nullable else Kind.OBJECT, ZERO, 0, ident, struct, ref=ref)
