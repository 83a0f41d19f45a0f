"""Maps of any kind and shape for tests."""

from __future__ import annotations

from collections.abc import Callable

from runtime.maps import CORE_MAP_KINDS, Map
from runtime.spec import MapFlag, MapSpec

KINDS = {kind.name: kind for kind in CORE_MAP_KINDS}

Make = Callable[..., Map]


def spec_of(name: str, key_size: int, value_size: int, max_entries: int, flags: int = 0) -> MapSpec:
    """A definition of a map of that kind; LPM tries get the flag that they must have."""
    if name == "lpm_trie":
        flags |= MapFlag.NO_PREALLOC
    return MapSpec(
        name="m",
        kind=KINDS[name].id,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
    )
