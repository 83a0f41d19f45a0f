"""What runs verified programs: engines by name.

Not here: any engine; each is imported when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from runtime.engine.environment import Environment
from runtime.errors import UnsupportedError

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import VerifiedProgram

__all__ = ["ENGINES", "Engine", "Environment", "Executable", "engine_named"]


class Executable(Protocol):
    """A program that an engine made ready to run."""

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver over the batch record at that address; returns what the driver returns."""
        ...

    def close(self) -> None:
        """Free what the engine holds for it."""
        ...


class Engine(Protocol):
    """A way to run programs."""

    name: str

    def load(
        self, program: VerifiedProgram, maps: Sequence[Map], *, program_id: int = 0, origins: bool = False
    ) -> Executable:
        """Make a program ready, with its object's maps by index; raises UnsupportedError for what it cannot run.

        `origins`: it leaves in the environment where its result came from (Env.ORIGIN).
        """
        ...


_ENGINES: Final = {
    "interpreter": ("runtime.engine.interpreter", "InterpreterEngine"),
    "jit": ("runtime.engine.jit", "JitEngine"),
}

ENGINES: Final = tuple(_ENGINES)
"""The names that `engine_named` knows."""


def engine_named(name: str) -> Engine:
    """The engine of that name; raises UnsupportedError that lists the names.

    The running kernel is not among them: it takes objects, not verified programs (runtime.engine.kernel).
    """
    if name not in _ENGINES:
        raise UnsupportedError(f"no engine {name!r}; there is {', '.join(_ENGINES)}")
    module, engine = _ENGINES[name]
    made: Engine = getattr(import_module(module), engine)()
    return made
