"""What an object file says, whole: the type between the loader and everything else.

Not here: bytes. runtime.object makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from runtime.spec.maps import MapSpec
from runtime.spec.program import ProgramSpec

if TYPE_CHECKING:
    from runtime.spec.types import TypeTable

__all__ = ["ObjectSpec"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """Programs and maps of one object, in the order of the file; `types` is its BTF, read, or None.

    `unsupported` are programs that ask for what is not at hand here: name and reason.
    """

    name: str
    programs: tuple[ProgramSpec, ...]
    maps: tuple[MapSpec, ...]
    license: str = ""
    types: TypeTable | None = field(default=None, repr=False)
    unsupported: tuple[tuple[str, str], ...] = ()
