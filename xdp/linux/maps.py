"""Map types of Linux that programs may name and that nothing here makes: known by number, for verification.

Not here: what helpers do with them; which helper takes which type is written beside the helpers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runtime.maps import CORE_MAP_KINDS
from runtime.spec import MapKind, MapOp

__all__ = ["LINUX_MAP_KINDS"]

_NAMES: Final = {
    4: "perf_event_array", 7: "stack_trace", 8: "cgroup_array", 12: "array_of_maps", 13: "hash_of_maps",
    15: "sockmap", 18: "sockhash", 19: "cgroup_storage",
    20: "reuseport_sockarray", 21: "percpu_cgroup_storage", 22: "queue", 23: "stack", 24: "sk_storage", 27: "ringbuf",
    28: "inode_storage", 29: "task_storage", 30: "bloom_filter", 31: "user_ringbuf", 32: "cgrp_storage",
}  # fmt: skip

_LOOKUP: Final = {MapOp.LOOKUP: CORE_MAP_KINDS[0].ops[MapOp.LOOKUP]}
_CHANGE: Final = {op: CORE_MAP_KINDS[0].ops[op] for op in (MapOp.LOOKUP, MapOp.UPDATE, MapOp.DELETE)}
_CHANGERS: Final = frozenset({"socket_filter", "sched_cls", "sched_act", "xdp"})
_CHANGED_BY: Final = {MapOp.UPDATE: _CHANGERS, MapOp.DELETE: _CHANGERS | {"sock_ops"}}
"""Who changes maps of sockets; the others have helpers of their own for it, or none (may_update_sockmap of the kernel)."""


def _kind(number: int, name: str) -> MapKind:
    return replace(
        CORE_MAP_KINDS[0],
        id=number,
        name=name,
        ops={},
        fill=None,
        snapshot=None,
        bounded_array=False,
        program_writable=False,
        verified_only=True,
    )


def _of_maps(number: int, name: str) -> MapKind:
    """Programs look maps up in it."""
    return replace(_kind(number, name), value_is="map", ops=_LOOKUP)


def _of_sockets(number: int, name: str) -> MapKind:
    """Programs look sockets up in it, which they must release, and some put sockets there."""
    row = _kind(number, name)
    return replace(row, value_is="socket", struct="sock", acquires=True, ops=_CHANGE, changed_by=_CHANGED_BY)


_MAKERS: Final = {12: _of_maps, 13: _of_maps, 15: _of_sockets, 18: _of_sockets}

LINUX_MAP_KINDS: Final[tuple[MapKind, ...]] = tuple(
    _MAKERS.get(number, _kind)(number, name) for number, name in _NAMES.items()
)
"""By their UAPI numbers. Programs reach the others through helpers only."""
