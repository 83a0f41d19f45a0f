"""XDP in user space: programs over captures and interfaces.

Not here: the engine (runtime) and the wire (netdev). Names are resolved when first used, so that importing the package is
cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from xdp.extension import catalogue, default_registry, register, withdraw
    from xdp.hooks.xdp import Result, XdpProgram
    from xdp.live import Link, attach
    from xdp.live.maps import open_map
    from xdp.offline import Report, replay
    from xdp.verdict import Verdict

__all__ = [
    "Link",
    "Report",
    "Result",
    "Verdict",
    "XdpProgram",
    "attach",
    "catalogue",
    "default_registry",
    "open_map",
    "register",
    "replay",
    "withdraw",
]

_HOMES: Final = {
    "Link": "xdp.live.link",
    "Report": "xdp.offline",
    "Result": "xdp.hooks.xdp",
    "Verdict": "xdp.verdict",
    "XdpProgram": "xdp.hooks.xdp",
    "attach": "xdp.live.attachment",
    "catalogue": "xdp.extension",
    "default_registry": "xdp.extension",
    "open_map": "xdp.live.maps",
    "register": "xdp.extension",
    "replay": "xdp.offline",
    "withdraw": "xdp.extension",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'xdp' has no attribute {name!r}")
