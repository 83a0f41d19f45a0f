"""The capture kernels, compiled: natives of this package as the record of functions that netdev.capture asks for.

Not here: the natives. They are compiled, or taken from the disk cache, when the first of them is called.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from netdev.capture import Kernels
from runtime.native import Library, library
from xdp.natives.compiled import Compiled
from xdp.natives.format import format_pcap, format_pcapng
from xdp.natives.walk import walk_pcap, walk_pcapng
from xdp.natives.wrap import wrap

__all__ = ["NATIVE"]


@cache
def _library() -> Library:
    return library((format_pcap, format_pcapng, walk_pcap, walk_pcapng, wrap))


NATIVE: Final = Kernels(
    walk_pcap=Compiled(walk_pcap, _library),
    walk_pcapng=Compiled(walk_pcapng, _library),
    wrap=Compiled(wrap, _library),
    format_pcap=Compiled(format_pcap, _library),
    format_pcapng=Compiled(format_pcapng, _library),
)
"""What to open captures and to write them with."""
