"""Link types: what a frame begins with, and which of them can be given an Ethernet header instead.

Not here: the rewriting itself, which is a loop over frames (kernels.py).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["ETHERNET", "Wrapping", "link_type_name", "wrapping"]

ETHERNET: Final = 1

# Numbers of the registry at tcpdump.org; 12 and 14 are what some systems write in place of 101.
_NAMES: Final = {
    0: "NULL", 1: "ETHERNET", 6: "IEEE802_5", 8: "SLIP", 9: "PPP", 10: "FDDI", 12: "RAW", 14: "RAW", 50: "PPP_HDLC",
    51: "PPP_ETHER", 100: "ATM_RFC1483", 101: "RAW", 104: "C_HDLC", 105: "IEEE802_11", 107: "FRELAY", 108: "LOOP",
    113: "LINUX_SLL", 114: "LTALK", 117: "PFLOG", 119: "IEEE802_11_PRISM", 122: "IP_OVER_FC", 123: "SUNATM",
    127: "IEEE802_11_RADIOTAP", 129: "ARCNET_LINUX", 138: "APPLE_IP_OVER_IEEE1394", 143: "DOCSIS", 144: "LINUX_IRDA",
    147: "USER0", 163: "IEEE802_11_AVS", 165: "BACNET_MS_TP", 166: "PPP_PPPD", 169: "GPRS_LLC", 177: "LINUX_LAPD",
    187: "BLUETOOTH_HCI_H4", 189: "USB_LINUX", 192: "PPI", 195: "IEEE802_15_4_WITHFCS", 197: "ERF",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR", 209: "IPMB_LINUX", 220: "USB_LINUX_MMAPPED", 224: "FC_2", 225: "FC_2_WITH_FRAME_DELIMS",
    226: "IPNET", 227: "CAN_SOCKETCAN", 228: "IPV4", 229: "IPV6", 230: "IEEE802_15_4_NOFCS", 239: "NFLOG",
    247: "INFINIBAND", 249: "USBPCAP", 251: "BLUETOOTH_LE_LL", 253: "NETLINK", 258: "PKTAP", 271: "VSOCK",
    273: "DOCSIS31_XRA31", 274: "ETHERNET_MPACKET", 276: "LINUX_SLL2", 284: "DSA_TAG_DSA", 285: "DSA_TAG_EDSA",
}  # fmt: skip


class Wrapping(IntEnum):
    """How a frame of another link type becomes an Ethernet frame. Addresses that are not known are zero.

    NONE: it is one. IP: the IP packet begins at once; its version decides the EtherType. IP_AFTER_4: the same behind four
    bytes of address family. SLL, SLL2: "cooked" Linux captures, whose EtherType and six-byte source address are
    taken over. A frame too short for its own header becomes a header with EtherType 0.
    """

    NONE = 0
    IP = 1
    IP_AFTER_4 = 2
    SLL = 3
    SLL2 = 4


_WRAPPINGS: Final = {
    ETHERNET: Wrapping.NONE,
    0: Wrapping.IP_AFTER_4,
    12: Wrapping.IP,
    14: Wrapping.IP,
    101: Wrapping.IP,
    108: Wrapping.IP_AFTER_4,
    113: Wrapping.SLL,
    228: Wrapping.IP,
    229: Wrapping.IP,
    276: Wrapping.SLL2,
}


def wrapping(link_type: int) -> Wrapping | None:
    """How frames of a link type become Ethernet frames, or None when they cannot."""
    return _WRAPPINGS.get(link_type)


def link_type_name(link_type: int) -> str:
    """The registry's name, or "unknown"."""
    return _NAMES.get(link_type, "unknown")
