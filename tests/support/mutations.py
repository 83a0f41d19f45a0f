"""One instruction of a program made slightly different: what an attacker, or a careless change, does to correct code.

Not here: programs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import fields, replace
from enum import Enum
from typing import Any, Final

from runtime.isa import (
    AluOp,
    Branch,
    CallLocal,
    Code,
    Imm,
    Instruction,
    Jump,
    JumpOp,
    Load,
    LoadFunction,
    LoadMap,
    LoadMapValue,
    Reg,
    Size,
    WideTail,
)
from runtime.spec import ProgramSpec

__all__ = ["mutated"]

_ALU: Final = [op for op in AluOp if op not in (AluOp.NEG, AluOp.END, AluOp.MOV)]
_TESTS: Final = [op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]
_NEAR: Final = (-8, -4, -2, -1, 1, 2, 4, 8)
_FAR: Final = (0, 1, 7, 8, 14, 63, 64, 255, 256, 65535, 1 << 29, (1 << 31) - 1, -1, -(1 << 31))
_HELPERS: Final = (1, 2, 3, 5, 7, 8, 12, 23, 28, 44, 51, 54, 65, 181, 182, 188, 189, 190)


def mutated(spec: ProgramSpec, draw: random.Random, *, changes: int = 1) -> ProgramSpec:
    """The program with that many instructions changed, each in one member, or exchanged with their neighbours."""
    code = list(spec.code)
    for _ in range(changes):
        at = draw.randrange(len(code))
        if draw.random() < 0.1 and _plain(code[at : at + 2]):
            code[at : at + 2] = reversed(code[at : at + 2])
        else:
            code[at] = _changed(draw, code[at], len(code))
    return replace(spec, code=_whole(code))


def _plain(pair: Iterable[Instruction]) -> bool:
    whole = list(pair)
    fixed = (Branch, Jump, CallLocal, LoadFunction, WideTail)
    return len(whole) == 2 and not any(isinstance(each, fixed) or _is_wide(each) for each in whole)


def _is_wide(instruction: Instruction) -> bool:
    return type(instruction).__name__.startswith("Load") and not isinstance(instruction, Load)


def _whole(code: list[Instruction]) -> Code:
    return tuple(code)


def _changed(draw: random.Random, instruction: Instruction, length: int) -> Instruction:
    """One member of an instruction drawn anew, as far as the instruction set allows."""
    if isinstance(instruction, CallLocal | LoadFunction | WideTail | LoadMap | LoadMapValue):
        return instruction
    members = [each.name for each in fields(instruction)]
    if not members:
        return instruction
    name = draw.choice(members)
    old = getattr(instruction, name)
    new = _member(draw, instruction, name, old, length)
    return instruction if new is None else replace(instruction, **{name: new})


def _member(draw: random.Random, instruction: Instruction, name: str, old: Any, length: int) -> Any:
    match name, old:
        case "op", AluOp() if old is not AluOp.MOV:
            return draw.choice(_ALU)
        case "op", JumpOp():
            return draw.choice(_TESTS)
        case "size", Size():
            return draw.choice([Size.W, Size.DW] if hasattr(instruction, "fetch") else _sizes(instruction))
        case "width", int() if not hasattr(instruction, "bits"):
            return 96 - old
        case "offset", int() if isinstance(instruction, Branch | Jump):
            return draw.choice((old + draw.choice((-2, -1, 1, 2)), draw.randint(0, min(length, 30000))))
        case ("offset", int()):
            return max(-(1 << 15), min((1 << 15) - 1, old + draw.choice(_NEAR)))
        case (("dst" | "src"), int()):
            return draw.randrange(11)
        case "src", Reg():
            return draw.choice((Reg(draw.randrange(11)), Imm(draw.choice(_FAR))))
        case "src", Imm(value):
            return draw.choice(
                (Imm(_clipped(value + draw.choice(_NEAR))), Imm(draw.choice(_FAR)), Reg(draw.randrange(11)))
            )
        case "helper", int():
            return draw.choice(_HELPERS)
        case _, bool() | Enum() | None:
            return None
        case "value", int():
            return (old + draw.choice(_NEAR)) % (1 << 64)
        case _:
            return None


def _sizes(instruction: Instruction) -> list[Size]:
    return [Size.B, Size.H, Size.W] if getattr(instruction, "signed", False) else list(Size)


def _clipped(value: int) -> int:
    return max(-(1 << 31), min((1 << 31) - 1, value))
