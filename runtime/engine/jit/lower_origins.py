"""Origins as values beside the registers: where the result came from is stored into the environment at each exit.

Not here: what an instruction says about origins (runtime.engine.origins). LLVM removes whatever no exit looks at.
"""

from __future__ import annotations

from typing import Final, assert_never, final

from runtime.engine.jit.emit import Emitter
from runtime.engine.origins import Origins, Source
from runtime.spec import Env

__all__ = ["NUMBER", "Tracker"]

NUMBER: Final = "program_number"
"""The symbol whose address is the program's id << 32."""
_REGISTERS: Final = 11
_LOW: Final = (1 << 32) - 1
_GLOBAL: Final = f"@{NUMBER} = external global [0 x i8], align 1\n"
_BASE: Final = f"ptrtoint (ptr @{NUMBER} to i64)"


@final
class Tracker:
    """Emits what a function does for origins; `declarations` are those of the unit, `frame` opens a function."""

    declarations: Final = _GLOBAL

    def __init__(self, plan: Origins) -> None:
        self._plan = plan

    @property
    def frame(self) -> list[str]:
        """The slots of origins and of the last place that has a line, all unknown."""
        names = ["%via", *(f"%o{at}" for at in range(_REGISTERS))]
        return [line for name in names for line in (f"{name} = alloca i64", f"store i64 0, ptr {name}")]

    def after(self, e: Emitter, pc: int) -> None:
        """The instruction at `pc` has been emitted."""
        if pc in self._plan.lined:
            e.line(f"store i64 {pc + 1}, ptr %via")
        origin = self._plan.made.get(pc)
        if origin is None:
            return
        match origin.source:
            case int(register):
                value = e.value(f"load i64, ptr %o{register}")
            case Source.CALLEE:
                value = _from_callee(e, pc)
            case source:
                value = _said(e, pc, source)
        e.line(f"store i64 {value}, ptr %o{origin.of}")

    def branch(self, e: Emitter, pc: int, test: str) -> None:
        """The branch at `pc` follows, which is taken when `test` holds."""
        for each in self._plan.decided.get(pc, ()):
            here, before = _said(e, pc, each.source), e.value(f"load i64, ptr %o{each.of}")
            sides = (here, before) if each.taken else (before, here)
            value = e.value(f"select i1 {test}, i64 {sides[0]}, i64 {sides[1]}")
            e.line(f"store i64 {value}, ptr %o{each.of}")

    def leave(self, e: Emitter) -> None:
        """An exit follows."""
        origin = e.value("load i64, ptr %o0")
        e.line(f"store i64 {e.value(f'or i64 {origin}, {_BASE}')}, ptr {_place(e)}")

    @staticmethod
    def calling(e: Emitter, pc: int) -> None:
        """Another program follows that may keep no origins: then what it returns comes from here."""
        e.line(f"store i64 {e.value(f'or i64 {pc + 1}, {_BASE}')}, ptr {_place(e)}")


def _said(e: Emitter, pc: int, source: Source) -> str:
    match source:
        case Source.HERE:
            return str(pc + 1)
        case Source.BEFORE:
            return e.value("load i64, ptr %via")
        case Source.CALLEE:
            raise AssertionError(source)
        case _:
            assert_never(source)


def _from_callee(e: Emitter, pc: int) -> str:
    """What the function said; where it left for another program, the call itself."""
    within = e.value(f"xor i64 {e.value(f'load i64, ptr {_place(e)}')}, {_BASE}")
    return e.value(f"select i1 {e.value(f'icmp ule i64 {within}, {_LOW}')}, i64 {within}, i64 {pc + 1}")


def _place(e: Emitter) -> str:
    return e.value(f"getelementptr i8, ptr %environment, i64 {int(Env.ORIGIN)}")
