"""Maps: arenas of shared memory, the operations of each kind as natives, and their Python face.

Not here: kinds that belong to extensions. Programs call the operations of a kind directly (MapKind.ops); Python holds
a Map, made by `create`.
"""

from runtime.maps.dump import dump, fill
from runtime.maps.kinds import CORE_MAP_KINDS
from runtime.maps.map import Map, attach, create, possible_cpus
from runtime.maps.typed import TypedMap
from runtime.maps.view import StructValue

__all__ = [
    "CORE_MAP_KINDS",
    "Map",
    "StructValue",
    "TypedMap",
    "attach",
    "create",
    "dump",
    "fill",
    "possible_cpus",
]
