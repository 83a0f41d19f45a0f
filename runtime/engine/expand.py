"""Puts several instructions in the place of one, and keeps every jump, call and line where it was.

Not here: what is replaced, and why (kernel.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runtime.isa import Branch, CallLocal, Code, Instruction, Jump, LoadFunction

__all__ = ["expand"]


def expand(code: Code, replacements: Mapping[int, Code]) -> Code:
    """`code` with the slot `pc` replaced by `replacements[pc]`; jumps to it reach the first of them.

    Only one-slot instructions can be replaced, by code that does not jump.
    """
    if not replacements:
        return code
    place = []
    at = 0
    for pc in range(len(code)):
        place.append(at)
        at += len(replacements.get(pc, (None,)))
    place.append(at)
    result: list[Instruction] = []
    for pc, instruction in enumerate(code):
        if pc in replacements:
            result += replacements[pc]
        else:
            result.append(_moved(instruction, pc, place))
    return tuple(result)


def _moved(instruction: Instruction, pc: int, place: list[int]) -> Instruction:
    match instruction:
        case Jump() | Branch() | CallLocal() | LoadFunction():
            target = pc + 1 + instruction.offset
            return replace(instruction, offset=place[target] - place[pc] - 1)
        case _:
            return instruction
