"""An eBPF engine: objects in, verified and compiled programs out.

Not here: hooks, packets, the command line. Names are resolved when first used, so that importing a part of
the engine does not import all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.catalogue import Attachment, Catalogue, Change, State
    from runtime.loader import LoadedObject, Program, load

__all__ = ["Attachment", "Catalogue", "Change", "LoadedObject", "Program", "State", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from runtime import catalogue, loader

        return getattr(loader if name in loader.__all__ else catalogue, name)
    raise AttributeError(f"module 'runtime' has no attribute {name!r}")
