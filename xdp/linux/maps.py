"""Map types of Linux that programs may name and that nothing here makes: known by number, for verification.

Not here: what helpers do with them; which helper takes which type is written beside the helpers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runtime.maps import CORE_MAP_KINDS
from runtime.spec import MapKind

__all__ = ["LINUX_MAP_KINDS"]

_NAMES: Final = {
    4: "perf_event_array", 7: "stack_trace", 8: "cgroup_array", 15: "sockmap", 18: "sockhash", 19: "cgroup_storage",
    20: "reuseport_sockarray", 21: "percpu_cgroup_storage", 22: "queue", 23: "stack", 24: "sk_storage", 27: "ringbuf",
    28: "inode_storage", 29: "task_storage", 30: "bloom_filter", 31: "user_ringbuf", 32: "cgrp_storage",
}  # fmt: skip

LINUX_MAP_KINDS: Final[tuple[MapKind, ...]] = tuple(
    replace(
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
    for number, name in _NAMES.items()
)
"""By their UAPI numbers. Programs reach them through helpers only; none has operations of its own."""
