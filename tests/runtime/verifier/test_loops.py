"""Loops: proven at once where a component makes progress, followed round by round where not, and never believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import pytest

from runtime.errors import VerificationError
from runtime.isa import assemble
from runtime.spec import MapSpec, ProgramSpec, Subprogram
from runtime.verifier import Policy, VerifiedProgram, verify
from xdp.extension import default_registry

MAPS = (MapSpec(name="values", kind=2, key_size=4, value_size=64, max_entries=4),)
QUICK = Policy(steps=20_000)
PACKET = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\n"
OUT = "out:\nr0 = 2\nexit\n"


def _verify(text: str, policy: Policy = QUICK, starts: tuple[int, ...] = (0,)) -> VerifiedProgram:
    subprograms = tuple(Subprogram(start, f"f{start}") for start in starts)
    spec = ProgramSpec(name="loop", section="xdp", code=assemble(text), subprograms=subprograms, license="GPL")
    registry = default_registry()
    return verify(spec, registry.program_type("xdp"), MAPS, registry, policy=policy)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A program, and how often its (last) loop runs at most as far as can be told."""

    name: str
    text: str
    bound: int


PROVEN = (
    Loop(name="count to a million", text="r6 = 0\nloop:\nr6 += 1\nif r6 < 1000000 goto loop\n" + OUT, bound=1_000_001),
    Loop(name="until not equal", text="r6 = 0\nloop:\nr6 += 1\nif r6 != 1000 goto loop\n" + OUT, bound=1001),
    Loop(name="down to zero", text="r6 = 100000\nloop:\nr6 += -1\nif r6 != 0 goto loop\n" + OUT, bound=100_001),
    Loop(name="steps of three", text="r6 = 0\nloop:\nr6 += 3\nif r6 < 30000 goto loop\n" + OUT, bound=10_001),
    Loop(name="32-bit counter", text="w6 = 0\nloop:\nw6 += 1\nif w6 < 50000 goto loop\n" + OUT, bound=50_001),
    Loop(
        name="bound from the context",
        text="r2 = *(u32 *)(r1 + 12)\nif r2 > 5000 goto out\nif r2 == 0 goto out\n"
        "r6 = 0\nloop:\nr6 += 1\nif r6 < r2 goto loop\n" + OUT,
        bound=5001,
    ),
    Loop(
        name="checksum of 1,500 bytes",
        text=PACKET + "r0 = 0\nr4 = 0\nloop:\nr5 = r2\nr5 += 2\nif r5 > r3 goto out\n"
        "r5 = *(u16 *)(r2 + 0)\nr0 += r5\nr2 += 2\nr4 += 1\nif r4 < 750 goto loop\n" + OUT,
        bound=751,
    ),
    Loop(
        name="walk to the end of the packet",
        text=PACKET + "r0 = 0\nloop:\nr5 = r2\nr5 += 8\nif r5 > r3 goto out\nr5 = *(u64 *)(r2 + 0)\nr0 += r5\n"
        "r2 += 8\ngoto loop\n" + OUT,
        bound=270_000,
    ),
    Loop(
        name="walk by lengths in the packet",
        text=PACKET + "loop:\nr5 = r2\nr5 += 2\nif r5 > r3 goto out\nr5 = *(u8 *)(r2 + 1)\nr5 &= 63\nr5 += 2\n"
        "r2 += r5\ngoto loop\n" + OUT,
        bound=1_100_000,
    ),
    Loop(
        name="counter on the stack",
        text="r6 = 0\n*(u64 *)(r10 - 8) = r6\nloop:\nr6 = *(u64 *)(r10 - 8)\nr6 += 1\n*(u64 *)(r10 - 8) = r6\n"
        "if r6 < 100000 goto loop\n" + OUT,
        bound=100_001,
    ),
    Loop(
        name="loop in a loop",
        text="r6 = 0\nr8 = 0\nouter:\nr7 = 0\ninner:\nr7 += 1\nr8 += r7\nif r7 < 1000 goto inner\nr6 += 1\n"
        "if r6 < 1000 goto outer\n" + OUT,
        bound=1_010_000,
    ),
    Loop(
        name="steps of four, until not equal",
        text="r6 = 0\nloop:\nr6 += 4\nif r6 != 40000 goto loop\n" + OUT,
        bound=10_001,
    ),
    Loop(
        name="down in 32 bits, signed",
        text="w6 = 5000\nloop:\nw6 += -1\nif w6 s> 0 goto loop\n" + OUT,
        bound=5001,
    ),
    Loop(
        name="triangle",
        text="r6 = 0\nouter:\nif r6 >= 1000 goto out\nr7 = 0\ninner:\nif r7 >= r6 goto next\nr7 += 1\n"
        "goto inner\nnext:\nr6 += 1\ngoto outer\n" + OUT,
        bound=1_010_000,
    ),
    Loop(
        name="bound that two loops share",
        text="r9 = *(u32 *)(r1 + 12)\nif r9 > 1000 goto out\nr6 = 0\nouter:\nif r6 >= r9 goto out\nr7 = 0\n"
        "inner:\nif r7 >= r9 goto next\nr7 += 1\ngoto inner\nnext:\nr6 += 1\ngoto outer\n" + OUT,
        bound=1_010_000,
    ),
    Loop(
        name="counts what chance gives",
        text="r6 = *(u32 *)(r1 + 12)\nif r6 > 5000 goto out\nr7 = 0\nr8 = 0\nloop:\nif r7 >= r6 goto out\ncall 7\n"
        "if r0 == 5 goto skip\nr8 += 1\nskip:\nr7 += 1\ngoto loop\n" + OUT,
        bound=5002,
    ),
    Loop(
        name="bound and counter on the stack",
        text="r6 = 0\n*(u32 *)(r10 - 8) = r6\nr7 = *(u32 *)(r1 + 12)\nif r7 > 5000 goto out\n*(u64 *)(r10 - 16) = r7\n"
        "loop:\nr6 = *(u32 *)(r10 - 8)\nr7 = *(u64 *)(r10 - 16)\nif r6 >= r7 goto out\nr6 += 1\n"
        "*(u32 *)(r10 - 8) = r6\ngoto loop\n" + OUT,
        bound=5002,
    ),
    Loop(
        name="index into the stack",
        text="r6 = 0\nr3 = 0\nloop:\nr2 = r10\nr2 += -64\nr2 += r6\n*(u8 *)(r2 + 0) = r3\nr6 += 1\n"
        "if r6 < 64 goto loop\n" + OUT,
        bound=70,
    ),
)

