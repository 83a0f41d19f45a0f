"""Random programs about what has a type: sockets, records of ring buffers, locks, maps inside maps, counters and stack of others.

Not here: what becomes of them. The maps are those of tests/xdp/linux/cases.py; the context is that of a tc classifier. Nearly always
almost right: every third program or so forgets a test, uses a thing twice, or gives it back on one path only.
"""

from __future__ import annotations

import random
from typing import Final, final

__all__ = ["typed_program"]

_LOOKUPS: Final = (84, 84, 85, 99)
_CASTS: Final = (95, 96, 98, 136, 137, 138, 139, 140)
_VALUES: Final = {"small": 256, "hash": 16, "locked": 16, "locked_hash": 16, "timed": 32}
_OUTER: Final = ("outer", "outer_hash", "outer_locked", "outer_short")
_SLOTS: Final = (-24, -32, -40)
_CARELESS: Final = 0.04


def typed_program(seed: int) -> str:
    """The program of that seed."""
    return _Writer(random.Random(seed)).text()


@final
class _Writer:
    """Writes line by line, with a guess of what r7 to r9 and three slots hold."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.lines: list[str] = []
        self.holds: dict[str, str] = {}
        self.held: list[str] = []  # what must be given back
        self.locked = ""
        self.labels = 0
        self.functions: list[str] = []
        self.careless = _CARELESS if draw.random() < 0.6 else 0.0
        self.depth = 0

    def text(self) -> str:
        """The whole program."""
        self.lines += ["r6 = r1", "r7 = 0", "r8 = 0", "r9 = 0"]
        self.lines += [f"*(u64 *)(r10 {slot:+}) = 0" for slot in range(-8, -72, -8)]
        self._steps(self.draw.randint(3, 14))
        self._give_back()
        self.lines += ["r0 = 0", "exit"]
        for name in self.functions:
            self._function(name)
        return "\n".join(self.lines)

    def _steps(self, count: int) -> None:
        for _ in range(count):
            kinds = [each for each, _ in _STEPS]
            self.draw.choices(kinds, [weight for _, weight in _STEPS])[0](self)

    def _forgets(self) -> bool:
        return self.draw.random() < self.careless

    def _label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def _place(self) -> str:
        """A register to fill, or a slot; rather one that nothing to be given back is in."""
        places = [each for each in ("r7", "r8", "r9", *map(str, _SLOTS)) if each not in self.held]
        return self.draw.choice(places or ["r7"]) if not self._forgets() else self.draw.choice(("r7", "r8", "r9"))

    def _some(self, *kinds: str) -> str | None:
        found = [place for place, kind in self.holds.items() if kind.split(":")[0] in kinds]
        if self._forgets():
            found = list(self.holds)
        return self.draw.choice(found) if found else None

    def _get(self, register: str, place: str) -> None:
        self.lines.append(f"{register} = {place}" if place[0] == "r" else f"{register} = *(u64 *)(r10 {place})")

    def _put(self, place: str, kind: str, *, held: bool = False) -> None:
        """What a call gave goes to a place, and is tested for null."""
        self.lines.append(f"{place} = r0" if place[0] == "r" else f"*(u64 *)(r10 {place}) = r0")
        self.holds[place] = kind
        if self._forgets():
            return
        register = self.draw.choice(("r0", place if place[0] == "r" else "r0"))
        label = self._label()
        if self.draw.random() < 0.6 or held:
            over = self._label()
            self.lines.append(f"if {register} != 0 goto {over}")
            if self.held and not self._forgets():
                self._release_all()
            self.lines += ["r0 = 0", "exit", f"{over}:"]
        else:
            self.lines += [f"if {register} == 0 goto {label}"]
            if register != "r0" or self.draw.random() < 0.5:
                self._use(place)
            self.lines.append(f"{label}:")
            self.holds[place] = "maybe"

    # -- steps

    def lookup(self) -> None:
        if len(self.held) > 1 or self.locked:
            return
        place = self._place()
        self.lines += [
            "r1 = r6",
            "r2 = r10",
            "r2 += -64",
            "r3 = 12",
            "r4 = -1",
            "r5 = 0",
            f"call {self.draw.choice(_LOOKUPS)}",
        ]
        self._put(place, "socket", held=True)
        if self.holds[place] == "socket":
            self.held.append(place)

    def reserve(self) -> None:
        if len(self.held) > 1 or self.locked:
            return
        place, size = self._place(), self.draw.choice((8, 16, 24, 64))
        self.lines += ["r1 = map[ring] ll", f"r2 = {size}", "r3 = 0", "call 131"]
        self._put(place, f"record:{size}", held=True)
        if self.holds[place].startswith("record"):
            self.held.append(place)

    def give_back(self) -> None:
        if self.held and not self.locked:
            self._return(self.draw.choice(self.held))

    def _return(self, place: str, *, forget: bool = True) -> None:
        kind = self.holds.get(place, "")
        self._get("r1", place)
        record = kind.startswith("record") != self._forgets()
        self.lines += [f"call {86}"] if not record else ["r2 = 0", f"call {self.draw.choice((132, 133))}"]
        if forget:
            self.held.remove(place)
            if not self._forgets():
                self.holds = {each: what for each, what in self.holds.items() if each != place and what != "cast"}

    def _release_all(self) -> None:
        for place in self.held:
            self._return(place, forget=False)

    def _give_back(self) -> None:
        if self.locked and not self._forgets():
            self.unlock()
        while self.held and not self._forgets():
            self._return(self.held[0])

    def cast(self) -> None:
        source = self._some("socket", "cast")
        if source is None or self.locked:
            return
        self._get("r1", source)
        self.lines.append(f"call {self.draw.choice(_CASTS)}")
        self._put(self._place(), "cast")

    def value(self) -> None:
        if self.locked:
            return
        name = self.draw.choice(list(_VALUES))
        self._find(f"map[{name}] ll", f"value:{_VALUES[name]}:{name}")

    def inner(self) -> None:
        if self.locked:
            return
        name = self.draw.choice(_OUTER)
        self._find(f"map[{name}] ll", f"map:{name}")

    def inside(self) -> None:
        source = self._some("map")
        if source is not None and not self.locked:
            outer = self.holds[source].partition(":")[2]
            self._find(
                source, f"value:{24 if outer == 'outer_hash' else 16}:{'locked' if outer == 'outer_locked' else outer}"
            )

    def _find(self, source: str, kind: str) -> None:
        if source[0] == "m":
            self.lines.append(f"r1 = {source}")
        else:
            self._get("r1", source)
        if self.draw.random() < 0.3:
            self.lines.append(f"*(u32 *)(r10 - 8) = {self.draw.randrange(4)}")
        elif self.draw.random() < 0.3:
            self.lines += ["r2 = *(u32 *)(r6 + 0)", "*(u32 *)(r10 - 8) = r2"]
        self.lines += ["r2 = r10", "r2 += -8", "call 1"]
        self._put(self._place(), kind)

    def lock(self) -> None:
        source = self._some("value")
        if source is None or self.locked or ("locked" not in self.holds[source] and not self._forgets()):
            return
        self._get("r1", source)
        self.lines += ["r1 += 4", "call 93"]
        self.locked = source

    def unlock(self) -> None:
        source = self._some("value") if self._forgets() else self.locked
        if not source:
            return
        self._get("r1", source)
        self.lines += ["r1 += 4", "call 94"]
        self.locked = ""

    def use(self) -> None:
        place = self._some("socket", "cast", "record", "value", "value", "record")
        if place is not None:
            self._use(place)

    def _use(self, place: str) -> None:
        kind = self.holds[place]
        register = place if place[0] == "r" else "r1"
        if register != place:
            self._get(register, place)
        if kind.startswith(("socket", "cast", "maybe")):
            size, offset = self.draw.choice(((32, 0), (32, 4), (32, 8), (32, 24), (16, 48), (64, 16), (32, 76), (8, 4)))
            self.lines.append(f"r0 = *(u{size} *)({register} + {offset})")
            return
        whole = int(kind.split(":")[1]) if kind.split(":")[1].isdigit() else 8
        offset = self.draw.choice((0, 0, 8, whole - 8, 12, *((whole, 4) if self._forgets() else ())))
        size = self.draw.choice((8, 32, 32)) if offset == 12 else self.draw.choice((8, 32, 64)) if offset else 32
        how = self.draw.random()
        if how < 0.4:
            self.lines.append(f"r0 = *(u{size} *)({register} + {offset})")
        elif how < 0.75:
            self.lines.append(f"*(u{size} *)({register} + {offset}) = {self.draw.randrange(9)}")
        elif how < 0.85:
            self.lines.append(
                f"*(u64 *)({register} + {offset}) = r{self.draw.choice((6, 7, 10))}" if self._forgets() else "r0 = 1"
            )
        else:
            bound = self.draw.choice((whole - 8, whole - 8, whole))
            over = self._label()
            self.lines += ["r2 = *(u32 *)(r6 + 0)", f"if r2 > {bound} goto {over}", f"r1 = {register}", "r1 += r2"]
            self.lines += [f"r0 = *(u{self.draw.choice((8, 64))} *)(r1 + 0)", f"{over}:"]

    def copy(self) -> None:
        """A second name of a thing."""
        source, place = self._some("socket", "cast", "record", "value", "map", "maybe"), self._place()
        if source is None or (place[0] != "r" and source[0] != "r"):
            return
        self.lines.append(
            f"{place} = {source}" if place[0] == source[0] == "r"
            else f"*(u64 *)(r10 {place}) = {source}" if source[0] == "r" else f"{place} = *(u64 *)(r10 {source})"
        )  # fmt: skip
        self.holds[place] = self.holds[source]

    def fork(self) -> None:
        """Some steps on one path only; what they take they must give back."""
        if self.depth > 2 or self.locked:
            return
        over, holds, held = self._label(), dict(self.holds), list(self.held)
        self.lines += [
            "r0 = *(u32 *)(r6 + 8)",
            f"if r0 {self.draw.choice(('==', '>', '&'))} {self.draw.randrange(1, 9)} goto {over}",
        ]
        self._inside(held)
        self.lines.append(f"{over}:")
        both = {place: what for place, what in holds.items() if self.holds.get(place) == what}
        self.holds = both if not self._forgets() else self.holds
        self.held = held

    def _inside(self, held: list[str]) -> None:
        """Steps that leave held what was held."""
        self.depth += 1
        self.held = []
        holds = {place: what for place, what in self.holds.items() if place not in held}
        self.holds, kept = holds, {place: self.holds[place] for place in held if place in self.holds}
        self._steps(self.draw.randint(1, 4))
        self._give_back()
        self.locked = ""
        self.holds = {**self.holds, **kept}
        self.depth -= 1

    def loop(self) -> None:
        """Rounds that are counted in a slot."""
        if self.depth or self.locked:
            return
        head, held = self._label(), list(self.held)
        count, step = self.draw.choice((2, 3, 5, 40)), self.draw.choice((1, 1, 2))
        self.lines += ["*(u64 *)(r10 - 72) = 0", f"{head}:"]
        self.holds = {place: "maybe" if what == "cast" else what for place, what in self.holds.items() if place in held}
        self._inside(held)
        self.held = held
        if self._forgets():
            self.lines.append("*(u64 *)(r10 - 72) = 0")
        self.lines += ["r1 = *(u64 *)(r10 - 72)", f"r1 += {step}", "*(u64 *)(r10 - 72) = r1"]
        self.lines.append(f"if r1 {self.draw.choice(('<', '<', 's<', '<='))} {count} goto {head}")
        self.holds = {place: what for place, what in self.holds.items() if place in held}

    def call(self) -> None:
        """A function that gets an address on the stack, and something else."""
        if self.locked and not self._forgets():
            return
        name = f"f{len(self.functions)}"
        self.functions.append(name)
        other = self._some("socket", "record", "value", "cast", "map", "maybe")
        self.lines += ["r1 = r10", f"r1 += {self.draw.choice((-8, -16, -24, -32, -40, -64))}"]
        if other is None:
            self.lines.append("r2 = *(u32 *)(r6 + 0)")
        else:
            self._get("r2", other)
        self.functions[-1] = f"{name} {self.holds.get(other or '', 'number')}"
        self.lines.append(f"call {name}")
        if self.draw.random() < 0.3:
            self.lines += ["r1 = *(u64 *)(r10 - 16)", f"if r1 > {self.draw.choice((1, 8, 15))} goto +1", "r1 += 0"]

    def _function(self, named: str) -> None:
        name, _, kind = named.partition(" ")
        self.lines += [f"{name}:", "r6 = r1", "r7 = r2", "r0 = 0"]
        for _ in range(self.draw.randint(1, 5)):
            how = self.draw.random()
            offset, over = self.draw.choice((0, 0, 8, *((-8,) if self._forgets() else ()))), self._label()
            if how < 0.3:
                self.lines.append(f"*(u64 *)(r6 {offset:+}) = {self.draw.randrange(9)}")
            elif how < 0.5:
                self.lines.append(f"r0 = *(u64 *)(r6 {offset:+})")
            elif how < 0.6 and self._forgets():
                self.lines.append(f"*(u64 *)(r6 + 0) = r{self.draw.choice((6, 7, 10))}")
            elif how < 0.8:
                self.holds = {"r7": kind if kind != "number" else "maybe"}
                if kind != "number" or self._forgets():
                    self._use("r7") if ":" in kind or kind in ("socket", "cast") else None
            elif how < 0.9:
                self.lines += [
                    f"if r0 > {self.draw.randrange(4)} goto {over}",
                    f"*(u64 *)(r6 {offset:+}) = 1",
                    f"{over}:",
                ]
            elif kind == "socket" and self._forgets():
                self.lines += ["r1 = r7", "call 86", "r0 = 0"]
        self.lines += ["r0 = 0", "exit"]


_STEPS: Final = (
    (_Writer.lookup, 3), (_Writer.reserve, 3), (_Writer.give_back, 3), (_Writer.cast, 4), (_Writer.value, 3), (_Writer.inner, 2),
    (_Writer.inside, 5), (_Writer.lock, 3), (_Writer.unlock, 2), (_Writer.use, 6), (_Writer.copy, 2), (_Writer.fork, 3),
    (_Writer.loop, 2), (_Writer.call, 2),
)  # fmt: skip
