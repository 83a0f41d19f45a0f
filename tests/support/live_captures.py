"""What arrives at the ends of a wire, written down by tcpdump and compared frame by frame.

    with captured(line.server, "eth0") as seen:
        ...
    seen.frames        # bytes of each frame, in order of arrival

Not here: what is sent.
"""

from __future__ import annotations

import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from tests.support.wires import Namespace

_HEAD, _RECORD = 24, struct.Struct("<4I")
_QUIET = 0.2  # seconds without a frame after which nothing more is expected


@final
@dataclass(slots=True)
class Seen:
    """Frames in order of arrival; filled when the block ends."""

    frames: list[bytes] = field(default_factory=list)

    def marked(self, mac: bytes) -> list[bytes]:
        """The frames from or to that hardware address: what the test sent, without what the systems say by themselves."""
        return [each for each in self.frames if mac in (each[0:6], each[6:12])]


@contextmanager
def captured(namespace: Namespace, interface: str, *, longest: int = 2048) -> Iterator[Seen]:
    """Capture what the interface receives until the block ends and the wire has been quiet for a moment.

    tcpdump has 32 MiB of room in slots of the longest frame.
    """
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seen.pcap"
        words = ["tcpdump", "-Z", "root", "-n", "-i", interface, "-Q", "in", "-s", str(longest), "-U", "-B", "32768"]
        process = namespace.popen([*words, "--immediate-mode", "-w", str(path)], stderr=subprocess.PIPE, text=True)
        _until(process, "listening on")
        try:
            yield seen
            _until_quiet(path)
        finally:
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=10)
        assert "0 packets dropped by kernel" in told, told
        seen.frames.extend(frames_of(path.read_bytes()))


def _until(process: subprocess.Popen[Any], word: str) -> None:
    told = ""
    while word not in told:
        line = process.stderr.readline()
        assert line, f"tcpdump ended: {told}"
        told += line


def _until_quiet(path: Path) -> None:
    size, since = -1, time.monotonic()
    deadline = since + 10
    while time.monotonic() < min(since + _QUIET, deadline):
        now = path.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.02)


def frames_of(data: bytes) -> Iterator[bytes]:
    """The frames of a classic little-endian capture."""
    place = _HEAD
    while place + _RECORD.size <= len(data):
        _, _, caplen, _ = _RECORD.unpack_from(data, place)
        place += _RECORD.size
        yield data[place : place + caplen]
        place += caplen
