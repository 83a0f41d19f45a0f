"""`python -m examples.sockets.proxy [-- COMMAND…]`: TCP connections of a command go through a proxy here, which knows where they were meant.

The proxy says who wanted what, and passes the bytes on. Without a command, a small client fetches a page of a server that this
script starts; it sees the address that it asked for as its peer.

Not here: the redirection (redirect.c).
"""

from __future__ import annotations

import argparse
import http.server
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from examples.sockets.supervised import supervised
from runtime.errors import MapError
from runtime.maps import Map

_DESTINATION = struct.Struct("=4sI")
_PATIENCE = 1.0
_CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as wire:
    print("client: connected to {}:{}".format(*wire.getpeername()))
    wire.sendall(b"GET /page HTTP/1.0\\r\\n\\r\\n")
    text = wire.makefile().read()
print("client:", text.splitlines()[0], "...", text.splitlines()[-1])
"""


class Proxy:
    """Listens on the loopback interface, and passes connections on to where they were meant to go."""

    def __init__(self, callers: Map, say: Callable[[str], None]) -> None:
        self._callers = callers
        self._say = say
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(caller, peer), daemon=True).start()

    def _meant(self, port: int) -> tuple[str, int] | None:
        """Where the connection from this port was to go: written down at about the time when it is accepted here."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                ip, number = _DESTINATION.unpack(self._callers.lookup(struct.pack("=I", port)))
            except MapError:
                if time.monotonic() > end:
                    return None
                time.sleep(0.001)
            else:
                return socket.inet_ntoa(ip), number

    def _pass_on(self, caller: socket.socket, peer: tuple[str, int]) -> None:
        with caller:
            meant = self._meant(peer[1])
            if meant is None:
                self._say(f"proxy: {peer[0]}:{peer[1]} was not redirected here")
                return
            self._say(f"proxy: {peer[0]}:{peer[1]} wants {meant[0]}:{meant[1]}")
            with suppress(OSError), socket.create_connection(meant, timeout=_PATIENCE) as server:
                server.settimeout(None)
                back = threading.Thread(target=_copy, args=(server, caller), daemon=True)
                back.start()
                _copy(caller, server)
                back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The path, from the port that the client asked for."""
        body = f"{self.path} of port {self.server.server_address[1]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def _site() -> Iterator[int]:
    """A small web server; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def main(words: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args(words)
    with _site() as site, supervised("redirect.o") as session:
        proxy = Proxy(session.obj.maps["callers"], say)
        try:
            where = _DESTINATION.pack(socket.inet_aton(proxy.host), proxy.port)
            session.obj.maps["proxy"].update(bytes(4), where)
            return session.run(arguments.command or [sys.executable, "-c", _CLIENT, str(site)])
        finally:
            proxy.close()


if __name__ == "__main__":
    sys.exit(main())
