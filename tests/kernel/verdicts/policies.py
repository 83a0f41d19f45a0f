"""The differences between our verdicts and the kernel's that are accepted, each by name and with its condition.

Not here: any program. A difference that no row covers is an error, of ours or of this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from runtime.isa import AluOp
from runtime.verifier import FailureCode
from tests.kernel.verdicts.verdict import Pair
from tests.kernel.verdicts.weaker import (
    Weaker,
    refused,
    with_signatures,
    without_context,
    without_lengths,
    without_long_frames,
    without_null_registers,
    without_operations,
)

__all__ = ["POLICIES", "Difference", "explain"]

_SHIFTS: Final = (AluOp.LSH, AluOp.RSH, AluOp.ARSH)
_DIVISIONS: Final = (AluOp.DIV, AluOp.MOD)
_BOUNDS: Final = (
    "unbounded min value",
    "max value is outside of the allowed memory range",
    "unbounded memory access",
    "invalid access to map value",
)
_CALLED: Final = ("Caller passes invalid args", "_or_null'")
_ROOM: Final = ("offset is outside of the packet", "invalid access to packet")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A kind of difference that is accepted: `why` is one sentence, `covers` decides on a pair whose verdicts differ."""

    name: str
    why: str
    covers: Callable[[Pair], bool]


def _only_kernel(code: str, *words: str) -> Callable[[Pair], bool]:
    """The kernel accepts; we reject with that code and one of the phrases, where there are any."""

    def covers(pair: Pair) -> bool:
        said = not words or any(each in pair.ours.message for each in words)
        return pair.kernel.accepted is True and pair.ours.code == code and said

    return covers


def _only_us(*words: str, without: Weaker | None = None) -> Callable[[Pair], bool]:
    """We accept; the kernel's reason has one of the phrases, and we refuse the program, too, without that knowledge."""

    def covers(pair: Pair) -> bool:
        if pair.ours.accepted is not True or not any(each in pair.kernel.message for each in words):
            return False
        return without is None or refused(pair, without) not in ("", FailureCode.BUDGET)

    return covers


POLICIES: Final = (
    Difference(
        name="leaks",
        why="A pointer goes where others can read it: the kernel lets root do so, we refuse unless told to warn.",
        covers=_only_kernel("leak"),
    ),
    Difference(
        name="pointers as numbers",
        why="Arithmetic that makes a number of a pointer: the kernel lets root do so, we refuse as it tells an address.",
        covers=lambda pair: any(each(pair) for each in _AS_NUMBERS),
    ),
    Difference(
        name="alignment",
        why="Accesses that some machines do not carry out are refused on all of them.",
        covers=_only_kernel("align"),
    ),
    Difference(
        name="structs by BTF",
        why="Fields of the kernel's own structs differ from kernel to kernel; pointers to them are only handed on.",
        covers=_only_kernel("bad_deref", "whose fields differ from kernel to kernel"),
    ),
    Difference(
        name="queues of sockets",
        why="An AF_XDP socket in a map is a number here that redirects go to, and no queue of it is known.",
        covers=_only_kernel("bad_deref", "an AF_XDP socket, which has no fields here"),
    ),
    Difference(
        name="pointers at variable places",
        why="A pointer that is stored on the stack has a place that is known; the kernel forgets that it was one.",
        covers=_only_kernel("stack", "its place on the stack must be a constant"),
    ),
    Difference(
        name="dynamic pointers",
        why="Dynptrs, pointers in map values that the kernel counts, and variables of the kernel are not followed.",
        covers=_only_kernel(
            "helper_arg", "arguments of type dynptr", "arguments of type kptr", "arguments of type percpu_btf_id"
        ),
    ),
    Difference(
        name="maps by BTF",
        why="The kernel lets root read the fields of its own struct bpf_map; a map has none here.",
        covers=_only_kernel("bad_deref", "is a map,"),
    ),
    Difference(
        name="programs that may sleep",
        why="Programs of sections that end in `.s` get the helpers of programs that may not sleep.",
        covers=lambda pair: ".s" in pair.section and _only_kernel("helper", "may not be called from")(pair),
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
        name="unresolved fields",
        why="This libbpf does not resolve a CO-RE relocation, and put an instruction there that nothing accepts.",
        covers=_only_us("invalid func unknown#195896080"),
    ),
    Difference(
        name="exception callbacks",
        why="The kernel ties a callback to a program by a tag in its BTF; it is no part of the program here.",
        covers=_only_us("exception callback", "cannot call exception cb"),
    ),
    Difference(
        name="kernel configuration",
        why="The helper is there in kernels that are configured otherwise.",
        covers=_only_us("cannot use helper bpf_override_return", "cannot use helper bpf_probe_write_user"),
    ),
    Difference(
        name="unreachable code",
        why="Code that no path reaches is a warning here.",
        covers=_only_us("unreachable insn"),
    ),
    Difference(
        name="too large for the kernel",
        why="The kernel goes round every loop and gives up at a million instructions; here the loop is proven at once.",
        covers=_only_us("BPF program is too large", "The sequence of"),
    ),
    Difference(
        name="global functions",
        why="The kernel judges a global function alone; we judge it with what its caller gives it.",
        covers=_only_us(*_CALLED, *_BOUNDS, without=with_signatures),
    ),
    Difference(
        name="shifts by a variable",
        why="The kernel knows nothing of a number that was shifted by one that it does not know, or that is too large.",
        covers=_only_us(*_BOUNDS, without=without_operations(*_SHIFTS, in_width=False)),
    ),
    Difference(
        name="quotients and remainders",
        why="The kernel knows nothing of the result of a division.",
        covers=_only_us(*_BOUNDS, without=without_operations(*_DIVISIONS)),
    ),
    Difference(
        name="length of the packet",
        why="Here the distance between a packet pointer and the end is a number that proves room.",
        covers=_only_us(*_ROOM, without=without_lengths),
    ),
    Difference(
        name="frames that are too long",
        why="The kernel proves nothing by a comparison beyond 65535 bytes, which holds on no path here.",
        covers=_only_us(*_ROOM, without=without_long_frames),
    ),
    Difference(
        name="subtraction from the frame pointer",
        why="A constant may be subtracted from r10 as it may be added.",
        covers=_only_us("subtraction from stack pointer prohibited"),
    ),
    Difference(
        name="context is not null",
        why="A path on which the context would be null is no path.",
        covers=_only_us("same insn cannot be used with different pointers", without=without_context),
    ),
    Difference(
        name="compared with null in a register",
        why="A pointer that differs from a register that holds 0 is not null.",
        covers=_only_us("_or_null'", without=without_null_registers),
    ),
    Difference(
        name="no bytes at all",
        why="A helper that is given no bytes touches none, wherever the pointer leads.",
        covers=_only_us("off=0 size=0"),
    ),
)
"""In order: the first that covers a difference names it."""

_AS_NUMBERS: Final = (
    _only_kernel("ptr_arith", "is not allowed: pointers into", "needs a number"),
    _only_kernel("stack", "an atomic operation on a pointer"),
)


def explain(pair: Pair) -> Difference | None:
    """The accepted difference that a pair of unlike verdicts is, or None."""
    return next((each for each in POLICIES if each.covers(pair)), None)
