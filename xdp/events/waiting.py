"""Waiting for events between threads and processes: a futex in the map's own memory.

Not here: what is waited for. A map's body begins with two 32-bit words: SEQUENCE, which grows with every wake-up, and
WAITERS. Who has something to tell makes it visible, then looks for waiters; who waits counts itself, then looks whether
there is something. A waiter that is killed stays counted, which costs wake-ups that wake nobody.
"""

from __future__ import annotations

import platform
from typing import Final

from runtime.native import atomic_add32, fence, load32, load_acquire32, native, stack_alloc, store64, syscall

__all__ = ["announce", "doze", "wake"]

_FUTEX: Final = {"aarch64": 98}.get(platform.machine(), 202)
_WAIT: Final = 0
_WAKE: Final = 1
_EVERYBODY: Final = 0x7FFF_FFFF
_SECOND: Final = 1_000_000_000

_SEQUENCE: Final = 0
_WAITERS: Final = 4


@native
def wake(body: int) -> int:
    """Wake whoever waits; what there is to see was stored before."""
    fence()
    if load32(body + _WAITERS) != 0:
        atomic_add32(body + _SEQUENCE, 1)
        syscall(_FUTEX, body + _SEQUENCE, _WAKE, _EVERYBODY, 0, 0, 0)
    return 0


@native
def announce(body: int) -> int:
    """Count as a waiter; returns the sequence number to doze with. What is waited for is looked at after this."""
    atomic_add32(body + _WAITERS, 1)
    fence()
    return load_acquire32(body + _SEQUENCE)


@native
def doze(body: int, sequence: int, nanoseconds: int) -> int:
    """Sleep until a wake-up after `announce`, that time, or a signal; then count as a waiter no more."""
    if nanoseconds > 0:
        until = stack_alloc(16)
        store64(until, nanoseconds // _SECOND)
        store64(until + 8, nanoseconds % _SECOND)
        syscall(_FUTEX, body + _SEQUENCE, _WAIT, sequence, until, 0, 0)
    atomic_add32(body + _WAITERS, -1)
    return 0
