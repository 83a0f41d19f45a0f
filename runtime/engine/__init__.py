"""What runs verified programs: engines by name.

Not here: any engine; each is imported when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol

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

    def load(self, program: VerifiedProgram, maps: Sequence[Map], *, program_id: int = 0) -> Executable:
        """Make a program ready, with its object's maps by index; raises UnsupportedError for what it cannot run."""
        ...


_ENGINES: Final = {
    "interpreter": ("runtime.engine.interpreter", "InterpreterEngine"),
    "jit": ("runtime.engine.jit", "JitEngine"),
    "kernel": ("runtime.engine.kernel", "KernelEngine"),
}

ENGINES: Final = tuple(_ENGINES)
"""The names of all engines."""


def engine_named(name: str) -> Any:
    """The engine of that name; raises UnsupportedError that lists the names.

    "jit" and "interpreter" are `Engine`s; "kernel" gives programs that are run one frame at a time.
    """
    if name not in _ENGINES:
        raise UnsupportedError(f"no engine {name!r}; there is {', '.join(_ENGINES)}")
    module, engine = _ENGINES[name]
    return getattr(import_module(module), engine)()
