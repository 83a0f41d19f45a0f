"""The capture kernels, compiled: natives of this package as the record of functions that netdev.capture asks for.

Not here: the natives. They are compiled, or taken from the disk cache, when the first of them is called.
"""

from __future__ import annotations

from functools import cache
from typing import Final, final

from netdev.capture import Kernels
from runtime.native import Library, NativeFunction, library
from xdp.natives.format import format_pcap, format_pcapng
from xdp.natives.walk import walk_pcap, walk_pcapng
from xdp.natives.wrap import wrap

__all__ = ["NATIVE"]


@cache
def _library() -> Library:
    return library((format_pcap, format_pcapng, walk_pcap, walk_pcapng, wrap))


@final
class _Compiled:
    """A native as machine code, from the first call on; calls release the interpreter's lock."""

    __slots__ = ("_native",)

    def __init__(self, native: NativeFunction) -> None:
        self._native = native

    def __call__(self, job: int) -> int:
        return _library()[self._native](job)


NATIVE: Final = Kernels(
    walk_pcap=_Compiled(walk_pcap),
    walk_pcapng=_Compiled(walk_pcapng),
    wrap=_Compiled(wrap),
    format_pcap=_Compiled(format_pcap),
    format_pcapng=_Compiled(format_pcapng),
)
"""What to open captures and to write them with."""
