"""Rings of events without programs: made, and filled by their natives as programs fill them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, final

from runtime.engine import Environment
from runtime.maps import Map, create
from runtime.native import NativeFunction, memory
from runtime.native.library import library
from runtime.spec import Env, MapSpec
from xdp.events import EVENT_MAP_KINDS
from xdp.events.helpers import event_output
from xdp.events.ring import ring_discard, ring_output, ring_query, ring_reserve, ring_submit

NATIVES: Final = (ring_reserve, ring_submit, ring_discard, ring_output, ring_query, event_output)
KINDS: Final = {each.name: each for each in EVENT_MAP_KINDS}
ROOM: Final = 4096
_SCRATCH: Final = 1 << 17


def ring_spec(room: int = ROOM) -> MapSpec:
    """A RINGBUF of so many bytes."""
    return MapSpec(name="events", kind=27, key_size=0, value_size=0, max_entries=room)


def perf_spec(slots: int = 2) -> MapSpec:
    """A PERF_EVENT_ARRAY of so many slots."""
    return MapSpec(name="events", kind=4, key_size=4, value_size=4, max_entries=slots)


@final
class Producer:
    """One worker: what a program's calls do to a ring, compiled or under Python."""

    def __init__(self, raw: Map, *, compiled: bool, cpu: int = 0) -> None:
        self.map = raw
        self.environment = Environment(cpu=cpu)
        self.environment[Env.OWNER] = os.getpid() << 32 | 1
        self._library = library(NATIVES) if compiled else None
        self._buffer = ctypes.create_string_buffer(_SCRATCH)
        memory.register(ctypes.addressof(self._buffer), _SCRATCH, self._buffer)

    def _call(self, native: NativeFunction, *words: int) -> int:
        run: Callable[..., int] = native if self._library is None else self._library[native]
        return run(self.environment.address, *words)

    def output(self, data: bytes, flags: int = 0) -> int:
        """bpf_ringbuf_output."""
        ctypes.memmove(self._buffer, data, len(data))
        return self._call(ring_output, self.map.address, ctypes.addressof(self._buffer), len(data), flags)

    def event(self, data: bytes, flags: int = 0xFFFF_FFFF) -> int:
        """bpf_perf_event_output, of a program whose context is no packet."""
        ctypes.memmove(self._buffer, data, len(data))
        return self._call(event_output, 0, self.map.address, flags, ctypes.addressof(self._buffer), len(data))

    def reserve(self, size: int) -> int:
        """bpf_ringbuf_reserve: an address, or 0."""
        return self._call(ring_reserve, self.map.address, size, 0)

    def fill(self, record: int, data: bytes) -> None:
        """Store into a record."""
        memory.write(record, data)

    def submit(self, record: int, flags: int = 0) -> None:
        """bpf_ringbuf_submit."""
        self._call(ring_submit, record, flags)

    def discard(self, record: int, flags: int = 0) -> None:
        """bpf_ringbuf_discard."""
        self._call(ring_discard, record, flags)

    def query(self, what: int) -> int:
        """bpf_ringbuf_query."""
        return self._call(ring_query, self.map.address, what)

    def close(self) -> None:
        """Let go of the memory."""
        memory.unregister(ctypes.addressof(self._buffer))
        self.environment.close()


@contextmanager
def produced(spec: MapSpec, *, compiled: bool = True, cpu: int = 0, cpus: int = 2) -> Iterator[tuple[Map, Producer]]:
    """A map and a worker that fills it."""
    kind = next(each for each in EVENT_MAP_KINDS if each.id == spec.kind)
    with create(spec, kind, cpus=cpus, compiled=compiled) as raw:
        producer = Producer(raw, compiled=compiled, cpu=cpu)
        try:
            yield raw, producer
        finally:
            producer.close()


def in_child(act: Callable[[], object]) -> int:
    """Run it in a process of its own that ends at once afterwards; returns the process's number when it is gone."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return child
