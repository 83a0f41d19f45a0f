"""The kinds of map that every program type may use, as rows.

Not here: kinds that belong to extensions.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.array import ARRAY, PERCPU_ARRAY
from runtime.maps.hash import HASH
from runtime.maps.lpm import LPM_TRIE
from runtime.maps.lru import LRU_HASH
from runtime.maps.lru_percpu import LRU_PERCPU_HASH
from runtime.maps.percpu_hash import PERCPU_HASH
from runtime.maps.prog_array import PROG_ARRAY
from runtime.spec import MapKind

__all__ = ["CORE_MAP_KINDS"]

CORE_MAP_KINDS: Final[tuple[MapKind, ...]] = (
    HASH,
    ARRAY,
    PROG_ARRAY,
    PERCPU_HASH,
    PERCPU_ARRAY,
    LRU_HASH,
    LRU_PERCPU_HASH,
    LPM_TRIE,
)
