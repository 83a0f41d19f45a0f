"""Makes the captures of this folder, byte by byte the same on every run: python pcaps/make_captures.py [FOLDER].

Not here: sessions.pcap, which was recorded (record_sessions.py). What each capture shows is said in README.md.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import frames as f

_START: Final = 1_750_000_000 * 10**9
_SECOND: Final = 10**9
_MS: Final = 10**6
_US: Final = 10**3

ROUTER, SERVER = f.mac(1), f.mac(2)
WEB: Final = "192.0.2.80"


def main() -> None:
    """Write every capture into the folder of this file, or the one that is named."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    (folder / "syn-flood-mixed.pcap").write_bytes(f.pcap(syn_flood(Random(80))))
    (folder / "dns-amplification.pcap").write_bytes(f.pcap(dns_amplification(Random(53)), nanoseconds=True))
    (folder / "mixed.pcapng").write_bytes(f.pcapng((("eth0", 9), ("eth1", 6)), mixed(Random(14))))


def syn_flood(random: Random) -> Iterator[f.Frame]:
    """Ten seconds at a web server's link: sessions all the time, a flood from the third second to the ninth."""
    for number in range(150):
        client = f"198.51.100.{10 + number % 30}"
        start = _START + number * 64 * _MS + random.randrange(50 * _MS)
        yield from session(random, client, 32_768 + 7 * number, start)
    for bot, (source, rate) in enumerate(
        (("203.0.113.7", 330), ("203.0.113.66", 290), ("203.0.113.99", 240), ("198.18.5.23", 190))
    ):
        yield from flood(random, source, rate, _START + 2 * _SECOND + bot * 400 * _MS, _START + 8_600 * _MS)
    for _ in range(1100):
        time = _START + 2_500 * _MS + random.randrange(6 * _SECOND)
        source = f"{1 + random.randrange(222)}.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
        yield time, syn(random, source)


def syn(random: Random, source: str) -> bytes:
    """One connection attempt from a random port."""
    segment = f.tcp(source, 1024 + random.randrange(64_000), WEB, 80, f.SYN, random.getrandbits(32), 0, window=512)
    return to_server(f.ipv4(source, WEB, f.TCP, segment, number=random.getrandbits(16), ttl=50 + random.randrange(8)))


def flood(random: Random, source: str, rate: int, start: int, end: int) -> Iterator[f.Frame]:
    """Attempts from one source: a tenth of the rate at first, all of it after a second."""
    time = start
    while time < end:
        now = rate if time - start > _SECOND else rate // 10 + rate * 9 * ((time - start) // _MS) // 10_000
        time += _SECOND // now * (500 + random.randrange(1000)) // 1000
        yield time, syn(random, source)


def to_server(packet: bytes) -> bytes:
    """A packet that comes in by the router."""
    return f.ethernet(ROUTER, SERVER, f.ETH_IPV4, packet)


def from_server(packet: bytes) -> bytes:
    """A packet that the server sends."""
    return f.ethernet(SERVER, ROUTER, f.ETH_IPV4, packet)


def session(random: Random, client: str, port: int, start: int) -> Iterator[f.Frame]:
    """A request over TCP and its answer: three-way handshake, data, both ends close."""
    ours, theirs = random.getrandbits(32), random.getrandbits(32)
    trip = (15 + random.randrange(60)) * _MS
    number = random.getrandbits(16)

    def up(flags: int, payload: bytes = b"") -> bytes:
        segment = f.tcp(client, port, WEB, 80, flags, ours, theirs if flags & f.ACK else 0, payload)
        return to_server(f.ipv4(client, WEB, f.TCP, segment, number=number, ttl=57))

    def down(flags: int, payload: bytes = b"") -> bytes:
        segment = f.tcp(WEB, 80, client, port, flags, theirs, ours, payload)
        return from_server(f.ipv4(WEB, client, f.TCP, segment, number=number))

    time = start
    yield time, up(f.SYN)
    ours += 1
    time += 90 * _US
    yield time, down(f.SYN | f.ACK)
    theirs += 1
    time += trip
    yield time, up(f.ACK)
    request = f"GET /page/{random.randrange(500)} HTTP/1.1\r\nHost: www.example\r\nAccept: */*\r\n\r\n".encode()
    time += 30 * _US
    yield time, up(f.PSH | f.ACK, request)
    ours += len(request)
    body = b"x" * (60 + random.randrange(500))
    for part in (f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body):
        time += 700 * _US
        yield time, down(f.PSH | f.ACK, part)
        theirs += len(part)
    time += trip
    yield time, up(f.ACK)
    time += 40 * _US
    yield time, up(f.FIN | f.ACK)
    ours += 1
    time += 60 * _US
    yield time, down(f.FIN | f.ACK)
    theirs += 1
    time += trip
    yield time, up(f.ACK)


NAME: Final = b"\x07example\x03org\x00"
A, TXT, ANY = 1, 16, 255
EDGE, OFFICE = f.mac(3), f.mac(4)


