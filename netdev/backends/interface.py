"""What a live port asks the system about its interface, and how the system's refusals are told.

Not here: frames. Nothing changes an interface but the MAC and MTU of a TAP (netdev.topology does the rest).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import time
from typing import Final, final

from netdev.errors import InterfaceError
from netdev.port import PortState

__all__ = ["ETHERNET_HEADER", "Link", "refusal", "waited"]

ETHERNET_HEADER: Final = 14

_NAME_SIZE: Final = 16
_REQUEST: Final = 40  # struct ifreq
_GET_NAME: Final = 0x8910
_GET_FLAGS: Final = 0x8913
_GET_MTU: Final = 0x8921
_SET_MTU: Final = 0x8922
_SET_ADDRESS: Final = 0x8924
_GET_ADDRESS: Final = 0x8927
_UP: Final = 0x1
_RUNNING: Final = 0x40
_ETHERNET: Final = 1
_LOOPBACK: Final = 772
_RTM_GETLINK: Final = 18
_NLM_F_REQUEST: Final = 1
_IFLA_STATS64: Final = 23
_TX_DROPPED: Final = 7  # of struct rtnl_link_stats64
_ERROR_PAUSE: Final = 0.05


def refusal(error: OSError, name: str, what: str) -> InterfaceError:
    """One line about what the system did not do for an interface, and what to do about it."""
    match error.errno:
        case errno.EPERM | errno.EACCES:
            needs = "CAP_NET_ADMIN" if what.startswith("make") else "CAP_NET_RAW"
            return InterfaceError(f"{name}: not permitted to {what}: this needs {needs} (run as root, or grant it)")
        case errno.ENODEV | errno.ENXIO:
            return InterfaceError(f"{name}: there is no such interface here")
        case errno.ENETDOWN:
            return InterfaceError(f"{name}: the interface is down: cannot {what}")
        case errno.ENOMEM | errno.ENOBUFS:
            return InterfaceError(f"{name}: not enough memory to {what}: use fewer or smaller blocks")
        case _:
            return InterfaceError(f"{name}: cannot {what}: {os.strerror(error.errno or 0)}")


def waited(poll: select.poll, seconds: float) -> bool:
    """Whether something happens to the registered descriptor in that time.

    An error that stays is told at most twenty times a second, so that a loop around it does not spin.
    """
    happened = poll.poll(max(seconds, 0) * 1000)
    if happened and not happened[0][1] & select.POLLIN:
        time.sleep(min(max(seconds, 0), _ERROR_PAUSE))
    return bool(happened)


@final
class Link:
    """An interface by its number, asked through a socket of the namespace that it is in; renaming does no harm."""

    __slots__ = ("_socket", "ifindex", "name")

    def __init__(self, name: str, through: socket.socket) -> None:
        """The interface of that name where the socket was made; the socket stays the caller's. Raises InterfaceError."""
        self.name = name
        self._socket = through
        if not 0 < len(os.fsencode(name)) < _NAME_SIZE:
            raise InterfaceError(f"{name!r} is no name of an interface: it has 1 to 15 bytes")
        try:
            request = self._ask(0x8933, os.fsencode(name))
        except OSError as error:
            raise refusal(error, name, "find it") from error
        (self.ifindex,) = struct.unpack_from("=i", request, _NAME_SIZE)

    def current_name(self) -> str:
        """What it is called now; raises OSError when it is gone."""
        request = fcntl.ioctl(self._socket, _GET_NAME, struct.pack("=16si20x", b"", self.ifindex))
        return os.fsdecode(request[:_NAME_SIZE].rstrip(b"\0"))

    def state(self) -> PortState:
        """UP when it is set up and has a carrier; raises nothing."""
        try:
            (flags,) = struct.unpack_from("=H", self._get(_GET_FLAGS), _NAME_SIZE)
        except OSError:
            return PortState.GONE
        return PortState.UP if flags & _UP and flags & _RUNNING else PortState.DOWN

    def mtu(self) -> int | None:
        """Its MTU; None when it is gone."""
        try:
            (mtu,) = struct.unpack_from("=i", self._get(_GET_MTU), _NAME_SIZE)
        except OSError:
            return None
        return int(mtu)

    def address(self) -> bytes:
        """Its 6-byte hardware address; raises InterfaceError when its frames are not Ethernet."""
        try:
            request = self._get(_GET_ADDRESS)
        except OSError as error:
            raise refusal(error, self.name, "ask for its address") from error
        (kind,) = struct.unpack_from("=H", request, _NAME_SIZE)
        if kind not in (_ETHERNET, _LOOPBACK):
            raise InterfaceError(f"{self.name}: its frames are not Ethernet (hardware type {kind})")
        return request[_NAME_SIZE + 2 : _NAME_SIZE + 8]

    def overrun(self) -> int:
        """Frames to be sent for which its queue had no room (tx_dropped), since it was made; 0 when it is gone.

        The socket must be one of rtnetlink.
        """
        request = struct.pack("=IHHIIBxHiII", 32, _RTM_GETLINK, _NLM_F_REQUEST, 1, 0, 0, 0, self.ifindex, 0, 0)
        try:
            self._socket.send(request)
            answer = self._socket.recv(1 << 16)
        except OSError:
            return 0
        at = 32
        while at + 4 <= len(answer):
            size, kind = struct.unpack_from("=HH", answer, at)
            if kind == _IFLA_STATS64:
                return int(struct.unpack_from("=Q", answer, at + 4 + 8 * _TX_DROPPED)[0])
            at += max(size + 3 & -4, 4)
        return 0

    def set_address(self, address: bytes) -> None:
        """Give it a hardware address; raises OSError."""
        self._ask(_SET_ADDRESS, os.fsencode(self.current_name()), struct.pack("=H6s", _ETHERNET, address))

    def set_mtu(self, mtu: int) -> None:
        """Give it an MTU; raises OSError."""
        self._ask(_SET_MTU, os.fsencode(self.current_name()), struct.pack("=i", mtu))

    def _get(self, what: int) -> bytes:
        return self._ask(what, os.fsencode(self.current_name()))

    def _ask(self, what: int, name: bytes, value: bytes = b"") -> bytes:
        request = struct.pack("=16s", name) + value
        return fcntl.ioctl(self._socket, what, request + bytes(_REQUEST - len(request)))
