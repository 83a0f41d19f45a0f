"""A native that works maps hard, for tests with several threads and processes."""

from __future__ import annotations

from typing import Final

from runtime.maps.hash import hash_delete, hash_lookup, hash_update
from runtime.maps.lpm import lpm_delete, lpm_lookup, lpm_update
from runtime.maps.lru import lru_delete, lru_lookup, lru_update
from runtime.maps.lru_percpu import lru_percpu_delete, lru_percpu_lookup, lru_percpu_update
from runtime.maps.percpu_hash import percpu_hash_delete, percpu_hash_lookup, percpu_hash_update
from runtime.native import bswap32, load64, native, shr, stack_alloc, store32, store64, urem

__all__ = ["ENTRIES", "KEYS", "KEY_SIZE", "VALUE_SIZE", "WHICH", "churn"]

WHICH: Final = ("hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "lpm_trie")
"""The kinds that `churn` knows, in its numbering."""

KEY_SIZE: Final = 8
VALUE_SIZE: Final = 16
ENTRIES: Final = 600
KEYS: Final = 900  # more than fit, so that hashes fill up and LRU maps evict
_TRIE: Final = 4


@native
def _key(key: int, number: int, which: int) -> int:
    """Key number `number`: 8 bytes, for a trie a prefix of 24 to 31 bits below 10.0.0.0/8."""
    if which == _TRIE:
        store32(key, 24 + (number & 7))
        return store32(key + 4, bswap32((10 << 24) + (number << 5)))
    return store64(key, number * 0x1_0001)


@native
def _random(state: int) -> int:
    state = state ^ (state << 13)
    state = state ^ shr(state, 7)
    return state ^ (state << 17)


@native
def _lookup(arena: int, env: int, key: int, which: int) -> int:
    if which == 0:
        return hash_lookup(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 1:
        return percpu_hash_lookup(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 2:
        return lru_lookup(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 3:
        return lru_percpu_lookup(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    return lpm_lookup(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 1, env, key)


@native
def _update(arena: int, env: int, key: int, value: int, which: int) -> int:
    if which == 0:
        return hash_update(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key, value, 0)
    if which == 1:
        return percpu_hash_update(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key, value, 0)
    if which == 2:
        return lru_update(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key, value, 0)
    if which == 3:
        return lru_percpu_update(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key, value, 0)
    return lpm_update(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 1, env, key, value, 0)


@native
def _delete(arena: int, env: int, key: int, which: int) -> int:
    if which == 0:
        return hash_delete(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 1:
        return percpu_hash_delete(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 2:
        return lru_delete(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    if which == 3:
        return lru_percpu_delete(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 0, env, key)
    return lpm_delete(arena, KEY_SIZE, VALUE_SIZE, ENTRIES, 1, env, key)


@native
def _is_broken(value: int) -> int:
    """1 when the two words of a value do not belong together; zeroes are what other CPUs made."""
    if value == 0 or load64(value) == ~load64(value + 8) or load64(value) | load64(value + 8) == 0:
        return 0
    return 1


@native
def _judge_lookup(arena: int, env: int, key: int, which: int) -> int:
    """1 for a value that is broken, and still is when it is looked up again: no element that was just used again."""
    value = _lookup(arena, env, key, which)
    if _is_broken(value) and _lookup(arena, env, key, which) == value:
        return _is_broken(value)
    return 0


@native
def churn(arena: int, env: int, seed: int, rounds: int, which: int) -> int:
    """Look up, update and delete random keys; returns how often something was wrong.

    The errors that must occur are left out: ENOENT of deletes, E2BIG (7) and ENOSPC (28) of updates.
    """
    spot = stack_alloc(32)
    wrong = 0
    while rounds > 0:
        rounds -= 1
        seed = _random(seed)
        _key(spot, urem(shr(seed, 20), KEYS), which)
        store64(spot + 8, seed)
        store64(spot + 16, ~seed)
        step = seed & 7
        result = 0
        if step < 4:
            wrong += _judge_lookup(arena, env, spot, which)
        elif step < 7:
            result = _update(arena, env, spot, spot + 8, which)
            if result != 0 and result != -7 and result != -28:  # noqa: PLR1714 - natives have no tuples
                wrong += 1
        else:
            result = _delete(arena, env, spot, which)
            if result != 0 and result != -2:  # noqa: PLR1714
                wrong += 1
    return wrong
