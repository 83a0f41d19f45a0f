"""Events: rings in shared memory through which programs hand records to user space, as an extension and as Python.

Not here: hooks. RINGBUF and PERF_EVENT_ARRAY are map kinds; `map.face`, or `events_of`, reads them. Python's side is imported
when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdp.events.helpers import EVENT_HELPERS, PACKET_NATIVES
from xdp.events.kinds import EVENT_MAP_KINDS

if TYPE_CHECKING:
    from xdp.events.face import Event, Events, events_of
    from xdp.events.kernel import KernelPerf, KernelRing

__all__ = [
    "EVENT_HELPERS",
    "EVENT_MAP_KINDS",
    "PACKET_NATIVES",
    "Event",
    "Events",
    "KernelPerf",
    "KernelRing",
    "events_of",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xdp.events' has no attribute {name!r}")
    from xdp.events import face, kernel

    return getattr(kernel if name.startswith("Kernel") else face, name)