def question(number: int, kind: int, name: bytes = NAME) -> bytes:
    """A DNS question."""
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + name + struct.pack("!HH", kind, 1)


def answer(number: int, kind: int, data: list[bytes], name: bytes = NAME) -> bytes:
    """A DNS answer with its question and a record for each piece of data; for ANY the records are texts."""
    record_kind = TXT if kind == ANY else kind
    out = struct.pack("!HHHHHH", number, 0x8180, 1, len(data), 0, 0) + name + struct.pack("!HH", kind, 1)
    for each in data:
        value = bytes([len(each)]) + each if record_kind == TXT else each
        out += struct.pack("!HHHIH", 0xC00C, record_kind, 1, 300, len(value)) + value
    return out


def dns_amplification(random: Random) -> Iterator[f.Frame]:
    """Eight seconds at an office's edge: lookups all the time, answers that nobody asked for in the middle."""
    for number in range(420):
        time = _START + number * 19 * _MS + random.randrange(15 * _MS)
        yield from lookup(random, f"192.0.2.{100 + number % 20}", f"203.0.113.{53 + number % 2}", time)
    time = _START + 2 * _SECOND
    for count in range(620):
        time += 4 * _MS + random.randrange(8 * _MS)
        reflector = f"198.51.100.{1 + random.randrange(48)}"
        texts = [bytes([97 + random.randrange(26)]) * 200 for _ in range(3 + random.randrange(4))]
        if count % 10 == 9:
            texts *= 3
        datagram = f.udp(
            reflector, 53, "192.0.2.10", 1024 + random.randrange(60_000), answer(random.getrandbits(16), ANY, texts)
        )
        for index, packet in enumerate(fragments(reflector, "192.0.2.10", datagram, random.getrandbits(16))):
            yield time + index * 12 * _US, f.ethernet(EDGE, OFFICE, f.ETH_IPV4, packet)


def lookup(random: Random, client: str, resolver: str, time: int) -> Iterator[f.Frame]:
    """A question that goes out and its answer."""
    number, port = random.getrandbits(16), 1024 + random.randrange(60_000)
    host = f"host{random.randrange(1000)}".encode()
    name = bytes([len(host)]) + host + NAME
    asked = f.udp(client, port, resolver, 53, question(number, A, name))
    yield time, f.ethernet(OFFICE, EDGE, f.ETH_IPV4, f.ipv4(client, resolver, f.UDP, asked))
    told = f.udp(resolver, 53, client, port, answer(number, A, [random.getrandbits(32).to_bytes(4, "big")], name))
    time += 3 * _MS + random.randrange(30 * _MS)
    yield time, f.ethernet(EDGE, OFFICE, f.ETH_IPV4, f.ipv4(resolver, client, f.UDP, told, ttl=55))


def fragments(source: str, destination: str, datagram: bytes, number: int) -> Iterator[bytes]:
    """The IPv4 packets of a datagram, at most 1,500 bytes each."""
    for offset in range(0, len(datagram), 1480):
        piece = datagram[offset : offset + 1480]
        more = offset + 1480 < len(datagram)
        yield f.ipv4(source, destination, f.UDP, piece, number=number, ttl=243, offset=offset, more=more)


LEFT, RIGHT = f.mac(5), f.mac(6)
V4: Final = ("10.1.0.1", "10.1.0.2")
V6: Final = ("2001:db8::1", "2001:db8::2")


def mixed(random: Random) -> Iterator[tuple[int, int, str, bytes]]:
    """Two interfaces and a bit of everything, eight times over with other sizes."""
    time = _START
    for turn in range(8):
        for comment, frame in (*plain(random, turn), *tagged(turn), *pieces(random), *odd(turn)):
            time += 100 * _US + random.randrange(5 * _MS)
            yield turn % 2, time // _US * _US, comment, frame


def _named(kind: int, packet: bytes, comment: str = "", *, pad: bool = True) -> tuple[str, bytes]:
    return comment, f.ethernet(LEFT, RIGHT, kind, packet, pad=pad)


