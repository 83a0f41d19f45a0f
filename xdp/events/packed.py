"""How natives hand events to Python: one after the other in a buffer, each behind a head of 32 bytes.

Not here: reading events out of rings (ring.py, perf.py), and what Python makes of them (face.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.native import native, store32, store64

__all__ = ["HEAD", "Packed", "RecordType", "head", "room_for"]

HEAD: Final = 32


class Packed(IntEnum):
    """Byte offsets in a head. TYPE, SIZE (of the data behind it), CPU and INDEX have 32 bits, POSITION and TIME 64.

    Data is padded to a multiple of 8. Of a LOST record, TIME is how many events were lost.
    """

    TYPE = 0
    SIZE = 4
    POSITION = 8
    TIME = 16
    CPU = 24
    INDEX = 28


class RecordType(IntEnum):
    """enum perf_event_type, as far as it occurs."""

    LOST = 2
    SAMPLE = 9


@native
def room_for(size: int) -> int:
    """Bytes of a head and so much data."""
    return HEAD + ((size + 7) & -8)


@native
def head(out: int, kind: int, size: int, position: int, time: int, cpu: int, index: int) -> int:
    """Write a head; returns where the data goes."""
    store32(out + Packed.TYPE, kind)
    store32(out + Packed.SIZE, size)
    store64(out + Packed.POSITION, position)
    store64(out + Packed.TIME, time)
    store32(out + Packed.CPU, cpu)
    store32(out + Packed.INDEX, index)
    return out + HEAD