REJECTED = {
    "nothing changes": ("loop:\nr0 = 1\ngoto loop\nexit\n", "loop"),
    "waits for what does not change": (
        "r6 = *(u32 *)(r1 + 12)\nr0 = 0\nloop:\nif r6 == 77 goto out\ngoto loop\n" + OUT,
        "loop",
    ),
    "counts for ever": ("r6 = 0\nloop:\nr6 += 1\ngoto loop\nexit\n", "budget"),
    "waits for a random number": ("r6 = 0\nloop:\ncall 7\nr6 += 1\nif r0 != 5 goto loop\n" + OUT, "budget"),
    "counter that starts again": (
        "r6 = 0\nloop:\ncall 7\nif r0 != 3 goto on\nr6 = 0\non:\nr6 += 1\nif r6 < 1000 goto loop\n" + OUT,
        "loop",
    ),
    "two counters that undo each other": (
        "r6 = 0\nr7 = 1000\nloop:\ncall 7\nif r0 s> 3 goto up\nr6 += -1\nr7 += 1\ngoto on\nup:\nr6 += 1\nr7 += -1\n"
        "on:\nif r6 != 2000 goto loop\n" + OUT,
        "budget",
    ),
    "four loops in each other, each of which ends": (
        "r6 = 0\na:\nr7 = 0\nb:\nr8 = 0\nc:\nr9 = 0\nd:\nr9 += 1\nif r9 < 8000000 goto d\nr8 += 1\nif r8 < 8000000 goto c\n"
        "r7 += 1\nif r7 < 8000000 goto b\nr6 += 1\nif r6 < 8000000 goto a\n" + OUT,
        "loop",
    ),
    "wraps around": ("w6 = 1\nloop:\nw6 += 1\nif w6 != 0 goto loop\n" + OUT, "budget"),
    "one byte too far": (
        "r6 = 0\nr3 = 0\nloop:\nr2 = r10\nr2 += -64\nr2 += r6\n*(u8 *)(r2 + 0) = r3\nr6 += 1\nif r6 < 65 goto loop\n"
        + OUT,
        "stack",
    ),
    "walks on without looking": (
        PACKET + "r4 = r2\nr4 += 8\nif r4 > r3 goto out\nr6 = 0\nloop:\nr5 = *(u8 *)(r2 + 0)\nr2 += 1\nr6 += 1\n"
        "if r6 < 9 goto loop\n" + OUT,
        "packet_oob",
    ),
    "walk that may stand still": (
        PACKET
        + "loop:\nr5 = r2\nr5 += 2\nif r5 > r3 goto out\nr5 = *(u8 *)(r2 + 1)\nr5 &= 63\nr2 += r5\ngoto loop\n"
        + OUT,
        "budget",
    ),
    "pointer that the next round takes for a number": (
        (
            "r6 = 0\n*(u64 *)(r10 - 8) = r6\nr0 = 0\nloop:\nr0 = *(u64 *)(r10 - 8)\n*(u64 *)(r10 - 8) = r10\nr6 += 1\n"
            "if r6 < 3 goto loop\nexit\n"
        ),
        "leak",
    ),
}


