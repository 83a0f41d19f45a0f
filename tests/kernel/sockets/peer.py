"""`python -IS peer.py PORT…`: tells everyone who calls whom it sees, and at which of its own addresses.

TCP and UDP on every address of both families. Says "ready" when it listens. Standard library only.

Not here: the callers (traffic.py).
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections import deque
from contextlib import suppress

_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50


def _end(host: str, port: int) -> str:
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _stream(port: int) -> socket.socket:
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)


def _datagrams(port: int) -> socket.socket:
    each = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    each.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    each.bind(("::", port))
    return each


_said: deque[socket.socket] = deque(maxlen=32)  # a connection with something unread would be reset when it is closed


def _answer_stream(listener: socket.socket) -> None:
    wire, peer = listener.accept()
    own = wire.getsockname()
    wire.sendall(f"{_end(*own[:2])} sees {_end(*peer[:2])}".encode())
    wire.shutdown(socket.SHUT_WR)
    _said.append(wire)


def _answer_datagram(each: socket.socket) -> None:
    _, control, _, peer = each.recvmsg(512, 128)
    own = next(data[:16] for _, kind, data in control if kind == _IPV6_PKTINFO)
    port = each.getsockname()[1]
    text = f"{_end(socket.inet_ntop(socket.AF_INET6, own), port)} sees {_end(*peer[:2])}"
    back = [(socket.IPPROTO_IPV6, _IPV6_PKTINFO, own + struct.pack("=I", 0))]
    each.sendmsg([text.encode()], back, 0, peer)


def main(ports: list[str]) -> None:
    """Answer until the process is killed."""
    poller = select.poll()
    doors: dict[int, tuple[socket.socket, bool]] = {}
    for port in map(int, ports):
        for each, is_stream in ((_stream(port), True), (_datagrams(port), False)):
            doors[each.fileno()] = (each, is_stream)
            poller.register(each, select.POLLIN)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for descriptor, _ in poller.poll():
            each, is_stream = doors[descriptor]
            with suppress(OSError):  # the caller may have gone
                (_answer_stream if is_stream else _answer_datagram)(each)


if __name__ == "__main__":
    main(sys.argv[1:])
