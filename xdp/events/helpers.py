"""The helpers that hand events to user space: rows, and the natives that are not a ring's own.

Not here: the rings (ring.py, perf.py). Prototypes are those of Linux; ring buffers behind dynptrs are verified only.
"""

from __future__ import annotations

from dataclasses import replace
from errno import EFAULT, EINVAL
from typing import Final

from runtime.helpers import linux_helper
from runtime.native import load64, native, shr
from runtime.spec import Helper, NativeFunction
from xdp.events.perf import perf_put
from xdp.events.ring import ring_discard, ring_output, ring_query, ring_reserve, ring_submit

__all__ = ["EVENT_HELPERS", "PACKET_NATIVES"]

_RINGBUF: Final = (27,)
_PERF: Final = (4,)

_INDEX: Final = 0xFFFF_FFFF
_LENGTH: Final = 0xF_FFFF
_LENGTH_SHIFT: Final = 32
_KNOWN: Final = _INDEX | _LENGTH << _LENGTH_SHIFT

_DATA: Final = 0  # in the record of a context whose first words are the edges of a packet
_DATA_END: Final = 8


@native
def event_output(env: int, ctx: int, arena: int, flags: int, data: int, size: int) -> int:
    """Append an event to the ring that the flags say; -EINVAL for anything but an index, else as perf_put."""
    if flags & ~_INDEX:
        return -EINVAL
    return perf_put(env, arena, flags, data, size, data, 0)


@native
def packet_output(env: int, ctx: int, arena: int, flags: int, data: int, size: int) -> int:
    """The same with so many bytes of the packet behind it as the flags say; -EFAULT when the packet has fewer."""
    if flags & ~_KNOWN:
        return -EINVAL
    start = load64(ctx + _DATA)
    extra = shr(flags, _LENGTH_SHIFT)
    if extra > load64(ctx + _DATA_END) - start:
        return -EFAULT
    return perf_put(env, arena, flags & _INDEX, data, size, start, extra)


EVENT_HELPERS: Final[tuple[Helper, ...]] = (
    replace(linux_helper(25), native=event_output, map_types=_PERF),
    replace(linux_helper(130), native=ring_output, map_types=_RINGBUF),
    replace(linux_helper(131), native=ring_reserve, map_types=_RINGBUF),
    replace(linux_helper(132), native=ring_submit),
    replace(linux_helper(133), native=ring_discard),
    replace(linux_helper(134), native=ring_query, map_types=_RINGBUF),
)

PACKET_NATIVES: Final[tuple[tuple[int, NativeFunction], ...]] = ((25, packet_output),)
"""For program types whose context record begins with the edges of a packet: ProgramType.natives."""
