"""Records sessions.pcap: real programs talking between two network namespaces. Needs root, iproute2, curl, ping, ethtool.

    python pcaps/record_sessions.py [FILE]

Not here: made-up packets (make_captures.py). The namespaces are this script's own and are removed at its end.
Offloads are switched off, so that checksums are on the wire and no frame is larger than the wire's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
LEFT, RIGHT = f"xdpsim-left-{os.getpid()}", f"xdpsim-right-{os.getpid()}"
CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
CLIENT6, SERVER6 = "fd77::1", "fd77::2"
_ETH_P_ALL: Final = 3
_SO_TIMESTAMPNS: Final = 35

LOOKUPS: Final = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
for n in range(20):
    s.sendto(n.to_bytes(2, "big") + b"\\x01\\x00\\x00\\x01" + bytes(6) + b"\\x04host\\x04test\\x00\\x00\\x01\\x00\\x01", (sys.argv[1], 53))
    s.recv(2000)
"""
ANSWERS: Final = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 53))
while True:
    q, who = s.recvfrom(2000)
    s.sendto(q[:2] + b"\\x81\\x80" + q[4:6] + b"\\x00\\x01" + bytes(4) + q[12:] + b"\\xc0\\x0c\\x00\\x01\\x00\\x01" + bytes(4) + b"\\x00\\x04\\x0a\\x4d\\x00\\x05", who)
"""


def main() -> None:
    """Record into the file that is named, or sessions.pcap beside this script."""
    if len(sys.argv) > 2 and sys.argv[1] == "--record":
        record(Path(sys.argv[2]))
        return
    path = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER / "sessions.pcap").resolve()
    if os.geteuid() != 0:
        sys.exit("record_sessions.py: namespaces need root")
    with namespaces(), serving(), recording(path):
        talk()
    print(f"{path}: {path.stat().st_size:,} bytes")


def run(*words: str, quiet: bool = False) -> None:
    """Run a command to its end."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL if quiet else None)


def within(namespace: str, *words: str) -> list[str]:
    """The words of a command inside a namespace."""
    return ["ip", "netns", "exec", namespace, *words]


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Two namespaces and a cable between them."""
    try:
        for name in (LEFT, RIGHT):
            run("ip", "netns", "add", name)
        run("ip", "-n", LEFT, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", RIGHT)
        for name, number, four, six in ((LEFT, 1, CLIENT, CLIENT6), (RIGHT, 2, SERVER, SERVER6)):
            run("ip", "-n", name, "link", "set", "wire", "address", f"02:00:00:77:00:0{number}")
            run("ip", "-n", name, "address", "add", f"{four}/24", "dev", "wire")
            run("ip", "-n", name, "address", "add", f"{six}/64", "dev", "wire", "nodad")
            run(
                *within(name, "ethtool", "-K", "wire", "tx", "off", "tso", "off", "gso", "off", "gro", "off"),
                quiet=True,
            )
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "wire", "up")
        yield
    finally:
        for name in (LEFT, RIGHT):
            subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """A web server and something like a name server on the right side."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        (Path(folder) / "small.txt").write_text("small\n")
        (Path(folder) / "large.bin").write_bytes(bytes(range(256)) * 800)
        for words in (["-m", "http.server", "80", "--bind", "::", "--directory", folder], ["-c", ANSWERS]):
            child = subprocess.Popen(
                within(RIGHT, sys.executable, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(child.wait)
            stack.callback(child.terminate)
        deadline = time.monotonic() + 10
        ready = ["curl", "-s", "-o", "/dev/null", f"http://{SERVER}/small.txt"]
        while subprocess.run(within(LEFT, *ready), check=False).returncode:
            if time.monotonic() > deadline:
                sys.exit("record_sessions.py: the web server does not answer")
            time.sleep(0.1)
        yield


@contextlib.contextmanager
def recording(path: Path) -> Iterator[None]:
    """This script once more, in the left namespace, writing down what its end of the cable carries."""
    child = subprocess.Popen(
        within(LEFT, sys.executable, str(Path(__file__).resolve()), "--record", str(path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    try:
        yield
        time.sleep(0.3)
    finally:
        child.communicate()
    if child.returncode:
        sys.exit("record_sessions.py: nothing was recorded")


def talk() -> None:
    """What the capture shows."""
    run("ip", "-n", LEFT, "neighbour", "flush", "dev", "wire")
    run(*within(LEFT, "ping", "-c", "4", "-i", "0.2", SERVER), quiet=True)
    run(*within(LEFT, "ping", "-c", "2", "-i", "0.2", "-s", "3000", SERVER), quiet=True)
    run(*within(LEFT, "ping", "-c", "3", "-i", "0.2", SERVER6), quiet=True)
    for host in (SERVER, f"[{SERVER6}]"):
        for name in ("small.txt", "large.bin", "missing"):
            run(*within(LEFT, "curl", "-s", "-o", "/dev/null", f"http://{host}/{name}"))
    run(*within(LEFT, sys.executable, "-c", LOOKUPS, SERVER))
    subprocess.run(within(LEFT, "curl", "-s", "-m", "1", f"http://{SERVER}:81/"), check=False)  # nobody listens


def record(path: Path) -> None:
    """Write frames of the cable until standard input ends."""
    sys.path.insert(0, str(FOLDER.parent))
    from netdev.capture import PcapWriter
    from netdev.port import pack

    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    wire.bind(("wire", 0))
    wire.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    wire.settimeout(0.1)
    os.set_blocking(0, False)
    frames, times = [], []
    print("recording", flush=True)
    while True:
        try:
            frame, extra, _, _ = wire.recvmsg(65_536, 64)
        except TimeoutError:
            if sys.stdin.buffer.read(1) == b"":
                break
            continue
        seconds, rest = struct.unpack("qq", extra[0][2])
        frames.append(frame)
        times.append(seconds * 10**9 + rest)
    with PcapWriter(path) as writer:
        writer.write(pack(frames, timestamps=times))


if __name__ == "__main__":
    main()
