"""Attached programs as a table in memory that natives walk, and the ring that takes what they print.

Not here: who is attached (chain), what natives make of a table (decide), and calls (policy).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Final, final

from netdev.interpose import SocketCall
from runtime.engine import Environment
from runtime.native import memory
from xdp.sockets.chain import Attached
from xdp.sockets.decide import ENTRY_SIZE, LINEAGES, TABLE_SIZE, Entry, Printed, Scope, Table
from xdp.sockets.ways import family_of

__all__ = ["Made", "Tape"]

_COUNTERS: Final = (Entry.RUNS, Entry.DENIED, Entry.REDIRECTED)
_WORD: Final = (1 << 64) - 1
_MOST_KNOWN: Final = LINEAGES * 3 // 4
_TAPE: Final = 1 << 18


@final
class Tape:
    """The last 256 KiB that programs have printed."""

    def __init__(self) -> None:
        self._memory = (ctypes.c_ubyte * (Printed.TEXT + _TAPE))()
        self._words = (ctypes.c_uint64 * (Printed.TEXT // 8)).from_buffer(self._memory)
        self._words[Printed.SIZE // 8] = _TAPE
        self._read = 0
        self.address = ctypes.addressof(self._memory)
        memory.register(self.address, ctypes.sizeof(self._memory), self._memory)

    def read(self) -> bytes:
        """What was printed since the last time, whole lines; what was overwritten meanwhile is missing."""
        head = self._words[Printed.HEAD // 8]
        text = bytes(self._memory[Printed.TEXT :])
        first = max(self._read, self._words[Printed.HEAD // 8] - _TAPE)
        found = b"".join(text[at % _TAPE : min(at % _TAPE + head - at, _TAPE)] for at in _parts(first, head))
        if first != self._read:
            found = found.partition(b"\n")[2]
        self._read = head
        return found

    def close(self) -> None:
        """Withdraw it from natives under Python."""
        memory.unregister(self.address)


def _parts(first: int, head: int) -> Iterator[int]:
    """Where the bytes from `first` to `head` begin, before and after the end of the ring."""
    if first < head:
        yield first
        wrap = (first // _TAPE + 1) * _TAPE
        if wrap < head:
            yield wrap


@final
class Made:
    """A table in memory, and what its entries stand for. It never goes while the policy lives: a worker may be in it."""

    def __init__(
        self, attached: tuple[Attached, ...], template: Environment, *, observe: bool, cpus: int, tape: Tape | None
    ) -> None:
        rows = [(call, each) for call in SocketCall for each in attached if call in each.calls]
        self.rows = rows
        self._words = (ctypes.c_uint64 * ((TABLE_SIZE + ENTRY_SIZE * len(rows)) // 8))()
        self.address = ctypes.addressof(self._words)
        memory.register(self.address, ctypes.sizeof(self._words), self._words)
        places = {each.parameter.value: None for each in attached if each.parameter.scope is Scope.CGROUP}
        self._cgroups = {number: 1 << at for at, number in enumerate(places)}
        self._lineages = (ctypes.c_uint64 * (2 * LINEAGES if places else 1))()
        self._known = 0
        self._set(Table.TEMPLATE, template.address)
        self._set(Table.OBSERVE, int(observe))
        self._set(Table.CPUS, cpus)
        self._set(Table.PRINTED, tape.address if tape is not None else 0)
        memory.register(ctypes.addressof(self._lineages), ctypes.sizeof(self._lineages), self._lineages)
        if places:
            self._set(Table.LINEAGES, ctypes.addressof(self._lineages))
        for at, (call, each) in enumerate(rows):
            if not self._words[(Table.COUNT + 8 * call) // 8]:
                self._set(Table.FIRST + 8 * call, at)
            self._words[(Table.COUNT + 8 * call) // 8] += 1
            self._enter(Table.ENTRIES + ENTRY_SIZE * at, each)

    def _enter(self, entry: int, each: Attached) -> None:
        value = each.parameter.value
        self._set(entry + Entry.RULE, each.rule)
        self._set(entry + Entry.FAMILY, family_of(each.program.type))
        self._set(entry + Entry.SCOPE, each.parameter.scope)
        self._set(entry + Entry.VALUE, self._cgroups[value] if each.parameter.scope is Scope.CGROUP else value)

    def _set(self, at: int, word: int) -> None:
        self._words[at // 8] = word & _WORD

    def enter(self, at: int, entry: int) -> None:
        """Where the program of a row starts."""
        self._set(Table.ENTRIES + ENTRY_SIZE * at + Entry.ENTRY, entry)

    def learn(self, cgroup: int, lineage: tuple[int, ...]) -> bool:
        """Let natives know in which cgroups a cgroup lies; False when there is no room left. One thread at a time."""
        at = cgroup % LINEAGES
        while self._lineages[2 * at] not in (0, cgroup):
            at = (at + 1) % LINEAGES
        if self._lineages[2 * at] == 0:
            if self._known >= _MOST_KNOWN:
                return False
            self._known += 1
            self._lineages[2 * at + 1] = sum({self._cgroups.get(each, 0) for each in lineage})
            self._lineages[2 * at] = cgroup
        return True

    def entries(self, call: SocketCall) -> Iterator[tuple[int, Attached]]:
        """The addresses of the entries for a call, with what they stand for."""
        for at, (kind, each) in enumerate(self.rows):
            if kind is call:
                yield self.address + Table.ENTRIES + ENTRY_SIZE * at, each

    def counts(self) -> Iterator[tuple[int, int, int, int]]:
        """The id of what is attached, and its counters."""
        for at, (_, each) in enumerate(self.rows):
            words = [self._words[(Table.ENTRIES + ENTRY_SIZE * at + word) // 8] for word in _COUNTERS]
            yield each.id, words[0], words[1], words[2]

    def close(self) -> None:
        """Withdraw the table from natives under Python."""
        memory.unregister(self.address)
        memory.unregister(ctypes.addressof(self._lineages))
