"""A batch's frames by verdict: which rows, how many, how many bytes.

Not here: the loop (xdp.natives.sorting).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from runtime.native import Library, library
from xdp.natives.sorting import Sort, sort_by_verdict
from xdp.verdict import Verdict

__all__ = ["Sorted", "Sorter"]

_COUNT: Final = len(Verdict)


@cache
def _library() -> Library:
    return library((sort_by_verdict,))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Verdicts by row; frames and bytes by verdict. Valid until the sorter's next batch."""

    verdicts: NDArray[np.uint32]
    packets: NDArray[np.uint64]
    bytes: NDArray[np.uint64]
    by_row: NDArray[np.uint32] = field(repr=False)

    def rows(self, verdict: Verdict) -> NDArray[np.uint32]:
        """The rows with that verdict, in order."""
        return self.by_row[verdict, : int(self.packets[verdict])]


@final
class Sorter:
    """Owns the arrays; one for each use whose result must outlive the next one's."""

    def __init__(self) -> None:
        self._job = (ctypes.c_uint64 * len(Sort))()
        self._address = ctypes.addressof(self._job)
        self._verdicts = np.zeros(0, np.uint32)
        self._rows = np.zeros((_COUNT, 0), np.uint32)
        self._packets = np.zeros(_COUNT, np.uint64)
        self._bytes = np.zeros(_COUNT, np.uint64)
        self._set(Sort.PACKETS, _address(self._packets))
        self._set(Sort.BYTES, _address(self._bytes))
        self._sort = _library()[sort_by_verdict]

    def _set(self, word: Sort, value: int) -> None:
        self._job[word // 8] = value

    def sort(self, returned: NDArray[np.uint32], lengths: NDArray[np.uint32]) -> Sorted:
        """Sort what programs returned for frames of these lengths."""
        count = len(returned)
        if count > len(self._verdicts):
            self._verdicts = np.zeros(count, np.uint32)
            self._rows = np.zeros((_COUNT, count), np.uint32)
            self._set(Sort.VERDICTS, _address(self._verdicts))
            self._set(Sort.ROWS, _address(self._rows))
            self._set(Sort.STRIDE, count)
        given = np.ascontiguousarray(returned), np.ascontiguousarray(lengths)
        self._set(Sort.COUNT, count)
        self._set(Sort.RETURNS, _address(given[0]))
        self._set(Sort.CAPLENS, _address(given[1]))
        self._sort(self._address)
        return Sorted(verdicts=self._verdicts[:count], packets=self._packets, bytes=self._bytes, by_row=self._rows)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
