"""Conformance cases of jumps, loops, functions and references: code by hand, expectations in plain integers.

Not here: single operations (generate.py).
"""

from __future__ import annotations

from typing import Final

from tests.conformance.cases import Case, Run
from tests.conformance.semantics import unsigned

__all__ = ["control"]

_A: Final = 0x0123_4567_89AB_CDEF
_M64: Final = (1 << 64) - 1
_WORDS: Final = (0, 1, 7, _A, _M64)


def control() -> tuple[Case, ...]:
    """All of them."""
    return (*_jumps(), *_loops(), *_functions(), *_references())


def _jumps() -> tuple[Case, ...]:
    arms = "if r1 == 0 goto other\nr0 = 1\n{} join\nother:\nr0 = 2\njoin:\nr0 *= 10"
    chosen = tuple(Run(arguments=(a,), result=10 if a else 20) for a in _WORDS)
    back = "{} first\nsecond:\nr0 += r1\n{} end\nfirst:\nr0 = 3\n{} second"
    summed = tuple(Run(arguments=(a,), result=unsigned(a + 3)) for a in _WORDS)
    return (
        *(Case(name=f"{word} forward", asm=arms.format(word), runs=chosen) for word in ("goto", "gotol")),
        *(Case(name=f"{word} backward", asm=back.format(word, word, word), runs=summed) for word in ("goto", "gotol")),
        *(
            Case(name=f"{word} the next slot", asm=f"r0 = r1\n{word} +0\nr0 += 3", runs=summed)
            for word in ("goto", "gotol")
        ),
        Case(
            name="gotol there and back",
            asm="r0 = r1\ngotol away\nback:\ngotol end\naway:\nr0 += 3\ngotol back",
            runs=summed,
        ),
        Case(
            name="a branch over a wide load",
            asm=f"r0 = r1\nif r1 == 7 goto end\nr0 = {_A:#x} ll",
            runs=tuple(Run(arguments=(a,), result=7 if a == 7 else _A) for a in _WORDS),
        ),
        Case(
            name="a ladder of branches",
            asm="r0 = 0\nif r1 > 9 goto end\nr0 = 1\nif r1 > 4 goto end\nr0 = 2\nif r1 > 1 goto end\nr0 = 3",
            runs=tuple(
                Run(arguments=(a,), result=sum(a <= b for b in (9, 4, 1))) for a in (0, 1, 2, 4, 5, 9, 10, _M64)
            ),
        ),
    )


def _loops() -> tuple[Case, ...]:
    counted = "r0 = 0\nr2 = {}\nagain:\nr0 += r1\nr2 {}= 1\nif {} {} goto again"
    tens = tuple(Run(arguments=(a,), result=unsigned(10 * a)) for a in _WORDS)
    small = tuple(Run(arguments=(a,), result=sum(range((a & 7) + 1))) for a in _WORDS)
    return (
        Case(name="a loop that counts down", asm=counted.format(10, "-", "r2", "!= 0"), runs=tens),
        Case(name="a loop that counts up", asm=counted.format(0, "+", "w2", "s< 10"), runs=tens),
        Case(
            name="a loop whose bound is in the packet",
            asm="r1 &= 7\nr0 = 0\nagain:\nr0 += r1\nif r1 == 0 goto end\nr1 -= 1\ngotol again",
            runs=small,
        ),
    )


