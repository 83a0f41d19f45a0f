"""A message sent from an address of the own end, as a native: what sendto(2) cannot say, sendmsg(2) does.

Not here: the calls that are held (supervise).
"""

from __future__ import annotations

import socket
from typing import Final

from netdev.interpose import Event, Job, Own
from runtime.native import load16, load32, load64, memcpy, memzero, native, store32, store64, syscall

__all__ = ["send_from"]

_INET6: Final = int(socket.AF_INET6)
_IPPROTO_IP: Final = int(socket.IPPROTO_IP)
_IPPROTO_IPV6: Final = int(socket.IPPROTO_IPV6)
_IP_PKTINFO: Final = 8
_IPV6_PKTINFO: Final = 50

# where in Job.SCRATCH
_MESSAGE: Final = Job.SCRATCH + 256
_PIECE: Final = Job.SCRATCH + 312
_CONTROL: Final = Job.SCRATCH + 328


@native
def _control(job: int) -> int:
    """Control data that names the source in the record (IP_PKTINFO); how long it is."""
    source = job + Job.RECORD + Event.SOURCE
    control = job + _CONTROL
    memzero(control, 40)
    if load16(source) == _INET6:
        store64(control, 36)
        store32(control + 8, _IPPROTO_IPV6)
        store32(control + 12, _IPV6_PKTINFO)
        memcpy(control + 16, source + 8, 16)
        return 40
    store64(control, 28)
    store32(control + 8, _IPPROTO_IP)
    store32(control + 12, _IP_PKTINFO)
    store32(control + 20, load32(source + 4))
    store32(control + 24, load32(source + 4))
    return 32


@native
def send_from(job: int, flags: int) -> int:
    """Send the message in DATA to the record's address, from the record's source; what sendmsg(2) returned."""
    record = job + Job.RECORD
    message = job + _MESSAGE
    store64(job + _PIECE, job + Job.DATA)
    store64(job + _PIECE + 8, load64(record + Event.SIZE))
    store64(message, record + Event.ADDRESS)
    store64(message + 8, load64(record + Event.ADDRESS_LENGTH))
    store64(message + 16, job + _PIECE)
    store64(message + 24, 1)
    store64(message + 32, job + _CONTROL)
    store64(message + 40, _control(job))
    store64(message + 48, 0)
    return syscall(Own.SENDMSG, load64(job + Job.SOCKET), message, flags, 0, 0, 0)
