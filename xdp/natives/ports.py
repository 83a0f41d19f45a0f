"""The loops of live ports, compiled: natives of this package as the record of functions that netdev.backends asks for.

Not here: the natives. They are compiled, or taken from the disk cache, when the first of them is called.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from netdev.backends import Loops
from runtime.native import Library, library
from xdp.natives.compiled import Compiled
from xdp.natives.rings import collect, send
from xdp.natives.slots import gather
from xdp.natives.taps import deliver, take

__all__ = ["LOOPS", "make_ready"]


@cache
def _library() -> Library:
    return library((collect, deliver, gather, send, take))


LOOPS: Final = Loops(
    collect=Compiled(collect, _library),
    gather=Compiled(gather, _library),
    send=Compiled(send, _library),
    take=Compiled(take, _library),
    deliver=Compiled(deliver, _library),
)
"""What to open live ports with."""


def make_ready() -> None:
    """Compile the loops now, if nobody did yet: not when an interface waits for them."""
    _library()
