"""Live ports in namespaces, and frames to send through them: what the tests of several backends share.

Not here: the namespaces and wires (wires.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdev.backends import PacketPort, open_packet
from netdev.port import FrameBatch, LivePort
from tests.support.wires import Namespace
from xdp.natives import LOOPS

__all__ = ["at_least", "everything", "forwarding", "frame", "gather", "opened"]

_BLOCKS = 64
_FILL = bytes(at * 7 & 0xFF for at in range(1 << 14))


def frame(size: int = 60, tags: bytes = b"") -> bytes:
    """An Ethernet frame of that size with an experimental EtherType behind its tags."""
    return (bytes.fromhex("020000000001020000000002") + tags + b"\x88\xb5" + _FILL)[:size]


def opened(namespace: Namespace, name: str = "eth0", **options: Any) -> PacketPort:
    """A packet port in a namespace, over a small ring and compiled loops."""
    with namespace.entered():
        return open_packet(name, **{"loops": LOOPS, "blocks": _BLOCKS, **options})


def everything(batch: FrameBatch) -> NDArray[np.uint32]:
    """The selection of a whole batch."""
    return np.arange(len(batch), dtype=np.uint32)


def at_least(number: int) -> Callable[[list[bytes]], bool]:
    """That there are so many frames."""
    return lambda found: len(found) >= number


def gather(port: LivePort, done: Callable[[list[bytes]], bool], seconds: float = 10) -> list[bytes]:
    """Frames that arrive until they are enough, without the multicast ones that stacks send of their own accord."""
    found: list[bytes] = []
    end = time.monotonic() + seconds
    while not done(found) and time.monotonic() < end:
        port.wait(0.05)
        batch = port.receive(64)
        found += [one for at in range(len(batch)) if not (one := batch.frame(at)).startswith(b"\x33\x33")]
    return found


@contextmanager
def forwarding(*ways: tuple[LivePort, LivePort]) -> Iterator[None]:
    """Within the block, a thread a way passes on all that its first port receives to its second."""
    stop = threading.Event()

    def forward(source: LivePort, target: LivePort) -> None:
        while not stop.is_set():
            source.wait(0.05)
            while len(batch := source.receive(256)):
                rest = everything(batch)
                while len(rest) and not stop.is_set():
                    rest = rest[target.transmit(batch, rest) :]

    threads = [threading.Thread(target=forward, args=way) for way in ways]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()
