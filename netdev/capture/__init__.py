"""Capture files: pcap and pcapng, mapped, indexed, read in batches and written in batches.

Not here: ports over them (netdev.backends), and compiled loops, which whoever has a compiler hands in as `Kernels`.
"""

from netdev.capture.atomic import AtomicFile
from netdev.capture.files import CaptureFile, CaptureReader, open_capture
from netdev.capture.format import MAX_CAPLEN, Block, Interface
from netdev.capture.index import Damage
from netdev.capture.kernels import (
    NO_COMMENT,
    VERDICT_TYPE,
    Clock,
    Format,
    Job,
    Kernels,
    Row,
    Stop,
    Walk,
    Wrap,
    address_of,
)
from netdev.capture.linktypes import ETHERNET, Wrapping, link_type_name
from netdev.capture.reference import REFERENCE
from netdev.capture.writers import PcapngWriter, PcapWriter

__all__ = [
    "ETHERNET",
    "MAX_CAPLEN",
    "NO_COMMENT",
    "REFERENCE",
    "VERDICT_TYPE",
    "AtomicFile",
    "Block",
    "CaptureFile",
    "CaptureReader",
    "Clock",
    "Damage",
    "Format",
    "Interface",
    "Job",
    "Kernels",
    "PcapWriter",
    "PcapngWriter",
    "Row",
    "Stop",
    "Walk",
    "Wrap",
    "Wrapping",
    "address_of",
    "link_type_name",
    "open_capture",
]
