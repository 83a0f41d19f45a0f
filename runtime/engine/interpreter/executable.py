"""Programs ready to be interpreted, and the engine that makes them so.

Not here: instructions (steps.py), frames (machine.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from runtime.engine.interpreter.calls import PROGRAMS
from runtime.engine.interpreter.machine import Code, Machine
from runtime.engine.interpreter.origins import WORDS, keeping
from runtime.engine.interpreter.steps import steps
from runtime.errors import InternalError
from runtime.native.intrinsics import bound

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import VerifiedProgram

__all__ = ["InterpreterEngine", "InterpreterExecutable"]


@final
class InterpreterExecutable:
    """A program as a tuple of steps. Threads may drive it at the same time, each with its environment."""

    def __init__(
        self, program: VerifiedProgram, maps: Sequence[Map], program_id: int, *, origins: bool = False
    ) -> None:
        self._code = Code(program, maps)
        self._code.steps = steps(self._code)
        if origins:
            self._code.steps = keeping(program, self._code.steps, program_id)
            self._code.words = WORDS
        kind = program.program_type
        self._driver = kind.origin_driver if origins else kind.driver
        self._id = program_id
        if program_id:
            PROGRAMS[program_id] = self._code

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver, under Python, over the batch record at that address; returns what the driver returns.

        The batch's memory must be registered with runtime.native.memory. Raises MemoryFault when the program leaves
        what it was given, and InternalError for a type without a driver.
        """
        if self._driver is None:
            raise InternalError(f"program type {self._code.program.program_type.name} has no driver")
        machine = Machine()

        def enter(context: int, env: int) -> int:
            return machine.enter(self._code, context, env)

        try:
            with bound(enter):
                return self._driver(batch, environment)
        finally:
            machine.close()

    def close(self) -> None:
        """Withdraw the program from tail calls."""
        if PROGRAMS.get(self._id) is self._code:
            del PROGRAMS[self._id]


@final
class InterpreterEngine:
    """The reference: slow, and what the instruction set says."""

    name = "interpreter"

    def load(
        self, program: VerifiedProgram, maps: Sequence[Map], *, program_id: int = 0, origins: bool = False
    ) -> InterpreterExecutable:
        """Make steps of a program, bound to its maps, given by index.

        `program_id` is the process-wide number under which tail calls reach it; 0: none do. `origins`: it leaves in the
        environment where its result came from (Env.ORIGIN). Raises UnsupportedError for what this engine cannot run.
        """
        return InterpreterExecutable(program, maps, program_id, origins=origins)
