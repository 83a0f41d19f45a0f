"""The memory port and the capture port, as ports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netdev.backends import CapturePort, MemoryPort
from netdev.capture import PcapngWriter, PcapWriter, open_capture
from netdev.errors import InterfaceError
from netdev.port import Port
from tests.support.captures import enhanced, interface, option, pcap, record, section

FRAMES = [b"first", b"second", b"", b"fourth"]


def _all(port: Port, budget: int) -> list[bytes]:
    frames = []
    while len(batch := port.receive(budget)):
        assert len(batch) <= budget
        frames += [batch.frame(at) for at in range(len(batch))]
    return frames


@pytest.mark.parametrize("budget", [1, 3, 100])
def test_a_memory_port_gives_what_was_queued(budget: int) -> None:
    """Frames come in order, within the budget, with their times; then none."""
    port = MemoryPort(FRAMES)
    port.queue(b"late", timestamp=7)
    assert _all(port, budget) == [*FRAMES, b"late"]
    port.queue(b"later", timestamp=9)
    assert port.receive(budget).timestamps.tolist() == [9]
    assert len(port.receive(budget)) == 0


def test_a_memory_port_keeps_what_was_sent() -> None:
    """Selected frames are copied, in the order of the selection."""
    port = MemoryPort(FRAMES)
    batch = port.receive(10)
    assert port.transmit(batch, np.array([3, 0], np.uint32)) == 2
    port.close()
    port.close()
    assert port.sent == [b"fourth", b"first"]
    with pytest.raises(InterfaceError, match="closed"):
        port.receive(1)
    with pytest.raises(InterfaceError, match="closed"):
        port.transmit(batch, np.array([0], np.uint32))


@pytest.mark.parametrize("budget", [1, 3, 100])
def test_a_capture_port_gives_what_the_file_holds(tmp_path: Path, budget: int) -> None:
    """Frames come in order; without an output nothing can be sent."""
    (tmp_path / "in.pcap").write_bytes(pcap(*map(record, FRAMES)))
    port = CapturePort(open_capture(tmp_path / "in.pcap"))
    batch = port.receive(1)
    assert port.transmit(batch, np.array([0], np.uint32)) == 0
    assert _all(port, budget) == FRAMES[1:]
    port.close()
    port.close()
    with pytest.raises(InterfaceError, match="closed"):
        port.receive(1)


def test_a_capture_port_writes_what_is_sent(tmp_path: Path) -> None:
    """Into pcapng with the interfaces of the input, into pcap without them; `close` finishes the file."""
    blocks = [interface("<", option(2, b"a")), interface("<", option(2, b"b"))]
    frames = [enhanced(frame, number=at % 2, time=at) for at, frame in enumerate(FRAMES)]
    (tmp_path / "in.pcapng").write_bytes(b"".join((section(), *blocks, *frames)))
    for output in (PcapngWriter(tmp_path / "out.pcapng"), PcapWriter(tmp_path / "out.pcap")):
        port = CapturePort(open_capture(tmp_path / "in.pcapng"), output)
        assert port.transmit(port.receive(10), np.array([1, 0], np.uint32)) == 2
        port.close()
    with open_capture(tmp_path / "out.pcapng") as capture:
        batch = capture.batch(0, 10)
        assert [batch.frame(at) for at in range(2)] == [b"second", b"first"]
        assert [capture.interfaces[number].name for number in batch.interfaces] == ["b", "a"]
        assert batch.timestamps.tolist() == [1000, 0]
    with open_capture(tmp_path / "out.pcap") as capture:
        assert capture.batch(0, 10).timestamps.tolist() == [1000, 0]
