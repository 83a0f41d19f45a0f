"""Ports: where frames come from and go to.

Not here: what is decided about them; what an interface is besides its frames (netdev.topology).
"""

from netdev.backends.capture import CapturePort
from netdev.backends.loops import (
    HEADER_SIZE,
    SCRATCH,
    SLOT_DATA,
    SLOT_TAG,
    Call,
    Collect,
    Deliver,
    Gather,
    Loops,
    Offload,
    Segmentation,
    Send,
    Status,
    Take,
)
from netdev.backends.memory import MemoryPort
from netdev.backends.packet import PacketPort, open_packet
from netdev.backends.pcap import PcapPort, open_pcap
from netdev.backends.reference import REFERENCE
from netdev.backends.tap import TapPort, open_tap

__all__ = [
    "HEADER_SIZE",
    "REFERENCE",
    "SCRATCH",
    "SLOT_DATA",
    "SLOT_TAG",
    "Call",
    "CapturePort",
    "Collect",
    "Deliver",
    "Gather",
    "Loops",
    "MemoryPort",
    "Offload",
    "PacketPort",
    "PcapPort",
    "Segmentation",
    "Send",
    "Status",
    "Take",
    "TapPort",
    "open_packet",
    "open_pcap",
    "open_tap",
]
