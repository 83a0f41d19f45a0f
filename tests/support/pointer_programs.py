"""Random programs about pointers, as text: nearly always almost right, which is where verifiers err.

Not here: what becomes of them. The maps are those of the table of rules.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, final

__all__ = ["pointer_program"]

_SIZES: Final = (8, 16, 32, 64)
_ORDERS: Final = (">", ">", ">=", "<", "<=", "==", "!=", "s>", "s<", "&")
_NUMBERS: Final = (0, 1, 2, 3, 4, 7, 8, 12, 14, 15, 16, 31, 34, 60, 63, 64, 255, 256, 4095, 65535, -1, -8)
_SLOTS: Final = (-8, -16, -24, -32)
_VALUES: Final = {"small": 8, "big": 4096, "text": 16, "sink": 8}
_KEYED: Final = {"array": 64, "hash": 16, "percpu": 8}
_GUESSES: Final = ("number", "packet", "end", "context", "value", "maybe", "stack", "meta")


def pointer_program(seed: int) -> str:
    """The program of that seed."""
    return _Writer(random.Random(seed)).text()


@final
class _Writer:
    """Writes a program line by line, with a guess of what each register holds; one time in some it does not care."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.holds: dict[int, str] = {}
        self.spilled: dict[int, str] = {}
        self.labels = 0
        self.open: dict[str, int] = {}
        self.function = False
        self.callback = False
        self.context = 6

    def text(self) -> str:
        """The whole program."""
        self._begin()
        self._steps(self.draw.randint(3, 22))
        self._end()
        if self.function or self.callback:
            self._inner()
        return "\n".join(self.lines)

    def _begin(self) -> None:
        self.emit("r6 = r1", "r7 = *(u32 *)(r1 + 0)", "r8 = *(u32 *)(r1 + 4)", "r9 = *(u32 *)(r1 + 12)")
        self.emit("if r9 == 99 goto out")
        self.holds = {6: "context", 7: "packet", 8: "end", 9: "number", 1: "context"}
        if self.draw.random() < 0.5:
            size = self.draw.choice((8, 14, 34, 64))
            self.emit("r2 = r7", f"r2 += {size}", "if r2 > r8 goto out")
            self.holds[2] = "packet"

    def _end(self) -> None:
        for label in self.open:
            self.emit(f"{label}:")
        self.open.clear()
        self.emit(
            "r0 = 0" if self.draw.random() < 0.9 else f"r0 = r{self.some('number')}", "exit", "out:", "r0 = 1", "exit"
        )

    def _inner(self) -> None:
        """A function, or a callback, about r1 and r2."""
        for name, wanted in (("function", self.function), ("body", self.callback)):
            if wanted:
                self.emit(f"{name}:")
                self.holds = {
                    1: self.draw.choice(_GUESSES),
                    2: self.draw.choice(("stack", "packet", "number", "context")),
                }
                self.spilled = {}
                ends = self.draw.randint(1, 7)
                for _ in range(ends):
                    self._one()
                for label in self.open:
                    self.emit(f"{label}:")
                self.open.clear()
                self.emit(f"r0 = {self.draw.choice((0, 0, 0, 1))}", "exit")

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self._one()

    def _one(self) -> None:
        for label, left in list(self.open.items()):
            if left <= 0:
                self.emit(f"{label}:")
                del self.open[label]
            else:
                self.open[label] = left - 1
        self.draw.choices([each for each, _ in _STEPS], [weight for _, weight in _STEPS])[0](self)

    # -- what a line is made of

    def emit(self, *lines: str) -> None:
        self.lines += lines

    def some(self, *kinds: str) -> int:
        """A register that probably holds one of those."""
        found = [r for r, kind in self.holds.items() if kind in kinds]
        if found and self.draw.random() < 0.96:
            return self.draw.choice(found)
        return self.draw.randrange(10)

    def free(self) -> int:
        """A register to fill; seldom one of the first ones."""
        return self.draw.randrange(6) if self.draw.random() < 0.85 else self.draw.randrange(10)

    def number(self) -> int:
        return self.draw.choice(_NUMBERS) if self.draw.random() < 0.9 else self.draw.randint(-(1 << 31), (1 << 31) - 1)

    def target(self) -> str:
        if self.draw.random() < 0.5:
            return "out" if not self.function_open else self.label()
        return self.label()

    @property
    def function_open(self) -> bool:
        return any(line in ("function:", "body:") for line in self.lines[-40:])

    def label(self) -> str:
        if self.open and self.draw.random() < 0.3:
            return self.draw.choice(list(self.open))
        self.labels += 1
        name = f"l{self.labels}"
        self.open[name] = self.draw.randint(0, 5)
        return name

    # -- steps

    def compute(self) -> None:
        dst = self.some("number")
        op = self.draw.choice(("+=", "-=", "*=", "&=", "&=", "|=", "^=", "<<=", ">>=", "s>>=", "/=", "%=", "="))
        wide = self.draw.random() < 0.7
        name = "r" if wide else "w"
        if self.draw.random() < 0.5:
            value = abs(self.number()) % (64 if wide else 32) if op in ("<<=", ">>=", "s>>=") else self.number() or 3
            self.emit(f"{name}{dst} {op} {value}")
        else:
            self.emit(f"{name}{dst} {op} {name}{self.some('number')}")

    def fresh(self) -> None:
        dst = self.free()
        kind = self.draw.random()
        if kind < 0.4:
            self.emit(f"r{dst} = {self.number()}")
        elif kind < 0.6:
            self.emit("call 7")
            dst = 0
            self.clobber()
        else:
            self.emit(f"r{dst} = *(u32 *)(r{self.some('context')} + {self.draw.choice((12, 16))})")
        self.holds[dst] = "number"

    def copy(self) -> None:
        src, dst = self.some(*self.draw.sample(_GUESSES, 4)), self.free()
        self.emit(f"r{dst} = r{src}")
        self.holds[dst] = self.holds.get(src, "number")

    def move(self) -> None:
        dst = self.some("packet", "value", "stack", "meta")
        if self.draw.random() < 0.5:
            self.emit(f"r{dst} += {self.number()}")
        else:
            self.emit(f"r{dst} {self.draw.choice(('+=', '+=', '+=', '-='))} r{self.some('number')}")

    def bound(self) -> None:
        register = self.some("number")
        name = self.draw.choice("rrrw")
        self.emit(f"if {name}{register} {self.draw.choice(_ORDERS)} {self.number()} goto {self.target()}")

    def relate(self) -> None:
        name = self.draw.choice("rrrw")
        a, b = self.some("number"), self.some("number")
        self.emit(f"if {name}{a} {self.draw.choice(_ORDERS)} {name}{b} goto {self.target()}")

    def mask(self) -> None:
        self.emit(f"{self.draw.choice('rw')}{self.some('number')} &= {self.draw.choice((1, 3, 7, 8, 15, 56, 63, 255))}")

    def prove(self) -> None:
        dst, base = self.free(), self.some("packet", "packet", "meta")
        self.emit(f"r{dst} = r{base}", f"r{dst} += {self.draw.choice(_NUMBERS)}")
        self.holds[dst] = self.holds.get(base, "packet")
        limit = self.some("end") if self.holds.get(base) != "meta" else self.some("packet")
        if self.draw.random() < 0.8:
            self.emit(f"if r{dst} {self.draw.choice(('>', '>', '>', '>=', '<', '<='))} r{limit} goto {self.target()}")
        else:
            self.emit(f"if r{limit} {self.draw.choice(('<', '<', '<=', '>', '>='))} r{dst} goto {self.target()}")

    def reload(self) -> None:
        dst, (offset, kind) = self.free(), self.draw.choice(((0, "packet"), (4, "end"), (8, "meta")))
        self.emit(f"r{dst} = *(u32 *)(r{self.some('context')} + {offset})")
        self.holds[dst] = kind

    def access(self) -> None:
        base = self.some("packet", "packet", "value", "stack", "meta", "maybe")
        bits = self.draw.choice(_SIZES)
        offset = self.draw.choice((0, 0, 0, 1, 4, 7, 8, 12, 13, -1, -8))
        place = f"*(u{bits} *)(r{base} {'+' if offset >= 0 else '-'} {abs(offset)})"
        kind = self.draw.random()
        if kind < 0.6:
            dst = self.free()
            self.emit(f"r{dst} = {place}")
            self.holds[dst] = "number"
        elif kind < 0.8:
            self.emit(f"{place} = {self.number()}")
        elif kind < 0.95 or bits < 32:
            self.emit(f"{place} = r{self.some('number')}")
        else:
            name = "r" if bits == 64 else "w"
            self.emit(f"lock {place} += {name}{self.some('number')}")

    def spill(self) -> None:
        slot, src = self.draw.choice(_SLOTS), self.some(*self.draw.sample(_GUESSES, 4))
        self.emit(f"*(u64 *)(r10 - {-slot}) = r{src}")
        self.spilled[slot] = self.holds.get(src, "number")

    def fill(self) -> None:
        slot = self.draw.choice(list(self.spilled) or _SLOTS)
        dst = self.free()
        self.emit(f"r{dst} = *(u64 *)(r10 - {-slot})")
        self.holds[dst] = self.spilled.get(slot, "number")

    def narrow(self) -> None:
        bits = self.draw.choice((8, 16, 32))
        slot = self.draw.choice(_SLOTS) + self.draw.choice((0, 4))
        if self.draw.random() < 0.5:
            self.emit(f"*(u{bits} *)(r10 - {-slot}) = r{self.some('number')}")
        else:
            dst = self.free()
            self.emit(f"r{dst} = *(u{bits} *)(r10 - {-slot})")
            self.holds[dst] = "number"

    def frame(self) -> None:
        dst = self.free()
        self.emit(f"r{dst} = r10", f"r{dst} += {self.draw.choice((*_SLOTS, -64, -4, 0))}")
        self.holds[dst] = "stack"

    def value(self) -> None:
        dst, name = self.free(), self.draw.choice(list(_VALUES))
        self.emit(f"r{dst} = map_value[{name}] ll")
        self.holds[dst] = "value"

    def lookup(self) -> None:
        name = self.draw.choice(list(_KEYED))
        self.emit(f"*(u32 *)(r10 - 40) = {self.draw.choice((0, 0, 1, 3, 4))}")
        self.emit(f"r1 = map[{name}] ll", "r2 = r10", "r2 += -40", "call 1")
        self.clobber()
        self.holds[0] = "maybe"
        if self.draw.random() < 0.6:
            keep = self.draw.choice((0, 4, 9))
            if keep:
                self.emit(f"r{keep} = r0")
                self.holds[keep] = "maybe"
        if self.draw.random() < 0.7:
            self.check()

    def check(self) -> None:
        register = self.some("maybe")
        self.emit(f"if r{register} {self.draw.choice(('==', '==', '=='))} 0 goto {self.target()}")
        for each, kind in self.holds.items():
            if kind == "maybe":
                self.holds[each] = "value"

    def clobber(self) -> None:
        for register in range(6):
            self.holds.pop(register, None)

    def adjust(self) -> None:
        helper = self.draw.choice((44, 54, 65))
        self.emit(f"r1 = r{self.some('context')}", f"r2 = {self.draw.choice((0, 4, 8, -8))}", f"call {helper}")
        self.clobber()
        if self.draw.random() < 0.8:
            self.emit("r7 = *(u32 *)(r6 + 0)", "r8 = *(u32 *)(r6 + 4)")

    def copy_bytes(self) -> None:
        helper = self.draw.choice((189, 190))
        self.emit(f"r1 = r{self.some('context')}", f"r2 = {self.draw.choice((0, 1, 14))}")
        buffer = self.some("stack", "value")
        size = self.draw.choice((1, 4, 8, 16))
        fill = f"r4 = {size}" if self.draw.random() < 0.7 else f"r4 = r{self.some('number')}"
        first = ["r3 = r10", f"r3 += {self.draw.choice(_SLOTS)}"] if self.draw.random() < 0.7 else [f"r3 = r{buffer}"]
        self.emit(*first, fill, f"call {helper}")
        self.clobber()

    def call(self) -> None:
        if self.function_open:
            return
        self.function = True
        self.emit(f"r1 = r{self.some(*_GUESSES)}", f"r2 = r{self.some(*_GUESSES)}", "call function")
        self.clobber()
        self.holds[0] = "number"

    def loop_call(self) -> None:
        if self.function_open:
            return
        self.callback = True
        self.emit(f"r1 = {self.draw.choice((1, 4, 100))}", "r2 = func[body] ll")
        self.emit("r3 = r10", f"r3 += {self.draw.choice(_SLOTS)}", "r4 = 0", "call 181")
        self.clobber()
        self.holds[0] = "number"

    def loop(self) -> None:
        """Some rounds over a few steps, with a counter that they may touch."""
        counter = self.draw.choice((9, 5, 0))
        self.labels += 1
        head = f"h{self.labels}"
        self.emit(f"r{counter} = 0", f"{head}:")
        self.holds[counter] = "number"
        plain: list[Callable[[], None]] = [
            self.compute,
            self.move,
            self.bound,
            self.access,
            self.mask,
            self.copy,
            self.prove,
        ]
        for _ in range(self.draw.randint(1, 4)):
            self.draw.choice(plain)()
        self.emit(f"r{counter} += {self.draw.choice((1, 1, 1, 2))}")
        self.emit(
            f"if r{counter} {self.draw.choice(('<', '<', '<='))} {self.draw.choice((3, 8, 16, 64, 100))} goto {head}"
        )


_STEPS: Final[tuple[tuple[Callable[[_Writer], None], int], ...]] = (
    (_Writer.compute, 5), (_Writer.fresh, 3), (_Writer.copy, 3), (_Writer.move, 4), (_Writer.bound, 5), (_Writer.relate, 2),
    (_Writer.mask, 3), (_Writer.prove, 6), (_Writer.reload, 2), (_Writer.access, 9), (_Writer.spill, 3), (_Writer.fill, 2),
    (_Writer.narrow, 2), (_Writer.frame, 2), (_Writer.value, 4), (_Writer.lookup, 3), (_Writer.check, 1), (_Writer.adjust, 1),
    (_Writer.copy_bytes, 1), (_Writer.call, 1), (_Writer.loop_call, 1), (_Writer.loop, 2),
)  # fmt: skip
