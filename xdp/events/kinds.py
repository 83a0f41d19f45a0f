"""RINGBUF and PERF_EVENT_ARRAY as rows.

Not here: what runs (ring.py, perf.py) and Python's side (face.py), which is imported when a map is looked at.
"""

from __future__ import annotations

import mmap
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runtime.spec import MapKind, MapSpec
from xdp.events.perf import perf_drain, perf_init, perf_next_key, perf_size, perf_wait
from xdp.events.ring import ring_init, ring_size
from xdp.events.ring_read import ring_drain, ring_next_key, ring_wait

if TYPE_CHECKING:
    from runtime.maps import Map

__all__ = ["EVENT_MAP_KINDS"]

_MOST: Final = 1 << 31


def _ring_definition(spec: MapSpec, _cpus: int) -> MapSpec:
    """The next size that a ring can have, as libbpf chooses it; a type of values says what records are, and is no size."""
    size = spec.max_entries
    if 0 < size <= _MOST and (size % mmap.PAGESIZE or size & (size - 1)):
        size = mmap.PAGESIZE
        while size <= spec.max_entries:
            size *= 2
    return replace(
        spec,
        max_entries=size,
        key_size=0 if spec.btf_key else spec.key_size,
        value_size=0 if spec.btf_value else spec.value_size,
    )


def _perf_definition(spec: MapSpec, cpus: int) -> MapSpec:
    """A slot for each CPU where no number is given, as in libbpf; a type of values says what events are."""
    typed = spec.btf_value != 0
    return replace(
        spec,
        max_entries=spec.max_entries or cpus,
        key_size=4 if typed and not spec.key_size else spec.key_size,
        value_size=4 if typed else spec.value_size,
    )


def _ring_face(raw: Map) -> Any:
    from xdp.events.face import Events

    return Events(raw, ring_drain, ring_wait, slots=1)


def _perf_face(raw: Map) -> Any:
    from xdp.events.face import Events

    return Events(raw, perf_drain, perf_wait, slots=raw.spec.max_entries)


EVENT_MAP_KINDS: Final[tuple[MapKind, ...]] = (
    MapKind(
        id=4,
        name="perf_event_array",
        size=perf_size,
        init=perf_init,
        next_key=perf_next_key,
        ops={},
        value_is="event",
        fixed_key_size=4,
        fixed_value_size=4,
        program_writable=False,
        define=_perf_definition,
        face=_perf_face,
        natives=(perf_drain, perf_wait),
    ),
    MapKind(
        id=27,
        name="ringbuf",
        size=ring_size,
        init=ring_init,
        next_key=ring_next_key,
        ops={},
        value_is="event",
        program_writable=False,
        define=_ring_definition,
        face=_ring_face,
        natives=(ring_drain, ring_wait),
    ),
)
