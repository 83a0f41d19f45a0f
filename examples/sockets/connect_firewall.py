"""`python -m examples.sockets.connect_firewall [--block PREFIX]… [--except PREFIX]… [-- COMMAND…]`: connections by a list of prefixes.

Without a command, a server answers on 127.0.0.1, 127.0.0.2 and 127.8.0.1 while 127.0.0.0/29 is blocked but for 127.0.0.1, and a small
client tries them all.

Not here: the list's lookup (connect_firewall.c).
"""

from __future__ import annotations

import argparse
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network

from examples.sockets.supervised import supervised

HOSTS = ("127.0.0.1", "127.0.0.2", "127.8.0.1")
_CLIENT = """
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), timeout=5) as wire:
            print(f"{host}: {wire.recv(64).decode()}")
    except OSError as error:
        print(f"{host}: {error.strerror}")
"""


def key_of(network: IPv4Network | IPv6Network) -> bytes:
    """The prefix as the map has it."""
    first, length = network.network_address.packed, network.prefixlen
    if network.version == 4:
        first, length = bytes(10) + b"\xff\xff" + first, length + 96
    return struct.pack("=I", length) + first


def _text(key: bytes) -> str:
    length, address = int.from_bytes(key[:4], sys.byteorder), IPv6Address(key[4:])
    return f"{address.ipv4_mapped}/{length - 96}" if address.ipv4_mapped else f"{address}/{length}"


@contextmanager
def _greeter() -> Iterator[int]:
    """A server on every address of the loopback interface; its port."""
    with socket.create_server(("0.0.0.0", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    wire, _ = listener.accept()
                except OSError:
                    return
                with wire:
                    wire.sendall(b"hello")

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def main(words: list[str] | None = None) -> int:
    """Run the command behind the list, and show how often each prefix decided; the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=ip_network, action="append", default=[], metavar="PREFIX")
    parser.add_argument("--except", type=ip_network, action="append", default=[], metavar="PREFIX", dest="exceptions")
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args(words)
    with _greeter() as port, supervised("connect_firewall.o") as session:
        command = arguments.command
        if not command:
            command = [sys.executable, "-c", _CLIENT, str(port), *HOSTS]
            arguments.block.append(ip_network("127.0.0.0/29"))
            arguments.exceptions.append(ip_network("127.0.0.1/32"))
        for networks, blocked in ((arguments.block, 1), (arguments.exceptions, 0)):
            for network in networks:
                session.obj.maps["rules"].update(key_of(network), struct.pack("=II", blocked, 0))
        code = session.run(command)
        print(f"\n{'prefix':<24}{'':<10}{'hits':>6}")
        for key, value in sorted(session.obj.maps["rules"].items()):
            blocked, hits = struct.unpack("=II", value)
            print(f"{_text(key):<24}{'blocked' if blocked else 'allowed':<10}{hits:>6}")
    return code


if __name__ == "__main__":
    sys.exit(main())
