"""Locks between threads and processes, and what becomes of them when their owner dies.

Not here: what they protect. A lock is a 64-bit word: 0 when free, else its owner, whose process id is in the high
half. Who waits looks now and then whether the owner's process still exists, and takes the lock over when it does not.
Readers take no locks. A process that was killed may leave elements that nobody refers to, and counts that are off by
one; what readers see is changed by single stores only and stays whole. `REPAIR_AT` in the header remembers that
somebody died, and the next writer rebuilds the rest with everybody else locked out.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import REPAIR_AT, STRIPE_SHIFT, STRIPES, STRIPES_AT
from runtime.native import cas64, load64, native, pause, process_alive, shr, store64, store_release64, unlikely
from runtime.spec import Env

__all__ = ["lock", "lock_all_stripes", "lock_stripe", "owner_of", "stripe", "unlock", "unlock_all_stripes"]

_OWNER: Final = int(Env.OWNER)
_UNKNOWN: Final = 1  # an owner that nobody can take for dead
_LOOK: Final = 1024  # waits between two looks at the owner


@native
def owner_of(env: int) -> int:
    """What a lock word says while the worker with that environment (or none: 0) holds it."""
    owner = 0
    if env != 0:
        owner = load64(env + _OWNER)
    if owner == 0:
        owner = _UNKNOWN
    return owner


@native
def _wait(word: int, owner: int) -> int:
    """Take a lock that somebody holds; 1 when that one was dead, else 0."""
    waits = 0
    while True:
        seen = cas64(word, 0, owner)
        if seen == 0:
            return 0
        waits += 1
        if waits & (_LOOK - 1) == 0:
            pid = shr(seen, 32)
            if pid != 0 and process_alive(pid) == 0 and cas64(word, seen, owner) == seen:
                return 1
        pause()


@native
def lock(word: int, env: int) -> int:
    """Take the lock; 1 when it was taken over from a process that died holding it, else 0."""
    owner = owner_of(env)
    if unlikely(cas64(word, 0, owner) != 0):
        return _wait(word, owner)
    return 0


@native
def unlock(word: int) -> int:
    """Let go of the lock."""
    return store_release64(word, 0)


@native
def stripe(arena: int, mix: int) -> int:
    """The address of the writers' lock for keys with that hash."""
    return arena + STRIPES_AT + ((shr(mix, 8) & (STRIPES - 1)) << STRIPE_SHIFT)


@native
def lock_stripe(arena: int, word: int, env: int) -> int:
    """Take a lock whose state is whole at any time; when the owner had died, remember that repair is due."""
    if unlikely(lock(word, env) != 0):
        store64(arena + REPAIR_AT, 1)
    return 0


@native
def lock_all_stripes(arena: int, env: int) -> int:
    """Lock out every writer; the caller holds no stripe."""
    i = 0
    while i < STRIPES:
        lock_stripe(arena, arena + STRIPES_AT + (i << STRIPE_SHIFT), env)
        i += 1
    return 0


@native
def unlock_all_stripes(arena: int) -> int:
    """Let the writers in again."""
    i = 0
    while i < STRIPES:
        unlock(arena + STRIPES_AT + (i << STRIPE_SHIFT))
        i += 1
    return 0
