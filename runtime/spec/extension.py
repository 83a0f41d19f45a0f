"""An extension: everything that a program type needs, as data.

Not here: how extensions are found (registry.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from runtime.spec.maps import MapKind
from runtime.spec.program import ProgramType, Section
from runtime.spec.prototype import Helper
from runtime.spec.structs import KernelStruct

__all__ = ["Extension"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A named bundle of rows. Names and numbers must be unique across the extensions of a registry."""

    name: str
    program_types: tuple[ProgramType, ...] = ()
    helpers: tuple[Helper, ...] = ()
    map_kinds: tuple[MapKind, ...] = ()
    sections: tuple[Section, ...] = ()
    structs: tuple[KernelStruct, ...] = ()
