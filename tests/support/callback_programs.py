"""Programs whose callbacks change what their callers see, and a way to run them that knows nothing of eBPF.

Not here: judgement. A program has two numbers on its stack and one spot that must not be reached, because it follows null.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

__all__ = ["CallbackProgram", "callback_program", "goes_wrong"]

_LARGEST: Final = 3
_ELEMENTS: Final = 4  # of the map "array"

Step = tuple[str, int, int, "tuple[Step, ...]"]
"""What is done: `set`, `add` to number (second) a constant (third), `copy`, `fall` (where equal), or `some` and `when` with steps inside."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackProgram:
    """The parts: what is done before each call of the helper, in the callback, and behind; `calls` is how often the helper is called."""

    before: tuple[Step, ...]
    body: tuple[Step, ...]
    behind: tuple[Step, ...]
    calls: int
    count: int
    map: bool
    stops: bool

    @property
    def text(self) -> str:
        """The program for the assembler; the second and further calls come by a jump into the middle of a loop."""
        labels = iter(range(1 << 20))
        many = f"r1 = {self.count}" if not self.map else "r1 = map[array] ll"
        lines = ["*(u64 *)(r10 - 8) = 0", "*(u64 *)(r10 - 16) = 0", "r6 = r10", "r6 += -16", "r7 = 0", "goto middle"]
        lines += ["head:", *_text(self.before, labels), "middle:"]
        lines += [many, "r2 = func[body] ll", "r3 = r6", "r4 = 0", f"call {164 if self.map else 181}"]
        lines += ["r7 += 1", f"if r7 < {self.calls} goto head", *_text(self.behind, labels)]
        lines += ["r0 = 0", "exit", "bad:", "r1 = 0", "r0 = *(u64 *)(r1 + 0)", "exit"]
        lines += ["body:", f"r6 = r{4 if self.map else 2}", *_text(self.body, labels, bad="worse")]
        if self.stops:
            lines += ["call 7", "r0 &= 1"]
        else:
            lines += ["r0 = 0"]
        return "\n".join([*lines, "exit", "worse:", "r1 = 0", "r0 = *(u64 *)(r1 + 0)", "exit"])


def _text(steps: tuple[Step, ...], labels: Iterator[int], bad: str = "bad") -> list[str]:
    lines: list[str] = []
    for what, first, second, inside in steps:
        place = f"*(u64 *)(r6 + {8 * first})"
        match what:
            case "set":
                lines += [f"{place} = {second}"]
            case "add":
                lines += [f"r1 = {place}", f"r1 += {second}", f"{place} = r1"]
            case "copy":
                lines += [f"r1 = *(u64 *)(r6 + {8 * (1 - first)})", f"{place} = r1"]
            case "fall":
                lines += [f"r1 = {place}", f"if r1 == {second} goto {bad}"]
            case "some":
                over = f"over{next(labels)}"
                lines += ["call 7", f"if r0 == 0 goto {over}", *_text(inside, labels, bad), f"{over}:"]
            case _:
                over = f"over{next(labels)}"
                lines += [f"r1 = {place}", f"if r1 != {second} goto {over}", *_text(inside, labels, bad), f"{over}:"]
    return lines


def callback_program(seed: int) -> CallbackProgram:
    """The program of a seed."""
    draw = random.Random(seed)
    return CallbackProgram(
        before=_steps(draw, draw.randrange(3)),
        body=_steps(draw, draw.randrange(1, 6)),
        behind=_steps(draw, draw.randrange(3)),
        calls=draw.choice((1, 1, 2, 3)),
        count=draw.choice((1, 1, 2, 3, 1000)),
        map=draw.random() < 0.4,
        stops=draw.random() < 0.3,
    )


def _steps(draw: random.Random, count: int, depth: int = 2) -> tuple[Step, ...]:
    return tuple(_step(draw, depth) for _ in range(count))


def _step(draw: random.Random, depth: int) -> Step:
    what = draw.choice(("set", "add", "copy", "fall", "fall", *(("some", "when", "some") if depth else ())))
    number, other = draw.randrange(2), draw.randrange(1 if what == "add" else 0, _LARGEST + 2)
    return what, number, 1 if what == "add" else other, _steps(draw, 2, depth - 1) if what in ("some", "when") else ()


def goes_wrong(program: CallbackProgram, draw: random.Random) -> bool:
    """Whether one run, with those choices, reaches the spot."""
    numbers = [0, 0]
    for call in range(program.calls):
        if call and _falls(program.before, numbers, draw):
            return True
        for _ in range(_ELEMENTS if program.map else min(program.count, 12)):
            if _falls(program.body, numbers, draw):
                return True
            if program.stops and draw.random() < 0.3:
                break
    return _falls(program.behind, numbers, draw) if program.map or program.count <= 12 else False


def _falls(steps: tuple[Step, ...], numbers: list[int], draw: random.Random) -> bool:
    for what, first, second, inside in steps:
        match what:
            case "set":
                numbers[first] = second
            case "add":
                numbers[first] += second
            case "copy":
                numbers[first] = numbers[1 - first]
            case "fall":
                if numbers[first] == second:
                    return True
            case _:
                taken = draw.random() < 0.5 if what == "some" else numbers[first] == second
                if taken and _falls(inside, numbers, draw):
                    return True
    return False
