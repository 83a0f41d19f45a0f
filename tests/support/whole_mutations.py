"""Random programs over everything, changed in one or two places: nearly right, and mostly wrong.

Not here: the programs (whole_programs.py).
"""

from __future__ import annotations

import random
from dataclasses import replace

from runtime.isa import Alu, Atomic, Branch, CallHelper, Imm, Instruction, Load, Reg, Size, Store
from runtime.spec import ObjectSpec
from tests.support.whole_programs import EDGES, OPERATIONS, TESTS, whole

__all__ = ["mutate"]


def mutate(spec: ObjectSpec, seed: int) -> ObjectSpec:
    """The same with one or two members of its instructions changed."""
    draw = random.Random(seed)
    code = list(spec.programs[0].code)
    for _ in range(draw.randint(1, 2)):
        at = draw.randrange(len(code))
        code[at] = _changed(draw, code[at])
    return whole(tuple(code), [each.start for each in spec.programs[0].subprograms])


def _changed(draw: random.Random, instruction: Instruction) -> Instruction:
    match instruction:
        case Alu():
            return draw.choice(
                [
                    replace(instruction, op=draw.choice(OPERATIONS)),
                    replace(instruction, width=96 - instruction.width),
                    replace(instruction, dst=draw.randrange(10)),
                    replace(instruction, src=Reg(draw.randrange(11))),
                    replace(instruction, src=Imm(draw.choice(EDGES))),
                ]
            )
        case Branch():
            return draw.choice(
                [
                    replace(instruction, op=draw.choice(TESTS)),
                    replace(instruction, width=96 - instruction.width),
                    replace(instruction, src=Imm(draw.choice(EDGES))),
                    replace(instruction, dst=draw.randrange(10)),
                ]
            )
        case Load() | Store() | Atomic():
            return draw.choice(
                [
                    replace(instruction, offset=instruction.offset + draw.choice((-8, -4, -1, 1, 4, 8, 64))),
                    replace(instruction, dst=draw.randrange(11)),
                    replace(instruction, size=draw.choice([Size.W, Size.DW])),
                ]
            )
        case CallHelper():
            return CallHelper(draw.choice([1, 2, 3, 5, 7, 8, 28, 44, 65, 181]))
        case _:
            return instruction
