"""A worker's environment record in memory, with names for its words.

Not here: the layout (runtime.spec.environment) and what natives make of it.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final, final

from runtime.native import memory
from runtime.spec import ENVIRONMENT_SIZE, ClockMode, Env

__all__ = ["Environment"]

_PRINTK_SIZE: Final = 1 << 16
_GOLDEN: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


@final
class Environment:
    """One worker's record: CPU number, clock, random state, tail-call budget, printk ring.

    `address` is what natives receive. The same seed gives the same random numbers. Not thread-safe: a record
    belongs to one worker.
    """

    __slots__ = ("_printk", "_record", "address")

    def __init__(self, *, cpu: int = 0, seed: int = 0, clock: ClockMode = ClockMode.PACKET) -> None:
        self._record = (ctypes.c_uint64 * (ENVIRONMENT_SIZE // 8))()
        self._printk = ctypes.create_string_buffer(_PRINTK_SIZE)
        self.address: int = ctypes.addressof(self._record)
        memory.register(self.address, ENVIRONMENT_SIZE, self._record)
        memory.register(ctypes.addressof(self._printk), _PRINTK_SIZE, self._printk)
        self[Env.PRINTK] = ctypes.addressof(self._printk)
        self[Env.PRINTK_SIZE] = _PRINTK_SIZE
        self[Env.CPU] = cpu
        self[Env.CLOCK_MODE] = clock
        self[Env.OWNER] = os.getpid() << 32 | (self.address >> 4 & 0xFFFF_FFFF or 1)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the random sequence of that seed; any integer will do."""
        state = ((seed + 1) * _GOLDEN) & _WORD
        self[Env.RANDOM] = state or _GOLDEN

    def __getitem__(self, word: Env) -> int:
        return int(self._record[word // 8])

    def __setitem__(self, word: Env, value: int) -> None:
        self._record[word // 8] = value & _WORD

    def printed(self) -> bytes:
        """What trace_printk wrote so far: at most the last 64 KiB."""
        head = self[Env.PRINTK_HEAD]
        if head <= _PRINTK_SIZE:
            return self._printk.raw[:head]
        start = head % _PRINTK_SIZE
        return self._printk.raw[start:] + self._printk.raw[:start]

    def close(self) -> None:
        """Withdraw the record from the memory that natives may touch under Python."""
        memory.unregister(self.address)
        memory.unregister(ctypes.addressof(self._printk))