def _functions() -> tuple[Case, ...]:
    triple = "triple:\nr0 = r1\nr0 *= 3\nexit"
    chain = "".join(f"f{at}:\nr1 += {at}\ncall f{at + 1}\nr0 += 1\nexit\n" for at in range(1, 6)) + "f6:\nr0 = r1\nexit"
    five = "five:\nr0 = r1\nr0 -= r2\nr0 ^= r3\nr0 += r4\nr0 *= r5\nexit"
    return (
        Case(
            name="a function's result has 64 bits",
            asm="call triple",
            functions=triple,
            runs=tuple(Run(arguments=(a,), result=unsigned(3 * a)) for a in _WORDS),
        ),
        Case(
            name="a function takes five arguments",
            asm="call five",
            functions=five,
            runs=tuple(
                Run(arguments=(a, b, 5, 6, _A), result=unsigned((((a - b) ^ 5) + 6) * _A))
                for a in _WORDS
                for b in (1, _M64)
            ),
        ),
        Case(
            name="r6 to r9 stay",
            asm="r6 = r1\nr7 = r1\nr7 += 1\nr8 = r1\nr8 += 2\ncall spoil\nr0 += r6\nr0 += r7\nr0 += r8",
            functions="spoil:\nr6 = 11\nr7 = 12\nr8 = 13\nr9 = 14\nr0 = 100\nexit",
            runs=tuple(Run(arguments=(a,), result=unsigned(3 * a + 103)) for a in _WORDS),
        ),
        Case(
            name="each function has a frame of its own",
            asm="*(u64 *)(r10 - 8) = r1\ncall frame\nr1 = *(u64 *)(r10 - 8)\nr0 -= r1",
            functions="frame:\n*(u64 *)(r10 - 8) = 1\nr1 += r1\n*(u64 *)(r10 - 16) = r1\nr0 = *(u64 *)(r10 - 16)\nexit",
            runs=tuple(Run(arguments=(a,), result=a) for a in _WORDS),
        ),
        Case(
            name="a function writes its caller's frame",
            asm="*(u64 *)(r10 - 8) = r1\nr1 = r10\nr1 += -8\ncall grow\nr0 = *(u64 *)(r10 - 8)",
            functions="grow:\nr2 = *(u64 *)(r1 + 0)\nr2 += 5\n*(u64 *)(r1 + 0) = r2\nr0 = 0\nexit",
            runs=tuple(Run(arguments=(a,), result=unsigned(a + 5)) for a in _WORDS),
        ),
        Case(
            name="a function writes the packet",
            asm="r2 = r9\ncall put",
            functions="put:\n*(u64 *)(r2 + 8) = r1\nr0 = *(u32 *)(r2 + 8)\nexit",
            runs=tuple(
                Run(
                    arguments=(a,),
                    memory=b"\x01" * 16,
                    result=unsigned(a, 32),
                    memory_after=b"\x01" * 8 + a.to_bytes(8, "little"),
                )
                for a in _WORDS
            ),
        ),
        Case(
            name="six functions deep",
            asm="call f1",
            functions=chain,
            runs=tuple(Run(arguments=(a,), result=unsigned(a + 15 + 5)) for a in _WORDS),
        ),
        Case(
            name="a function called twice",
            asm="r6 = r2\ncall triple\nr1 = r6\nr6 = r0\ncall triple\nr0 -= r6",
            functions=triple,
            runs=tuple(Run(arguments=(a, b), result=unsigned(3 * b - 3 * a)) for a in _WORDS for b in (2, _A)),
        ),
        Case(
            name="a function with two exits",
            asm="call larger",
            functions="larger:\nr0 = r1\nif r1 >= r2 goto done\nr0 = r2\nexit\ndone:\nexit",
            runs=tuple(Run(arguments=(a, b), result=max(a, b)) for a in _WORDS for b in (2, _A)),
        ),
    )


def _references() -> tuple[Case, ...]:
    return (
        Case(
            name="a map's value through its address",
            asm="r6 = map_value[data]+8 ll\n*(u64 *)(r6 + 0) = r1\nr7 = map_value[data]+0 ll\nr0 = *(u64 *)(r7 + 8)",
            runs=tuple(Run(arguments=(a,), result=a) for a in _WORDS),
        ),
        Case(
            name="a map by its reference, looked up by a helper",
            asm="r6 = map_value[data]+0 ll\n*(u64 *)(r6 + 0) = r1\n*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\n"
            "r1 = map[data] ll\ncall 1\nif r0 == 0 goto end\nr0 = *(u64 *)(r0 + 0)",
            runs=tuple(Run(arguments=(a,), result=a) for a in _WORDS),
        ),
        Case(
            name="a function by its address, called back by a helper",
            asm="*(u64 *)(r10 - 8) = r1\nr1 = 4\nr2 = func[grow] ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 181\n"
            "r1 = *(u64 *)(r10 - 8)\nr0 += r1",
            functions="grow:\nr1 += 1\nr3 = *(u64 *)(r2 + 0)\nr3 += r1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit",
            runs=tuple(Run(arguments=(a,), result=unsigned(a + 1 + 2 + 3 + 4 + 4)) for a in _WORDS),
        ),
    )
