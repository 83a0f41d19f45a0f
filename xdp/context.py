"""struct xdp_md as rows, and the record of 64-bit words behind it.

Not here: who fills the record (driver.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.spec import ContextField, ContextLayout, FieldKind

__all__ = ["HEADROOM", "MAX_FRAME", "MAX_METADATA", "RECORD_SIZE", "RESERVED_HEADROOM", "XDP_MD", "Record"]

MAX_FRAME: Final = 1 << 18
"""Frames that hooks take are at most that long, in bytes; so are those of capture files."""

HEADROOM: Final = 256
"""Bytes in front of a frame (XDP_PACKET_HEADROOM)."""

RESERVED_HEADROOM: Final = 40
"""Of the headroom, what the kernel keeps for struct xdp_frame: adjust_head stops before it."""

MAX_METADATA: Final = 252
"""The most that adjust_meta gives: the kernel keeps the length in one byte, in units that are multiples of 4."""


class Record(IntEnum):
    """Byte offsets in the context record. LOWEST is the lowest address that the packet or its metadata began at."""

    DATA = 0
    DATA_END = 8
    DATA_META = 16
    INGRESS_IFINDEX = 24
    RX_QUEUE_INDEX = 32
    EGRESS_IFINDEX = 40
    HARD_START = 48
    HARD_END = 56
    LOWEST = 64


RECORD_SIZE: Final = 72


def _field(
    name: str, offset: int, record: Record, kind: FieldKind = FieldKind.SCALAR, attach: tuple[str, ...] = ()
) -> ContextField:
    """A 4-byte field that is read whole and never written, as the kernel's verifier has it."""
    return ContextField(
        name=name,
        offset=offset,
        size=4,
        kind=kind,
        reads=(4,),
        record_offset=record,
        record_size=8,
        attach_types=attach,
    )


XDP_MD: Final = ContextLayout(
    name="xdp_md",
    size=24,
    record_size=RECORD_SIZE,
    fields=(
        _field("data", 0, Record.DATA, FieldKind.REGION),
        _field("data_end", 4, Record.DATA_END, FieldKind.REGION_END),
        _field("data_meta", 8, Record.DATA_META, FieldKind.REGION_META),
        _field("ingress_ifindex", 12, Record.INGRESS_IFINDEX),
        _field("rx_queue_index", 16, Record.RX_QUEUE_INDEX),
        _field("egress_ifindex", 20, Record.EGRESS_IFINDEX, attach=("devmap",)),
    ),
    region="packet",
    region_max=MAX_FRAME + HEADROOM + 256,
    region_writable=True,
)
