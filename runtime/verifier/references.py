"""References and locks: what a program must give back, on every path.

Not here: which helpers take and give them; prototypes say it.

An acquired pointer has an id of its own, which is also its `ref`; pointers cast from it have the same `ref`. The state holds the
ids of what is acquired, oldest first, and the lock that is held as (map, id of the lookup).
"""

from __future__ import annotations

from runtime.verifier.failure import Failure, FailureCode
from runtime.verifier.state import State
from runtime.verifier.values import RELEASED, Value

__all__ = ["check_released", "lock_of", "release"]


def check_released(state: State, doing: str) -> Failure | None:
    """Whether the program holds nothing that it had to give back before it does that."""
    if state.references:
        count = len(state.references)
        what = "a reference" if count == 1 else f"{count} references"
        return Failure(
            FailureCode.REFERENCE,
            f"{doing} with {what} that this path never gave back: release a socket with bpf_sk_release, "
            "submit or discard a record of a ring buffer, on every path",
        )
    if state.lock is not None:
        return Failure(
            FailureCode.LOCK, f"{doing} with a spin lock held: call bpf_spin_unlock on every path that leads here"
        )
    return None


def release(state: State, reference: int) -> None:
    """Give a reference back: every pointer to what it kept is void."""
    state.references = tuple(each for each in state.references if each != reference)
    state.replace(lambda v: RELEASED if v.ref == reference else v)


def lock_of(value: Value) -> tuple[int, int]:
    """What tells locks apart: the map, and the lookup that gave the value."""
    return value.target, value.id