def plain(random: Random, turn: int) -> Iterator[tuple[str, bytes]]:
    """Untagged and whole: ARP, ICMP, UDP and TCP over IPv4 and IPv6."""
    data = bytes(random.randrange(256) for _ in range(8 + 40 * turn))
    yield "", f.ethernet(LEFT, b"\xff" * 6, f.ETH_ARP, f.arp(1, LEFT, V4[0], bytes(6), V4[1]))
    yield "", f.ethernet(RIGHT, LEFT, f.ETH_ARP, f.arp(2, RIGHT, V4[1], LEFT, V4[0]))
    yield _named(f.ETH_IPV4, f.ipv4(*V4, f.ICMP, f.icmp(8, 7, turn, data)))
    yield _named(f.ETH_IPV4, f.ipv4(*V4, f.UDP, f.udp(V4[0], 4000 + turn, V4[1], 53, question(turn, A))))
    yield _named(f.ETH_IPV4, f.ipv4(*V4, f.TCP, f.tcp(V4[0], 4000, V4[1], 443, f.PSH | f.ACK, turn, 1, data)))
    yield _named(f.ETH_IPV6, f.ipv6(*V6, f.ICMPV6, f.icmpv6(*V6, 128, struct.pack("!HH", 7, turn) + data)))
    yield _named(f.ETH_IPV6, f.ipv6(*V6, f.UDP, f.udp(V6[0], 4000, V6[1], 4000 + turn, data)))
    yield _named(f.ETH_IPV6, f.ipv6(*V6, f.TCP, f.tcp(V6[0], 4000, V6[1], 443, f.SYN, turn, 0)))
    if turn % 3 == 0:
        yield _named(f.ETH_IPV4, f.ipv4(*V4, f.UDP, f.udp(V4[0], 5000, V4[1], 5001, bytes(8972))), "jumbo frame")
    yield _named(f.ETH_IPV4, f.ipv4(*V4, f.UDP, f.udp(V4[0], 1, V4[1], 9, data), options=b"\x94\x04\x00\x00"))


def tagged(turn: int) -> Iterator[tuple[str, bytes]]:
    """VLAN, priority tags, QinQ in both spellings, and three tags."""
    four = f.ipv4(*V4, f.UDP, f.udp(V4[0], 6000, V4[1], 6001, bytes(10 * turn)))
    six = f.ipv6(*V6, f.UDP, f.udp(V6[0], 6000, V6[1], 6001, bytes(10 * turn)))
    yield _named(f.ETH_VLAN, f.tag(100 + turn, f.ETH_IPV4, four))
    yield _named(f.ETH_VLAN, f.tag(0, f.ETH_IPV6, six, priority=5), "priority tag")
    yield _named(f.ETH_QINQ, f.tag(200, f.ETH_VLAN, f.tag(100 + turn, f.ETH_IPV4, four)), "QinQ")
    yield _named(f.ETH_VLAN, f.tag(200, f.ETH_VLAN, f.tag(100 + turn, f.ETH_IPV6, six)))
    inner = f.tag(300, f.ETH_VLAN, f.tag(301, f.ETH_IPV4, four))
    yield _named(f.ETH_QINQ, f.tag(302, f.ETH_VLAN, inner), "three tags")


def pieces(random: Random) -> Iterator[tuple[str, bytes]]:
    """Datagrams in fragments, over IPv4 and IPv6; extension headers."""
    number = random.getrandbits(16)
    datagram = f.udp(V4[0], 7000, V4[1], 7001, bytes(range(256)) * 12)
    for packet in fragments(*V4, datagram, number):
        yield _named(f.ETH_IPV4, packet)
    datagram = f.udp(V6[0], 7000, V6[1], 7001, bytes(range(256)) * 8)
    for offset in range(0, len(datagram), 1448):
        more = 1 if offset + 1448 < len(datagram) else 0
        head = struct.pack("!BBHI", f.UDP, 0, offset | more, number)
        yield _named(f.ETH_IPV6, f.ipv6(*V6, f.FRAGMENT, head + datagram[offset : offset + 1448]))
    echo = f.icmpv6(*V6, 128, bytes(12))
    hop = bytes([60, 0, 1, 4, 0, 0, 0, 0])  # hop-by-hop options, padding
    destination = bytes([f.ICMPV6, 0, 1, 4, 0, 0, 0, 0])
    yield _named(f.ETH_IPV6, f.ipv6(*V6, 0, hop + destination + echo), "two extension headers")


def odd(turn: int) -> Iterator[tuple[str, bytes]]:
    """Runts, headers that are cut, lengths that lie, EtherTypes that nobody knows."""
    whole = f.ethernet(LEFT, RIGHT, f.ETH_IPV4, f.ipv4(*V4, f.UDP, f.udp(V4[0], 1, V4[1], 2, b"odd")), pad=False)
    for size in (turn, turn + 6):
        yield f"runt of {size} bytes", whole[:size]
    yield "nothing behind the Ethernet header", whole[:14]
    yield f"IPv4 header cut at {turn + 5} bytes", whole[: 14 + turn + 5]
    yield "UDP header cut", whole[: 14 + 20 + turn]
    lying = bytearray(f.ipv4(*V4, f.UDP, f.udp(V4[0], 1, V4[1], 2, b"lies")))
    lying[2:4] = b"\xff\xff"
    yield _named(f.ETH_IPV4, bytes(lying), "total length of 65535")
    yield _named(f.ETH_IPV4, b"\x42" + bytes(lying[1:]), "IPv4 header of 8 bytes")
    yield _named(0x88B5, bytes(46), "experimental EtherType")
    yield _named(46, b"\xaa\xaa\x03" + bytes(43), "length instead of an EtherType")
    yield _named(f.ETH_VLAN, b"\x00\x64", "VLAN tag cut", pad=False)


if __name__ == "__main__":
    main()
