"""Why frames end, by line of source: what programs say of their verdicts' origins, added up over workers and replacements.

Not here: how an origin is found (runtime.engine.origins), and the loop that counts (xdp.natives.reasons).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from runtime.native import Library, library
from runtime.spec import ProgramSpec
from xdp.natives.reasons import ENTRY, PLACES, Tallying, tally_reasons
from xdp.verdict import Verdict

if TYPE_CHECKING:
    from runtime.loader import Program
    from xdp.hooks import BatchResult

__all__ = ["Reason", "ReasonBook", "ReasonTable"]

_ENDING: Final = frozenset({Verdict.XDP_ABORTED, Verdict.XDP_DROP})
_VERDICT: Final = 28
_PLACE: Final = (1 << _VERDICT) - 1
_PROGRAM: Final = 32


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A place in a program after which frames ended: its line, or, where there is no line info (0), its instruction `pc`.

    `pc` is -1 where that does not say it; `program` is empty for what could not be told apart.
    """

    program: str
    verdict: str
    file: str
    line: int
    text: str
    pc: int
    packets: int
    bytes: int


_Key = tuple[str, str, str, int, str, int]


@cache
def _library() -> Library:
    return library((tally_reasons,))


@final
class ReasonTable:
    """One worker's counts of one program's frames that end here."""

    def __init__(self, goes_on: Iterable[Verdict]) -> None:
        self._table: NDArray[np.uint64] = np.zeros(PLACES * ENTRY // 8, np.uint64)
        self._job = (ctypes.c_uint64 * len(Tallying))()
        self._address = ctypes.addressof(self._job)
        self._set(Tallying.TABLE, _address(self._table))
        self._let_on = frozenset(goes_on)
        self._tally = _library()[tally_reasons]

    def _set(self, word: Tallying, value: int) -> None:
        self._job[word // 8] = value

    def add(self, done: BatchResult, caplens: NDArray[np.uint32], *, last: bool) -> None:
        """Count a batch; `last`: no program follows, so every verdict that ends a frame does."""
        assert done.origins is not None
        wanted = _ENDING if last else _ENDING - self._let_on
        lengths = np.ascontiguousarray(caplens)
        self._set(Tallying.COUNT, len(done.returned))
        self._set(Tallying.RETURNS, _address(done.returned))
        self._set(Tallying.ORIGINS, _address(done.origins))
        self._set(Tallying.CAPLENS, _address(lengths))
        self._set(Tallying.WANTED, sum(1 << each for each in wanted))
        self._tally(self._address)

    def rows(self) -> NDArray[np.uint64]:
        """Key, packets and bytes of what was counted, a row each; whoever counts may go on."""
        rows = self._table.reshape(-1, ENTRY // 8).copy()
        found: NDArray[np.uint64] = rows[rows[:, 1] != 0]
        return found


@final
class ReasonBook:
    """All tables of one direction. Tables are opened and closed by workers; any thread may ask for the sums."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[ReasonTable, Callable[[int], ProgramSpec | None]]] = {}
        self._past: dict[_Key, list[int]] = {}

    def open(self, program: Program, goes_on: Iterable[Verdict]) -> ReasonTable:
        """A table for a program (and those that its tail calls reach)."""
        specs = {each.id: each.spec for each in program.owner.bare_programs.values()}
        table = ReasonTable(goes_on)
        with self._lock:
            self._open[id(table)] = (table, specs.get)
        return table

    def close(self, table: ReasonTable) -> None:
        """Keep what it counted, in words."""
        with self._lock:
            _, spec_of = self._open.pop(id(table))
            _add(self._past, table, spec_of)

    def total(self) -> tuple[Reason, ...]:
        """The sums, most packets first."""
        with self._lock:
            sums = {key: list(counts) for key, counts in self._past.items()}
            for table, spec_of in self._open.values():
                _add(sums, table, spec_of)
        rows = sorted(sums.items(), key=lambda row: (-row[1][0], row[0]))
        return tuple(
            Reason(
                program=program,
                verdict=verdict,
                file=file,
                line=line,
                text=text,
                pc=pc,
                packets=packets,
                bytes=size,
            )
            for (program, verdict, file, line, text, pc), (packets, size) in rows
        )


def _add(sums: dict[_Key, list[int]], table: ReasonTable, spec_of: Callable[[int], ProgramSpec | None]) -> None:
    """Instructions of one line are one row."""
    for key, packets, size in table.rows().tolist():
        row = sums.setdefault(_named(key, spec_of), [0, 0])
        row[0] += packets
        row[1] += size


def _named(key: int, spec_of: Callable[[int], ProgramSpec | None]) -> _Key:
    verdict = Verdict(key >> _VERDICT & 7).name
    spec, pc = spec_of(key >> _PROGRAM), (key & _PLACE) - 1
    if spec is None or pc < 0:
        return "", verdict, "", 0, "", -1
    line = spec.line_at(pc)
    if line is None:
        return spec.name, verdict, "", 0, "", pc
    return spec.name, verdict, line.file, line.line, line.text.strip(), -1


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
