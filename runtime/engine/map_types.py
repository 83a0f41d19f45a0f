"""The least BTF that the kernel wants of maps whose values have members that only helpers touch: where those are.

Not here: reading BTF (runtime.object), and the types of functions (functions.py).
"""

from __future__ import annotations

import struct
from typing import Final

from runtime.spec import MapSpec

__all__ = ["KEY_TYPE", "VALUE_TYPE", "map_btf", "wants_types"]

KEY_TYPE: Final = 1
VALUE_TYPE: Final = 3
"""The type ids of a map's key and value."""

_MAGIC: Final = 0xEB9F
_HEADER: Final = "<HBBIIIII"
_INT, _STRUCT = 1 << 24, 4 << 24
_UNSIGNED_32: Final = 32
_STORAGE: Final = frozenset({24, 28, 29, 32})  # maps that belong to objects have BTF always


def wants_types(spec: MapSpec) -> bool:
    """Whether the kernel must be told what the map's values are."""
    return bool(spec.special) or spec.kind in _STORAGE


def map_btf(spec: MapSpec) -> bytes:
    """BTF with a key of KEY_TYPE, and a struct of VALUE_TYPE that has the special members at their offsets."""
    kinds = sorted({(each.type, each.size) for each in spec.special})
    names = ["int", "word", "value", *(kind for kind, _ in kinds), *(f"m{i}" for i in range(len(spec.special)))]
    strings, places = b"\0", {}
    for name in names:
        places[name] = len(strings)
        strings += name.encode() + b"\0"
    key = struct.pack("<IIII", places["int"], _INT, spec.key_size, 8 * spec.key_size)
    if spec.key_size not in (1, 2, 4, 8, 16):
        key = struct.pack("<III", places["int"], _STRUCT, spec.key_size)
    word = struct.pack("<IIII", places["word"], _INT, 4, _UNSIGNED_32)
    value = struct.pack("<III", places["value"], _STRUCT | len(spec.special), spec.value_size)
    for index, each in enumerate(spec.special):
        member = VALUE_TYPE + 1 + kinds.index((each.type, each.size))
        value += struct.pack("<III", places[f"m{index}"], member, 8 * each.offset)
    types = key + word + value + b"".join(struct.pack("<III", places[kind], _STRUCT, size) for kind, size in kinds)
    header = struct.calcsize(_HEADER)
    return struct.pack(_HEADER, _MAGIC, 1, 0, header, 0, len(types), len(types), len(strings)) + types + strings
