"""Links over ports in memory, and programs whose verdict a frame names.

Not here: interfaces (wires.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from netdev.backends import MemoryPort
from xdp.live.link import Lane, Link, Mode, Wire
from xdp.live.programs import Source, open_program
from xdp.live.station import Station, Targets

__all__ = ["BY_BYTE", "frame", "link_over", "until"]

BY_BYTE: Final = """
SEC("xdp") int NAME(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return XDP_ABORTED;
	return data[PLACE];
}
"""
"""The verdict is the byte at PLACE of the frame."""


def frame(*verdicts: int, size: int = 60) -> bytes:
    """A frame whose first bytes are these."""
    return bytes(verdicts).ljust(size, b"\xaa")


@contextmanager
def link_over(
    source: Source,
    near: MemoryPort,
    far: MemoryPort | None,
    *,
    others: dict[int, MemoryPort] | None = None,
    **options: Any,
) -> Iterator[Link]:
    """A link between two ports in memory (without `far` it observes), detached at the end."""
    prog = options.pop("prog", None)
    peer = options.pop("peer_program", None)
    stations = {port.ifindex: Station(port) for port in (near, far, *(others or {}).values()) if port is not None}
    lanes = [Lane(station=stations[near.ifindex], onward=None if far is None else stations[far.ifindex])]
    if far is not None:
        lanes.append(Lane(station=stations[far.ifindex], onward=stations[near.ifindex], inward=False))
    wire = Wire(
        mode=Mode.MONITOR if far is None else Mode.INLINE,
        interface=near.name,
        peer=None if far is None else far.name,
        lanes=tuple(lanes),
        targets=Targets(stations),
    )
    engine = options.get("engine")
    link = Link(
        wire,
        open_program(source, prog, engine=engine, cpus=4),
        cpus=4,
        peer_program=None if peer is None else open_program(peer, None, engine=engine, cpus=4),
        **options,
    )
    with link:
        link.start()
        yield link


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something to come true; fails when it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
