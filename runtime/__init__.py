"""An eBPF engine: objects in, verified and compiled programs out.

Not here: hooks, packets, the command line. `load` is resolved when first used, so that importing a part of
the engine does not import all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.loader import LoadedObject, Program, load

__all__ = ["LoadedObject", "Program", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from runtime import loader

        return getattr(loader, name)
    raise AttributeError(f"module 'runtime' has no attribute {name!r}")
