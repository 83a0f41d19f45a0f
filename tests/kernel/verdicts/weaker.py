"""Our verifier without one of the things that it knows and the kernel does not: what it then says of a program.

Not here: which differences are explained by that (policies.py). A difference is due to a piece of knowledge exactly when the
program is refused without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

from runtime.errors import VerificationError
from runtime.isa import AluOp, Branch, Reg
from runtime.verifier import Policy, explore, prove, transfer, transfer_branch
from runtime.verifier.domains import DOMAIN, Scalar
from runtime.verifier.explore import Explorer
from runtime.verifier.state import State
from runtime.verifier.values import UNKNOWN, Kind, Value
from tests.kernel.verdicts.verdict import Pair
from xdp.extension import default_registry

__all__ = [
    "Weaker",
    "refused",
    "with_signatures",
    "without_context",
    "without_lengths",
    "without_long_frames",
    "without_null_registers",
    "without_operations",
]

Weaker = Callable[[], AbstractContextManager[None]]

_LONGEST: Final = 65535
_STEPS: Final = 200_000


def refused(pair: Pair, weaker: Weaker) -> str:
    """The code with which we refuse the program when we know less; empty where we still accept it."""
    if pair.spec is None or pair.kind is None:
        return ""
    policy = Policy(steps=_STEPS, compile=False)
    try:
        with weaker():
            prove.prove(pair.spec, pair.kind, pair.maps, default_registry(), policy=policy)
    except VerificationError as error:
        return str(error.code)
    return ""


def without_operations(*operations: AluOp, in_width: bool = True) -> Weaker:
    """Nothing is known of what these operations give; without `in_width`, of constants below the width it is."""
    known = DOMAIN.alu

    def alu(op: AluOp, width: int, left: Scalar, right: Scalar) -> Scalar:
        if op in operations and (in_width or right.const is None or right.const >= width):
            return DOMAIN.truncate(DOMAIN.unknown, width)
        return known(op, width, left, right)

    return lambda: _patched(DOMAIN, "alu", alu)


def without_lengths() -> AbstractContextManager[None]:
    """The distance between packet pointers is any number."""

    def distance(_left: Value, _right: Value) -> Value:
        return UNKNOWN

    return _patched(transfer, "_distance", distance)


def without_long_frames() -> AbstractContextManager[None]:
    """A comparison with the end of the packet says nothing of places that may be further away than a packet is long."""
    known = transfer_branch._prove

    def prove_room(state: State, pointer: Value, *, beyond: int) -> None:
        if pointer.number.umax + pointer.offset <= _LONGEST:
            known(state, pointer, beyond=beyond)

    return _patched(transfer_branch, "_prove", prove_room)


def without_null_registers() -> AbstractContextManager[None]:
    """A comparison of a pointer with a register that holds 0 is no test for null."""
    known = transfer_branch.split

    def split(state: State, branch: Branch) -> transfer_branch.Sides:
        if isinstance(branch.src, Reg):
            kinds = state.registers[branch.dst].kind, state.registers[branch.src.index].kind
            if Kind.NUMBER in kinds and set(kinds) != {Kind.NUMBER}:
                return state.fork(), state
        return known(state, branch)

    return _patched(explore, "split", split)


def without_context() -> AbstractContextManager[None]:
    """The context may be null."""
    known = transfer_branch._never_null

    def never_null(value: Value) -> bool:
        return value.kind is not Kind.CONTEXT and known(value)

    return _patched(transfer_branch, "_never_null", never_null)


def with_signatures() -> AbstractContextManager[None]:
    """Global functions are verified on their own, as by the kernel, and in no other way."""

    def explorer(*given: Any, **named: Any) -> Explorer:
        return Explorer(*given, **{**named, "own": True})

    return _patched(prove, "Explorer", explorer)


@contextmanager
def _patched(where: object, name: str, what: object) -> Iterator[None]:
    with patch.object(where, name, what):
        yield
