"""When connections come to their end: the kernel tells it of every TCP socket that is freed, by its cookie.

Not here: calls of close(2); a connection may be shared by processes and outlive them. What is told is about the network
namespace of the supervisor only, needs CAP_NET_ADMIN, and is lost where more ends at once than the socket's buffer holds.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final, Protocol, final

from netdev.interpose.record import SocketEvent

__all__ = ["Closings", "Listener"]

_SOCK_DIAG: Final = 4
_DESTROYED: Final = 1 << 0 | 1 << 2  # SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET6_TCP_DESTROY
_HEADER: Final = 16
_COOKIE: Final = _HEADER + 44  # in struct inet_diag_msg
_BUFFER: Final = 1 << 20
_MOST: Final = 65536


class Listener(Protocol):
    """Who wants to know."""

    def tell_closed(self, event: SocketEvent) -> None:
        """The connection of this event has ended."""


@final
class Closings:
    """Connections whose ends somebody waits for. Raises OSError where the kernel does not tell."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, _SOCK_DIAG
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, _DESTROYED))
        except OSError:
            self._socket.close()
            raise
        self._open: dict[int, tuple[Listener, SocketEvent]] = {}
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """What to wait on."""
        return self._socket.fileno()

    def expect(self, listener: Listener, event: SocketEvent, cookie: int) -> None:
        """Tell the listener when the socket with this cookie is gone; the oldest of too many are forgotten."""
        with self._lock:
            if len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open)))
            self._open[cookie] = (listener, event)

    def ready(self, catch_up: Callable[[], None]) -> None:
        """Read what the kernel has told. `catch_up` is called when sockets have ended that nobody expected to, and may expect them."""
        while True:
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: some were lost
            unknown = self._ended(_cookies(data))
            if unknown:
                catch_up()
                self._ended(unknown)

    def _ended(self, cookies: list[int]) -> list[int]:
        """Tell of the ends of these sockets; those that are not known."""
        unknown = []
        for cookie in cookies:
            with self._lock:
                found = self._open.pop(cookie, None)
            if found is None:
                unknown.append(cookie)
            else:
                found[0].tell_closed(found[1])
        return unknown

    def close(self) -> None:
        """Stop waiting."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _cookies(data: bytes) -> list[int]:
    """Of the sockets that a message is about."""
    found: list[int] = []
    at = 0
    while at + _COOKIE + 8 <= len(data):
        size: int = struct.unpack_from("=I", data, at)[0]
        found.append(struct.unpack_from("=Q", data, at + _COOKIE)[0])
        at += max(size + 3 & ~3, _HEADER)
    return found
