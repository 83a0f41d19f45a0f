"""Helpers that ask for the time, for chance, or for where they run.

Not here: where the answers come from; the environment of the worker is set up by whoever runs programs. In packet mode
all clocks show the time of the packet, in wall mode the machine's.
"""

from __future__ import annotations

import time
from typing import Final

from runtime.native import clock_ns, load64, monotonic_ns, native, shr, store64
from runtime.spec import ClockMode, Env

__all__ = [
    "get_numa_node_id",
    "get_prandom_u32",
    "get_smp_processor_id",
    "ktime_get_boot_ns",
    "ktime_get_coarse_ns",
    "ktime_get_ns",
    "ktime_get_tai_ns",
]

CPU_MASK: Final = 1023
"""CPU numbers that programs see are within this."""

_CPU: Final = int(Env.CPU)
_CLOCK: Final = int(Env.CLOCK)
_MODE: Final = int(Env.CLOCK_MODE)
_RANDOM: Final = int(Env.RANDOM)
_PACKET: Final = int(ClockMode.PACKET)

_COARSE: Final = 6  # CLOCK_MONOTONIC_COARSE
_BOOT: Final = time.CLOCK_BOOTTIME
_TAI: Final = time.CLOCK_TAI
_STAR: Final = 0x2545_F491_4F6C_DD1D


@native
def ktime_get_ns(env: int) -> int:
    """Nanoseconds of the packet's time, or of CLOCK_MONOTONIC."""
    if load64(env + _MODE) == _PACKET:
        return load64(env + _CLOCK)
    return monotonic_ns()


@native
def _clock(env: int, clock: int) -> int:
    if load64(env + _MODE) == _PACKET:
        return load64(env + _CLOCK)
    return clock_ns(clock)


@native
def ktime_get_boot_ns(env: int) -> int:
    """Nanoseconds of the packet's time, or of CLOCK_BOOTTIME."""
    return _clock(env, _BOOT)


@native
def ktime_get_coarse_ns(env: int) -> int:
    """Nanoseconds of the packet's time, or of CLOCK_MONOTONIC_COARSE."""
    return _clock(env, _COARSE)


@native
def ktime_get_tai_ns(env: int) -> int:
    """Nanoseconds of the packet's time, or of CLOCK_TAI."""
    return _clock(env, _TAI)


@native
def get_prandom_u32(env: int) -> int:
    """32 random bits: the high half of xorshift64* (Vigna 2016) over the environment's state, which is not 0."""
    state = load64(env + _RANDOM)
    state = state ^ shr(state, 12)
    state = state ^ (state << 25)
    state = state ^ shr(state, 27)
    store64(env + _RANDOM, state)
    return shr(state * _STAR, 32)


@native
def get_smp_processor_id(env: int) -> int:
    """The CPU number of the worker."""
    return load64(env + _CPU) & CPU_MASK


@native
def get_numa_node_id(env: int) -> int:
    """There is one node: 0."""
    return 0