@pytest.mark.parametrize("loop", PROVEN, ids=lambda loop: loop.name)
def test_a_loop_is_proven_at_once(loop: Loop) -> None:
    """It is accepted in under 1,000 steps, and the bound that is reported is not far above the truth."""
    facts = _verify(loop.text).facts
    assert facts.steps < 1000
    assert facts.loops
    assert max(each.iterations for each in facts.loops) <= loop.bound


@pytest.mark.parametrize("name", REJECTED)
def test_a_loop_is_not_believed(name: str) -> None:
    """What does not end, or leaves its memory in some round, is rejected with the code of the cause."""
    text, code = REJECTED[name]
    with pytest.raises(VerificationError) as caught:
        _verify(text)
    assert caught.value.code == code


def test_a_short_loop_is_followed_when_nothing_else_helps() -> None:
    """Without speculation a loop of ten rounds is accepted, and the bound is its rounds."""
    facts = _verify("r6 = 0\nloop:\nr6 += 1\nif r6 < 10 goto loop\n" + OUT, Policy(speculate=False)).facts
    assert [each.iterations for each in facts.loops] == [9]


def test_a_walk_that_is_not_proven_takes_no_memory_for_what_it_left() -> None:
    """What is known of packet bases that nothing names any more is forgotten; else each round would keep its own."""
    rooms: list[int] = []
    text = PACKET + (
        "loop:\nr5 = r2\nr5 += 2\nif r5 > r3 goto out\nr5 = *(u8 *)(r2 + 1)\nr5 &= 63\nr2 += r5\ngoto loop\n" + OUT
    )
    registry = default_registry()
    spec = ProgramSpec(
        name="loop", section="xdp", code=assemble(text), subprograms=(Subprogram(0, "f0"),), license="GPL"
    )
    with pytest.raises(VerificationError):
        verify(
            spec,
            registry.program_type("xdp"),
            MAPS,
            registry,
            policy=Policy(steps=5000, speculate=False),
            watcher=lambda _, state: rooms.append(len(state.room)),
        )
    assert max(rooms) < 100


_TURNS = "r6 = 0\nloop:\nr6 += 1\nr6 &= {mask}\nif r6 < 64 goto loop\n" + OUT


@pytest.mark.parametrize("mask", [1, 3, 7, 15])
def test_a_state_that_comes_again_after_some_rounds_ends_the_search(mask: int) -> None:
    """A loop that goes through the same few states for ever is rejected in a few rounds, not when the budget is spent."""
    seen: list[int] = []
    spec = ProgramSpec(
        name="loop",
        section="xdp",
        code=assemble(_TURNS.format(mask=mask)),
        subprograms=(Subprogram(0, "f0"),),
        license="GPL",
    )
    registry = default_registry()
    with pytest.raises(VerificationError) as caught:
        verify(
            spec,
            registry.program_type("xdp"),
            MAPS,
            registry,
            policy=Policy(steps=20_000, speculate=False),
            watcher=lambda pc, _: seen.append(pc),
        )
    assert caught.value.code == "loop"
    assert len(seen) < 40 * (mask + 1)


def test_a_circle_of_calls_is_refused_before_any_path() -> None:
    """Functions that call each other, even behind a condition, are refused in no step."""
    text = "call second\nr0 = 0\nexit\nsecond:\nif r1 == 5 goto leave\ncall third\nleave:\nr0 = 0\nexit\nthird:\ncall second\nexit\n"
    with pytest.raises(VerificationError) as caught:
        _verify(text, Policy(steps=1), starts=(0, 3, 7))
    assert caught.value.code == "call"


def test_calls_of_one_function_from_two_are_no_circle() -> None:
    """A function may have many callers, at different depths."""
    text = "call second\ncall third\nr0 = 0\nexit\nsecond:\ncall third\nexit\nthird:\nr0 = 1\nexit\n"
    assert _verify(text, starts=(0, 4, 6)).facts.steps


def test_a_single_path_is_followed_once() -> None:
    """Where the budget ends on the only path there is, no other way of following it is tried."""
    seen: list[int] = []
    spec = ProgramSpec(
        name="loop",
        section="xdp",
        code=assemble("r0 = 5\nloop:\nif r0 < 4 goto out\nr0 += 1\ngoto loop\nout:\nexit\n"),
        subprograms=(Subprogram(0, "f0"),),
        license="GPL",
    )
    registry = default_registry()
    with pytest.raises(VerificationError) as caught:
        verify(
            spec,
            registry.program_type("xdp"),
            MAPS,
            registry,
            policy=Policy(steps=3000),
            watcher=lambda pc, _: seen.append(pc),
        )
    assert caught.value.code == "budget"
    assert len(seen) <= 3000
