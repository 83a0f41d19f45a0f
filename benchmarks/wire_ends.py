"""`python -m benchmarks.wire_ends send|echo|ask|scapy …`: the processes at the ends of a measured wire, one CPU each.

Each prints one line of JSON when it is done. They are processes of their own, because a sender in the measuring process would
fight with it for Python's lock.

Not here: what stands in the wire, and the table.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import sys
import time
from typing import Any

from tests.support.senders import LiveFrames, RingSender

PORT = 4660

_NO_CHECKSUM = 11  # SO_NO_CHECK: libpcap does not tell which checksums are left to the device, so they are left out


def frame(size: int = 60) -> bytes:
    """A UDP datagram for PORT; 60 bytes are 64 on a wire with its checksum."""
    body = size - 42
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + body, 1, 0, 64, 17, 0, bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2]))
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:]
    ethernet = bytes.fromhex("020000000002" + "020000000001" + "0800")
    return ethernet + head + struct.pack("!HHHH", 1024, PORT, 8 + body, 0) + bytes(body)


def send(arguments: argparse.Namespace) -> dict[str, Any]:
    """`count` frames, at `rate` a second where there is one, in pieces of `chunk`."""
    kind = LiveFrames(arguments.interface, frame()) if arguments.live else RingSender(arguments.interface, [frame()])
    with kind as sender:
        sender.send(64)  # what is allocated at first use is no part of the measurement
        time.sleep(0.05)
        start, busy, sent = time.perf_counter(), time.process_time(), 0
        while sent < arguments.count:
            sent += sender.send(min(arguments.chunk, arguments.count - sent))
            if arguments.rate:
                time.sleep(max(0.0, sent / arguments.rate - (time.perf_counter() - start)))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return {"sent": sent + 64, "start": start, "end": start + seconds, "cpu": busy}


def echo(_: argparse.Namespace) -> dict[str, Any]:
    """Give datagrams back until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setsockopt(socket.SOL_SOCKET, _NO_CHECKSUM, 1)
        wire.bind(("10.9.0.2", PORT + 1))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            wire.sendto(*wire.recvfrom(2048))


def ask(arguments: argparse.Namespace) -> dict[str, Any]:
    """`count` round trips at `rate` a second: microseconds, and how many were not answered within a second."""
    times, lost = [], 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setsockopt(socket.SOL_SOCKET, _NO_CHECKSUM, 1)
        wire.connect(("10.9.0.2", PORT + 1))
        wire.settimeout(1.0)
        for number in range(arguments.count):
            start = time.perf_counter()
            wire.send(struct.pack("<Q", number))
            try:
                while struct.unpack("<Q", wire.recv(2048))[0] != number:
                    pass
            except TimeoutError:
                lost += 1
                continue
            passed = time.perf_counter() - start
            times.append(passed * 1e6)
            time.sleep(max(0.0, 1 / arguments.rate - passed))
    cuts = statistics.quantiles(times, n=100)
    return {"median": statistics.median(times), "p99": cuts[98], "lost": lost}


def scapy(arguments: argparse.Namespace) -> dict[str, Any]:
    """bridge_and_sniff between two interfaces that drops datagrams for PORT, for `seconds`: how many it judged."""
    from scapy.config import conf
    from scapy.layers.inet import IP, UDP
    from scapy.sendrecv import bridge_and_sniff

    conf.ipv6_enabled = False
    judged = []

    def judge(packet: Any) -> bool:
        judged.append(time.perf_counter())
        return not (IP in packet and UDP in packet and packet[UDP].dport == PORT)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    busy = time.process_time()
    first, second = arguments.interface.split(",")
    bridge_and_sniff(first, second, xfrm12=judge, store=False, timeout=arguments.seconds)
    busy = time.process_time() - busy
    span = judged[-1] - judged[0] if len(judged) > 1 else 0.0
    return {"judged": len(judged), "cpu": busy, "rate": len(judged) / span if span else 0.0}


def main() -> int:
    """One role."""
    roles = {each.__name__: each for each in (send, echo, ask, scapy)}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=roles)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--count", type=int, default=1 << 20)
    parser.add_argument("--chunk", type=int, default=1 << 20)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--cpu", type=int)
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    sys.stdout.write(json.dumps(roles[arguments.role](arguments)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
