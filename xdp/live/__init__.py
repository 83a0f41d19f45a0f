"""Programs on live interfaces: attached, replaced, counted, detached.

Not here: captures (xdp.offline) and where frames come from (netdev). Names are resolved when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xdp.live.attachment import attach
    from xdp.live.chain import Entry
    from xdp.live.counters import Cause, Counters, Word
    from xdp.live.link import Link, LinkStatistics, Mode
    from xdp.live.reasons import Reason
    from xdp.live.scapyface import FilterSocket

__all__ = ["Cause", "Counters", "Entry", "FilterSocket", "Link", "LinkStatistics", "Mode", "Reason", "Word", "attach"]

_HOMES: Final = {
    "Cause": "xdp.live.counters",
    "Counters": "xdp.live.counters",
    "Entry": "xdp.live.chain",
    "FilterSocket": "xdp.live.scapyface",
    "Link": "xdp.live.link",
    "LinkStatistics": "xdp.live.link",
    "Mode": "xdp.live.link",
    "Reason": "xdp.live.reasons",
    "Word": "xdp.live.counters",
    "attach": "xdp.live.attachment",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'xdp.live' has no attribute {name!r}")
