"""The helpers that every program type may use, as rows: what Linux says of them, and what carries them out here.

Not here: helpers that know what a packet, a socket or a hook is; extensions have those.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runtime.helpers.checksum import csum_diff
from runtime.helpers.linux import linux_helper
from runtime.helpers.printk import trace_printk
from runtime.helpers.strings import strncmp
from runtime.helpers.time import (
    CPU_MASK,
    get_numa_node_id,
    get_prandom_u32,
    get_smp_processor_id,
    ktime_get_boot_ns,
    ktime_get_coarse_ns,
    ktime_get_ns,
    ktime_get_tai_ns,
)
from runtime.spec import Helper, MapOp, NativeFunction

__all__ = ["CORE_HELPERS"]


def _clock(number: int, native: NativeFunction) -> Helper:
    return replace(linux_helper(number), native=native, reads_clock=True)


_CPU_PROTOTYPE: Final = replace(linux_helper(8).prototype, returns=(0, CPU_MASK))

CORE_HELPERS: Final[tuple[Helper, ...]] = (
    replace(linux_helper(1), map_op=MapOp.LOOKUP),
    replace(linux_helper(2), map_op=MapOp.UPDATE),
    replace(linux_helper(3), map_op=MapOp.DELETE),
    _clock(5, ktime_get_ns),
    replace(linux_helper(6), native=trace_printk),
    replace(linux_helper(7), native=get_prandom_u32, reads_random=True),
    replace(linux_helper(8), native=get_smp_processor_id, prototype=_CPU_PROTOTYPE, reads_cpu=True),
    replace(linux_helper(12), builtin="tail_call"),
    replace(linux_helper(28), native=csum_diff),
    replace(linux_helper(42), native=get_numa_node_id, reads_cpu=True),
    _clock(125, ktime_get_boot_ns),
    _clock(160, ktime_get_coarse_ns),
    replace(linux_helper(164), builtin="for_each_map_elem"),
    replace(linux_helper(181), builtin="loop"),
    replace(linux_helper(182), native=strncmp),
    replace(linux_helper(195), map_op=MapOp.LOOKUP_PERCPU, reads_cpu=True),
    _clock(208, ktime_get_tai_ns),
)
