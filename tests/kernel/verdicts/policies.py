"""The differences between our verdicts and the kernel's that are accepted, each by name and with its condition.

Not here: any program. A difference that no row covers is an error, of ours or of this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from runtime.isa import CallHelper
from tests.kernel.verdicts.verdict import Pair

__all__ = ["POLICIES", "Difference", "explain"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A kind of difference that is accepted: `why` is one sentence, `covers` decides on a pair whose verdicts differ."""

    name: str
    why: str
    covers: Callable[[Pair], bool]


def _only_kernel(*codes: str, words: str = "") -> Callable[[Pair], bool]:
    """The kernel accepts; we reject with one of the codes and these words."""

    def covers(pair: Pair) -> bool:
        return pair.kernel.accepted is True and pair.ours.code in codes and words in pair.ours.message

    return covers


def _only_us(*words: str) -> Callable[[Pair], bool]:
    """We accept; the kernel's reason has one of the phrases."""

    def covers(pair: Pair) -> bool:
        return pair.ours.accepted is True and any(each in pair.kernel.message for each in words)

    return covers


POLICIES: Final = (
    Difference(
        name="leaks",
        why="A pointer goes where others can read it: the kernel allows it to root, we reject unless told to warn.",
        covers=lambda pair: pair.kernel.accepted is True and pair.ours.tolerant,
    ),
    Difference(
        name="not read",
        why="The object, the type or something that the program needs is unknown here, and we say so.",
        covers=lambda pair: pair.ours.accepted is None,
    ),
    Difference(
        name="not loaded",
        why="libbpf or this kernel could not make what the program needs, so that its verifier was never asked.",
        covers=lambda pair: pair.kernel.accepted is None,
    ),
    Difference(
        name="unreachable code",
        why="Code that no path reaches is a warning here.",
        covers=_only_us("unreachable insn"),
    ),
    Difference(
        name="kernel too large",
        why="The kernel gives up at a million instructions or at its bound of pending branches; here a loop is proven at once.",
        covers=_only_us("BPF program is too large", "The sequence of", "infinite loop detected"),
    ),
)
"""In order: the first that covers a difference names it."""


def explain(pair: Pair) -> Difference | None:
    """The accepted difference that a pair of unlike verdicts is, or None."""
    return next((each for each in POLICIES if each.covers(pair)), None)


def _calls(pair: Pair, number: int) -> bool:
    return pair.spec is not None and any(
        isinstance(each, CallHelper) and each.helper == number for each in pair.spec.code
    )
