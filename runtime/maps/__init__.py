"""Maps: arenas of shared memory, the operations of each kind as natives, and their Python face.

Not here: kinds that belong to extensions; these build on the header's words, locks and checks here. Programs call the operations of a kind directly (MapKind.ops); Python holds
a Map, made by `create`. The Python face is imported when first used: who only verifies takes the rows alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.maps.arena import CPUS_AT, HEADER_SIZE, MAX_ENTRIES_AT
from runtime.maps.kinds import CORE_MAP_KINDS
from runtime.maps.limits import check_access
from runtime.maps.locks import lock, unlock

if TYPE_CHECKING:
    from runtime.maps.dump import dump, dump_one, fill, format_one, format_value
    from runtime.maps.map import Map, attach, create, possible_cpus
    from runtime.maps.typed import TypedMap
    from runtime.maps.values import decode
    from runtime.maps.view import StructValue

__all__ = [
    "CORE_MAP_KINDS",
    "CPUS_AT",
    "HEADER_SIZE",
    "MAX_ENTRIES_AT",
    "Map",
    "StructValue",
    "TypedMap",
    "attach",
    "check_access",
    "create",
    "decode",
    "dump",
    "dump_one",
    "fill",
    "format_one",
    "format_value",
    "lock",
    "possible_cpus",
    "unlock",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'runtime.maps' has no attribute {name!r}")
    from runtime.maps.dump import dump, dump_one, fill, format_one, format_value
    from runtime.maps.map import Map, attach, create, possible_cpus
    from runtime.maps.typed import TypedMap
    from runtime.maps.values import decode
    from runtime.maps.view import StructValue

    face = (
        Map,
        StructValue,
        TypedMap,
        attach,
        create,
        decode,
        dump,
        dump_one,
        fill,
        format_one,
        format_value,
        possible_cpus,
    )
    globals().update({each.__name__: each for each in face})  # all at once: dump is the name of a module, too
    return globals()[name]
