"""Rings of the running kernel, read through mmap: what ours are held against.

Not here: maps of the kernel (runtime.engine). Layouts are those of kernel/bpf/ringbuf.c and of perf_event_open(2).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import struct
from typing import TYPE_CHECKING, Final, final

from runtime.errors import DeviceError
from xdp.events.face import Event
from xdp.events.packed import RecordType
from xdp.events.perf import RING
from xdp.events.ring import BUSY, DISCARDED, RECORD_HEAD, SIZE_MASK

if TYPE_CHECKING:
    from runtime.engine.bpf import KernelMap

__all__ = ["KernelPerf", "KernelRing"]

_PERF_EVENT_OPEN: Final = {"aarch64": 241}.get(platform.machine(), 298)
_SOFTWARE: Final = 1
_BPF_OUTPUT: Final = 10
_RAW_AND_TIME: Final = 1 << 10 | 1 << 2
_ATTRIBUTES: Final = 112
_CLOSE_ON_EXEC: Final = 8
_ENABLE: Final = 0x2400
_DATA_HEAD: Final = 1024
_SAMPLE: Final = 20


def _word(view: mmap.mmap, offset: int, size: int = 8) -> int:
    return int.from_bytes(view[offset : offset + size], "little")


@final
class KernelRing:
    """A RINGBUF of the kernel, with its one consumer."""

    def __init__(self, made: KernelMap, room: int) -> None:
        page = mmap.PAGESIZE
        self._room = room
        self._consumer = mmap.mmap(made.fd, page)
        self._ring = mmap.mmap(made.fd, page + 2 * room, prot=mmap.PROT_READ, offset=page)

    def headers(self) -> list[bytes]:
        """The raw heads of all unread records, discarded ones and those that are not committed, too."""
        return [self._ring[at : at + RECORD_HEAD] for _, at in self._places()]

    def records(self, *, take: bool = False) -> list[Event]:
        """The records up to the first that is not committed; `take` frees them."""
        found, position = [], _word(self._consumer, 0)
        for start, at in self._places():
            word = _word(self._ring, at, 4)
            if word & BUSY:
                break
            size = word & SIZE_MASK
            data = self._ring[at + RECORD_HEAD : at + RECORD_HEAD + size]
            if not word & DISCARDED:
                found.append(Event(data=data, position=start))
            position = start + (size + RECORD_HEAD + 7 & ~7)
        if take:
            self._consumer[0:8] = position.to_bytes(8, "little")
        return found

    def _places(self) -> list[tuple[int, int]]:
        """Position and place in the mapping of each unread record."""
        found, position, end = [], _word(self._consumer, 0), _word(self._ring, 0)
        while position < end:
            at = mmap.PAGESIZE + (position & self._room - 1)
            found.append((position, at))
            position += (_word(self._ring, at, 4) & SIZE_MASK) + RECORD_HEAD + 7 & ~7
        return found

    def close(self) -> None:
        """Unmap."""
        self._consumer.close()
        self._ring.close()


@final
class KernelPerf:
    """A PERF_EVENT_ARRAY of the kernel, with an event and a ring of our size for each CPU, as libbpf sets them up."""

    def __init__(self, made: KernelMap, cpus: int) -> None:
        """Raises DeviceError where the kernel gives no perf events."""
        self._rings: list[tuple[int, mmap.mmap]] = []
        try:
            for cpu in range(cpus):
                descriptor = _open(cpu)
                self._rings.append((descriptor, mmap.mmap(descriptor, mmap.PAGESIZE + RING)))
                fcntl.ioctl(descriptor, _ENABLE, 0)
                made.update(struct.pack("<I", cpu), struct.pack("<I", descriptor))
        except OSError as error:
            self.close()
            raise DeviceError(f"perf_event_open: {error.strerror}") from error

    def records(self, *, take: bool = False) -> list[Event]:
        """The unread records, CPU by CPU; `take` frees them."""
        return [event for cpu in range(len(self._rings)) for event in self._of(cpu, take=take)]

    def _of(self, cpu: int, *, take: bool) -> list[Event]:
        ring = self._rings[cpu][1]
        head, tail = _word(ring, _DATA_HEAD), _word(ring, _DATA_HEAD + 8)
        found = []
        while tail < head:
            kind, _, length = struct.unpack("<IHH", self._bytes(ring, tail, 8))
            data = self._bytes(ring, tail, length)
            if kind == RecordType.SAMPLE:
                stamp, size = struct.unpack_from("<QI", data, 8)
                found.append(Event(data=data[_SAMPLE : _SAMPLE + size], position=tail, cpu=cpu, index=cpu, time=stamp))
            elif kind == RecordType.LOST:
                (lost,) = struct.unpack_from("<Q", data, 16)
                found.append(Event(data=b"", position=tail, cpu=cpu, index=cpu, lost=lost))
            tail += length
        if take:
            ring[_DATA_HEAD + 8 : _DATA_HEAD + 16] = tail.to_bytes(8, "little")
        return found

    @staticmethod
    def _bytes(ring: mmap.mmap, position: int, size: int) -> bytes:
        start = position & RING - 1
        first = min(size, RING - start)
        base = mmap.PAGESIZE
        return ring[base + start : base + start + first] + ring[base : base + size - first]

    def close(self) -> None:
        """Unmap and close."""
        for descriptor, ring in self._rings:
            ring.close()
            os.close(descriptor)
        self._rings.clear()


def _open(cpu: int) -> int:
    """A perf event for the output of programs on one CPU, of every process."""
    attributes = struct.pack("<IIQQQQQI", _SOFTWARE, _ATTRIBUTES, _BPF_OUTPUT, 1, _RAW_AND_TIME, 0, 0, 1)
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTES, b"\0"), _ATTRIBUTES)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(_PERF_EVENT_OPEN, buffer, -1, cpu, -1, _CLOSE_ON_EXEC))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return descriptor
