"""Finds where a program that is accepted does what the policy warns of: the exploration runs again under a watcher.

Not here: whether it does so at all; the first exploration tells, so that programs without warnings pay nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final

from runtime.isa import Alu, AluOp, Reg
from runtime.verifier.checker import check
from runtime.verifier.explore import Explorer
from runtime.verifier.failure import FailureCode
from runtime.verifier.flow import Graph
from runtime.verifier.obligations import obligations_of
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.policy import Policy
from runtime.verifier.state import State
from runtime.verifier.values import Kind
from runtime.verifier.warned import Warned, WarningCode

__all__ = ["warnings_of"]

_DIVISIONS: Final = (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD)


def warnings_of(platform: Platform, graph: Graph, notebook: Notebook) -> tuple[Warned, ...]:
    """All warnings about an accepted program, in order of their slots."""
    policy, spec = platform.policy, platform.spec
    found: dict[tuple[int, str], Warned] = {}
    uninit = notebook.reads_uninitialised_stack and policy.uninitialised_stack == "warn"
    divides = policy.division_by_zero == "warn" and any(map(_divides, spec.code))
    if uninit or divides or policy.leaks == "warn":
        watcher = _Watcher(platform, uninit=uninit, divides=divides)
        watcher.run(graph)
        found = watcher.found
    if graph.unreachable and policy.unreachable == "warn":
        count, first = len(graph.unreachable), min(graph.unreachable)
        message = (
            "1 instruction cannot be reached"
            if count == 1
            else f"{count} instructions cannot be reached, this one first"
        )
        found[first, WarningCode.UNREACHABLE] = Warned.at(spec, WarningCode.UNREACHABLE, message, first)
    return tuple(found[place] for place in sorted(found))


def _divides(instruction: object) -> bool:
    return isinstance(instruction, Alu) and instruction.op in _DIVISIONS and isinstance(instruction.src, Reg)


@final
class _Found(Exception):  # noqa: N818  ends an exploration that has shown what it was for; it does not leave this file
    """Nothing else is looked for."""


@final
class _Watcher:
    """Sees every state; notes leaks that the policy lets pass, the first read of stack that was not written, divisors."""

    def __init__(self, platform: Platform, *, uninit: bool, divides: bool) -> None:
        self.found: dict[tuple[int, str], Warned] = {}
        self._spec = platform.spec
        maps = platform.maps[: platform.own]
        quiet = Policy(leaks=platform.policy.leaks, steps=platform.policy.steps)
        self._platform = Platform(
            platform.spec, platform.program_type, maps, platform.registry, replace(quiet, compile=False)
        )
        strict = replace(quiet, leaks="reject")
        self._strict = Platform(platform.spec, platform.program_type, maps, platform.registry, strict)
        self._leaks = platform.policy.leaks == "warn"
        self._uninit, self._divides = uninit, divides
        self._last = 0
        self._explorer: Explorer | None = None

    def run(self, graph: Graph) -> None:
        """Explore again."""
        self._explorer = Explorer(self._platform, graph, self._see)
        try:
            self._explorer.run()
        except _Found:
            return
        self._uninitialised()

    def _see(self, pc: int, state: State) -> None:
        if self._uninit:
            self._uninitialised()
        if self._leaks:
            for obligation in obligations_of(self._spec.code[pc]):
                failure = check(self._strict, state, obligation)
                if failure is not None and failure.code is FailureCode.LEAK:
                    self._note(WarningCode.LEAK, failure.message, pc)
        if self._divides:
            self._divisor(pc, state)
        self._last = pc
        if not (self._uninit or self._leaks or self._divides):
            raise _Found

    def _uninitialised(self) -> None:
        """The notebook says so from the first such read on."""
        assert self._explorer is not None
        if self._uninit and self._explorer.notebook.reads_uninitialised_stack:
            message = "reads stack that was not written on every path; it is zero here and unknown on other systems: set all of it first"
            self._note(WarningCode.UNINIT_STACK, message, self._last)
            self._uninit = False

    def _divisor(self, pc: int, state: State) -> None:
        instruction = self._spec.code[pc]
        if not isinstance(instruction, Alu) or instruction.op not in _DIVISIONS or not isinstance(instruction.src, Reg):
            return
        divisor = state.registers[instruction.src.index]
        if (
            divisor.kind is Kind.NUMBER
            and (divisor.number.umin if instruction.width == 64 else divisor.number.u32min) == 0
        ):
            message = f"r{instruction.src.index} may be 0: a quotient by 0 is 0, and a remainder is the dividend: leave when it is 0 first"
            self._note(WarningCode.DIVISION, message, pc)

    def _note(self, code: WarningCode, message: str, pc: int) -> None:
        self.found.setdefault((pc, code), Warned.at(self._spec, code, message, pc))
