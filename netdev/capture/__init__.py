"""Capture files: pcap and pcapng, mapped, indexed, read in batches and written in batches.

Not here: ports over them (netdev.backends), and compiled loops, which whoever has a compiler hands in as `Kernels`.
"""

from netdev.capture.files import CaptureFile, open_capture
from netdev.capture.format import MAX_CAPLEN, Block, Interface
from netdev.capture.index import Damage
from netdev.capture.kernels import NO_COMMENT, VERDICT_TYPE, Clock, Format, Kernels, Row, Stop, Walk, Wrap
from netdev.capture.linktypes import ETHERNET, Wrapping, link_type_name
from netdev.capture.reference import REFERENCE

__all__ = [
    "ETHERNET",
    "MAX_CAPLEN",
    "NO_COMMENT",
    "REFERENCE",
    "VERDICT_TYPE",
    "Block",
    "CaptureFile",
    "Clock",
    "Damage",
    "Format",
    "Interface",
    "Kernels",
    "Row",
    "Stop",
    "Walk",
    "Wrap",
    "Wrapping",
    "link_type_name",
    "open_capture",
]
