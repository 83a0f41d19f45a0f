"""`python -m examples.flood.ends serve|visit|flood …`: the server, its honest client, and the attackers; a process each.

Not here: the wire between them and the filter (__main__.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.senders import RingSender

SERVER, PORT = "10.9.0.2", 80
PATIENCE = 0.9  # seconds that the client waits for a page: less than TCP takes to try a SYN again
BACKLOG = 4096
ATTACKERS = 16
_PAGE = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(_PAGE)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, SERVER, PORT, backlog=BACKLOG)
    _say("ready")
    await server.serve_forever()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def serve(_: argparse.Namespace) -> None:
    """A page for everyone, until killed."""
    asyncio.run(_serve())


def _fetch() -> float | None:
    """Milliseconds for a page over a connection of its own; None when it did not come in time."""
    start = time.perf_counter()
    try:
        with socket.create_connection((SERVER, PORT), timeout=PATIENCE) as wire:
            wire.sendall(b"GET / HTTP/1.0\r\n\r\n")
            wire.settimeout(max(0.001, PATIENCE - (time.perf_counter() - start)))
            return (time.perf_counter() - start) * 1e3 if wire.recv(4096).startswith(b"HTTP/1.0 200") else None
    except OSError:
        return None


def visit(arguments: argparse.Namespace) -> None:
    """Fetch the page at `rate`, whether or not earlier pages came; a line of JSON for each: when (CLOCK_MONOTONIC), milliseconds or null."""

    def once(start: float) -> list[float | None]:
        return [start, _fetch()]

    end, waiting = time.monotonic() + arguments.seconds, []
    with ThreadPoolExecutor(2 + int(arguments.rate * PATIENCE * 1.5)) as threads:
        while (now := time.monotonic()) < end:
            waiting.append(threads.submit(once, now))
            time.sleep(max(0.0, now + 1 / arguments.rate - time.monotonic()))
    for each in waiting:
        _say(json.dumps(each.result()))


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(target: bytes, source: str, port: int, sequence: int) -> bytes:
    """A TCP SYN to the server's port, with both checksums."""
    ends = socket.inet_aton(source) + socket.inet_aton(SERVER)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40, port, 0x4000, 64, 6, 0) + ends
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    tcp = struct.pack("!HHIIBBHHH", port, PORT, sequence, 0, 0x50, 2, 65535, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", _checksum(ends + struct.pack("!HH", 6, 20) + tcp)) + tcp[18:]
    return (target + bytes.fromhex("02000000beef0800") + head + tcp).ljust(60, b"\0")


def flood(arguments: argparse.Namespace) -> None:
    """SYNs from ATTACKERS sources at `rate` a second; prints how many went."""
    rng = random.Random(1)
    target = bytes.fromhex(arguments.target.replace(":", ""))
    frames = [
        syn(target, f"198.51.100.{1 + number % ATTACKERS}", rng.randrange(1024, 65536), rng.randrange(1 << 32))
        for number in range(4096)
    ]
    with RingSender("eth0", frames) as sender:
        _say(str(sender.paced(arguments.rate, arguments.seconds)))


def main() -> int:
    """One role."""
    roles = {each.__name__: each for each in (serve, visit, flood)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=roles)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--target", default="", help="the server's hardware address")
    arguments = parser.parse_args()
    roles[arguments.role](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
