"""Whatever we accept about sockets, records, locks, maps inside maps, counters and stack of others, the kernel accepts, or we know why not.

Programs are written at random, as they are and with a few things changed, or are rows of the tables of typed programs, changed. They
are only judged, never run. `XDPSIM_FUZZ_PROGRAMS=20000 XDPSIM_FUZZ_SEED=1` makes a run longer or different; `-s` shows what was
counted.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Final
from unittest.mock import patch

import pytest

from runtime.engine.kernel import kernel_verdict
from runtime.errors import DecodeError, VerificationError
from runtime.isa import decode, encode
from runtime.loader import program_type
from runtime.spec import ProgramSpec
from runtime.verifier import Policy, transfer_call
from runtime.verifier.prove import prove
from tests.kernel.verdicts.weaker import without_null_registers
from tests.support.mutations import mutated
from tests.support.typed_programs import typed_program
from tests.xdp.linux.cases import MAPS, Case, cases
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "600"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
BUDGET: Final = Policy(steps=20_000)
LONG_WAY: Final = Policy(steps=40_000, prune=False, speculate=False, compile=False)

HARMLESS: Final = (
    ("unreachable insn", "we accept code that nothing reaches, and warn"),
    ("LD_ABS is not allowed in subprogs without BTF", "the kernel wants types for functions that may leave"),
    (
        "cannot spill pointers to stack into stack frame of the caller",
        "what leads to a frame is void when the frame is",
    ),
    ("cannot return stack pointer to the caller", "what leads to a frame is void when the frame is"),
    ("subtraction from stack pointer prohibited", "fp - 8 is fp + -8"),
    ("pointer and register with unbounded min value", "we know more of operations, and of what LD_ABS loads"),
    ("is outside of the allowed memory range", "we know more of operations, and of what LD_ABS loads"),
    ("BPF program is too large", "we prove loops without running them"),
    ("The sequence of", "we prove loops without running them"),
    (
        "offset is outside of the packet",
        "we keep proofs when pointers are loaded again, are beyond the end, or are far",
    ),
    ("pointer offset", "a pointer may go anywhere as long as it is not followed"),
    ("verifier bug", "the kernel's own"),
)
"""What the kernel says of programs that only we accept, and why each is safe."""


@contextmanager
def _nothing_is_always_found() -> Iterator[None]:
    """Elements of arrays may be missing: the kernel knows of some only that they are there."""
    with patch.object(transfer_call, "_always_found", lambda *_: False):
        yield


WITHOUT: Final[tuple[tuple[str, Callable[[], AbstractContextManager[None]]], ...]] = (
    ("we know that elements of arrays are there", _nothing_is_always_found),
    ("we know more of a comparison with a register that is 0", without_null_registers),
)
"""What we know and the kernel does not; it explains a program that we refuse, too, without that."""


@cache
def _cases() -> tuple[Case, ...]:
    return cases()


def _written(seed: int) -> ProgramSpec:
    return Case(name="", type="tc", ours="", kernel="", text=typed_program(seed)).program()


def _changed(seed: int) -> ProgramSpec:
    draw = random.Random(seed)
    return mutated(_written(seed), draw, changes=draw.choice((1, 1, 2)))


def _changed_case(seed: int) -> ProgramSpec:
    draw = random.Random(seed)
    return mutated(draw.choice(_cases()).program(), draw, changes=draw.choice((1, 1, 2, 3)))


SOURCES: Final = {"written": _written, "changed": _changed, "changed rows": _changed_case}


def _fault(
    program: ProgramSpec, policy: Policy, weaker: Callable[[], AbstractContextManager[None]] = nullcontext
) -> str:
    """Empty for what we accept, else the code of the failure."""
    registry = default_registry()
    try:
        with weaker():
            prove(program, program_type(registry, program), MAPS, registry, policy=policy)
    except VerificationError as error:
        return error.code
    return ""


def _reason(program: ProgramSpec, log: str, name: str) -> str:
    """Why only we accept the program; fails when nobody knows."""
    words = "\n".join([each for each in log.splitlines() if not each.startswith("processed")][-4:])
    assert _fault(program, LONG_WAY) in ("", "budget"), f"{name}: only short cuts accept it"
    for part, reason in HARMLESS:
        if part in words:
            return reason
    for reason, weaker in WITHOUT:
        if _fault(program, LONG_WAY, weaker) not in ("", "budget"):
            return reason
    raise AssertionError(f"{name}: only we accept it; the kernel says: {words}")


def _stands_for_bytes(program: ProgramSpec) -> bool:
    """Whether an object could have such code; changed instructions may be none."""
    try:
        decode(encode(program.code))
    except DecodeError:
        return False
    return True


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
@pytest.mark.parametrize("source", SOURCES)
def test_the_kernel_accepts_what_we_accept(source: str) -> None:
    """Each program that only we accept has a reason that is known, and a proof path by path."""
    counted: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for seed in range(SEED, SEED + PROGRAMS // len(SOURCES)):
        program = SOURCES[source](seed)
        if not _stands_for_bytes(program):
            continue
        fault = _fault(program, BUDGET)
        accepted, log = kernel_verdict(program, program_type(default_registry(), program), MAPS)
        counted[f"we {'reject' if fault else 'accept'}, the kernel {'accepts' if accepted else 'rejects'}"] += 1
        if not fault and not accepted:
            reasons[f"only we: {_reason(program, log, f'{source}, seed {seed}')}"] += 1
        elif fault and accepted:
            reasons[f"only the kernel: {fault}"] += 1
    lines = "\n  ".join(f"{count} {what}" for what, count in reasons.most_common())
    sys.stdout.write(f"\n{source}: {dict(counted)}\n  {lines}\n")
    assert counted["we accept, the kernel accepts"] > counted.total() // 10
