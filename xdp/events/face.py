"""Events as Python sees them: taken out of a map's rings, typed where BTF says what they are.

Not here: rings (ring.py, perf.py).
"""

from __future__ import annotations

import ctypes
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EINVAL
from struct import Struct
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, final

from runtime.errors import InputError, MapError
from runtime.maps import HEADER_SIZE, decode
from runtime.native import memory
from runtime.spec import CType, NativeFunction
from xdp.events.packed import HEAD, RecordType
from xdp.events.perf import CPU_OF, LOST_EVER, RING, slot_at
from xdp.events.ring import ABANDONED, REFUSED

if TYPE_CHECKING:
    from runtime.maps import Map

__all__ = ["Event", "Events", "events_of"]

_WORD: Final = 8
_CHUNK: Final = 256 * 1024
_GROWTH: Final = 4  # a record of 8 bytes in the ring has a head of 32 in a chunk
_ERRNO_MAX: Final = 31  # a head alone has 32 bytes
_LOOK: Final = 0.1  # seconds between two looks at what nobody announced
_PADDING: Final = 8
_RINGBUF: Final = 27
_HEAD: Final = Struct("<IIQQII")  # as Packed says


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record. `position` is where it began, counted in bytes from the ring's first.

    Of perf event arrays also: `cpu` whose event it is, `index` of the slot, `time` in nanoseconds (the clock of the program:
    in replay that of the capture), up to 7 bytes of padding at the end of `data`, and `lost`: so many events found no room
    before this, and there is no data.
    """

    data: bytes
    position: int
    cpu: int = 0
    index: int = 0
    time: int = 0
    lost: int = 0


@final
class Events:
    """The unread events of a map: `map.face` of a RINGBUF or a PERF_EVENT_ARRAY.

    `for event in map` takes what is there now; `poll` waits for some; `follow` goes on; these give values: what BTF says of the
    bytes (a definition with `__type(value, struct event)`), or the bytes where there is no type or the size is another.
    `take` gives whole records (Event). `peek` and `len` leave everything where it is. Each event is given to one reader only:
    a second one, in whichever process, gets what the first has not taken. A loop that is left in the middle has taken
    ahead; the rest is what the next call on this object gives first. Any call raises MapError for a closed map.
    """

    def __init__(self, raw: Map, drain: NativeFunction, wait: NativeFunction, *, slots: int) -> None:
        self._map = raw
        self._drain = drain
        self._wait = wait
        self._all = range(slots)
        self._chunks = 1 + _GROWTH * max(raw.spec.max_entries if slots == 1 else 0, RING) // _CHUNK
        """How many chunks hold a whole ring: who writes as fast as we read does not keep us for ever."""
        self._ahead: deque[Event] = deque()
        self._reading = Lock()
        self._buffer = ctypes.create_string_buffer(_WORD + _CHUNK)
        types = raw.types
        self.type: CType | None = types.ctype(raw.spec.btf_value) if types and raw.spec.btf_value else None
        """What BTF says that events are, or None."""

    def __iter__(self) -> Iterator[Any]:
        """Values that are there now, and those that come meanwhile."""
        while found := self._kept() or self._read_some():
            yield from self._one_by_one(found)

    def poll(self, timeout: float | None = None) -> list[Any]:
        """All values that are there; else wait for some, `timeout` seconds at most (None: as long as it takes)."""
        return [self.value(event) for event in self.wait(timeout) if not event.lost]

    def follow(self, timeout: float | None = None) -> Iterator[Any]:
        """Values as they come, until none came for `timeout` seconds."""
        while found := self.wait(timeout):
            yield from self._one_by_one(found)

    def take(self, *, indices: Iterable[int] | None = None) -> list[Event]:
        """Records that are there, of all slots or of some."""
        chosen = self._all if indices is None else tuple(indices)
        kept = self._kept()
        self._ahead.extend(event for event in kept if event.index not in chosen)
        found = [event for event in kept if event.index in chosen]
        for index in chosen:
            for _ in range(self._chunks):
                found += (chunk := self._read(index, keep=False))
                if not chunk:
                    break
        return found

    def wait(self, timeout: float | None = None, *, indices: Iterable[int] | None = None) -> list[Event]:
        """Records, as `take` gives them, as soon as there are some; none after `timeout` seconds.

        A producer wakes the reader as in Linux; records that were submitted without a wake-up, and those behind one whose owner
        has died, are seen within a tenth of a second.
        """
        chosen = list(self._all if indices is None else indices)
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self.take(indices=chosen)
            left = _LOOK if until is None else min(_LOOK, until - time.monotonic())
            if found or left <= 0 or not chosen:
                return found
            self._map.call(self._wait, min(chosen), max(chosen) + 1, int(left * 1e9))

    def peek(self) -> list[Event]:
        """Records that are there, and stay."""
        return [*self._ahead, *(event for index in self._all for event in self._read_all(index))]

    def __len__(self) -> int:
        count = sum(not event.lost for event in self._ahead)
        for index in self._all:
            cursor = [0]
            while chunk := self._chunk(index, keep=True, cursor=cursor):
                count += sum(kind == RecordType.SAMPLE for kind, *_ in _heads(chunk))
        return count

    @property
    def lost(self) -> int:
        """How many events found no room, ever: reservations that a ring buffer refused, or what perf rings count as lost."""
        if self._map.spec.kind == _RINGBUF:
            return self._word(self._map.address + HEADER_SIZE + REFUSED)
        return sum(self._word(slot_at(self._map.address, index) + LOST_EVER) for index in self._all)

    @property
    def abandoned(self) -> int:
        """How many records of a ring buffer were discarded because the process that had reserved them died."""
        if self._map.spec.kind != _RINGBUF:
            return 0
        return self._word(self._map.address + HEADER_SIZE + ABANDONED)

    def assign(self, index: int, cpu: int | None) -> None:
        """Let a slot of a perf event array take the events of another CPU (None: again of that of its number).

        Raises MapError (EINVAL) for ring buffers and for slots that there are not.
        """
        if self._map.spec.kind == _RINGBUF or index not in self._all or (cpu is not None and cpu < 0):
            raise MapError(f"map {self._map.name!r}: slot {index} for CPU {cpu}", errno=EINVAL)
        offset = slot_at(self._map.address, index) + CPU_OF - self._map.address
        self._map.arena.set_word(offset, 0 if cpu is None else cpu + 1)

    def value(self, event: Event) -> Any:
        """What BTF says of an event's bytes; the bytes themselves where it says nothing that fits."""
        typed = self.typed(event)
        return event.data if self.type is None or typed is None else decode(self.type, typed)

    def typed(self, event: Event) -> bytes | None:
        """The bytes that BTF's type describes, without padding; None where there is no type or the size is another."""
        if self.type is None:
            return None
        spare = len(event.data) - self.type.size
        padded = self._map.spec.kind != _RINGBUF and 0 < spare < _PADDING
        return event.data[: self.type.size] if spare == 0 or padded else None

    def _kept(self) -> list[Event]:
        """What a loop that was left had taken ahead."""
        found: list[Event] = []
        with suppress(IndexError):
            while True:
                found.append(self._ahead.popleft())
        return found

    def _read_some(self) -> list[Event]:
        """A chunk of the first slot that has something."""
        return next((found for index in self._all if (found := self._read(index, keep=False))), [])

    def _one_by_one(self, found: Iterable[Event]) -> Iterator[Any]:
        """Their values; when the loop is left, the rest is kept."""
        rest = deque(found)
        try:
            while rest:
                event = rest.popleft()
                if not event.lost:
                    yield self.value(event)
        finally:
            self._ahead.extendleft(reversed(rest))

    def _word(self, address: int) -> int:
        return self._map.arena.word(address - self._map.address)

    def _read_all(self, index: int) -> Iterator[Event]:
        cursor = [0]
        while found := self._read(index, keep=True, cursor=cursor):
            yield from found

    def _read(self, index: int, *, keep: bool, cursor: list[int] | None = None) -> list[Event]:
        """The events of one chunk."""
        return list(_unpacked(self._chunk(index, keep=keep, cursor=cursor)))

    def _chunk(self, index: int, *, keep: bool, cursor: list[int] | None = None) -> bytes:
        """As many records of a slot as fit, packed; with `keep` from the cursor on, which moves."""
        with self._reading:
            size = self._fill(index, cursor, keep=keep)
            if size < -_ERRNO_MAX:
                self._buffer = ctypes.create_string_buffer(_WORD - size)
                size = self._fill(index, cursor, keep=keep)
            if size < 0:
                raise MapError(f"map {self._map.name!r}: its ring is damaged", errno=-size)
            return ctypes.string_at(ctypes.addressof(self._buffer) + _WORD, size)

    def _fill(self, index: int, cursor: list[int] | None, *, keep: bool) -> int:
        """Let the native pack records behind the first word of the buffer, which is the position."""
        room, at = len(self._buffer), ctypes.addressof(self._buffer)
        with memory.registered(at, room, self._buffer):
            if cursor is not None:
                memory.store(at, _WORD, cursor[0])
            size = self._map.call(self._drain, at + _WORD, room - _WORD, index, at, int(keep))
            if cursor is not None:
                cursor[0] = memory.load(at, _WORD)
        return size


def events_of(raw: Map) -> Events:
    """The events of a map; raises InputError for a map that holds none."""
    face = raw.face
    if not isinstance(face, Events):
        raise InputError(f"map {raw.name!r} is of type {raw.kind.name}, which holds no events")
    return face


def _heads(data: bytes) -> Iterator[tuple[int, ...]]:
    """Of each event in a chunk: type, size, position, time, CPU, index, and where its data begins."""
    at = 0
    while at < len(data):
        head = _HEAD.unpack_from(data, at)
        at += HEAD
        yield *head, at
        at += head[1] + 7 & ~7


def _unpacked(data: bytes) -> Iterator[Event]:
    """The events of a chunk."""
    for kind, size, position, stamp, cpu, index, at in _heads(data):
        lost = stamp if kind == RecordType.LOST else 0
        yield Event(
            data=data[at : at + size],
            position=position,
            cpu=cpu,
            index=index,
            time=0 if lost else stamp,
            lost=lost,
        )
