"""`python tests/support/servers.py ADDRESS…`: small servers for real programs to talk to, on every address given.

HTTP on 8080 (any path gives BODY; /large gives LARGE), DNS over UDP on 53 (every A question is answered with ANSWER), and on 2222
a server that answers each line with the same line in capitals, as long as the session lasts. Standard library only.

Not here: the clients (real_traffic.py).
"""

from __future__ import annotations

import hashlib
import http.server
import socket
import socketserver
import struct
import sys
import threading

ANSWER = "192.0.2.80"
BODY = b"hello\n"
LARGE = hashlib.shake_128(b"large").digest(1 << 20)


class _Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = LARGE if self.path == "/large" else BODY
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Names(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        question, wire = self.request
        end = question.index(b"\0", 12) + 5
        head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0)
        record = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(ANSWER)
        wire.sendto(head + question[12:end] + record, self.client_address)


class _Lines(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())


class _Http(http.server.ThreadingHTTPServer):
    request_queue_size = 512


class _Http6(_Http):
    address_family = socket.AF_INET6


class _Udp(socketserver.ThreadingUDPServer):
    allow_reuse_address = True


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main(addresses: list[str]) -> None:
    """Serve until the process is killed."""
    servers: list[socketserver.BaseServer] = []
    for address in addresses:
        if ":" in address:
            servers.append(_Http6((address, 8080), _Pages))
        else:
            servers += [_Http((address, 8080), _Pages), _Udp((address, 53), _Names), _Tcp((address, 2222), _Lines)]
    threads = [threading.Thread(target=each.serve_forever) for each in servers]
    for each in threads:
        each.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for each in threads:
        each.join()


if __name__ == "__main__":
    main(sys.argv[1:])
