"""Natives for tests of the JIT: a driver, map operations, a helper.

Not here: the real ones. They live apart from the tests so that another process can load what one compiled.
"""

from __future__ import annotations

from runtime.native import (
    call_program,
    load32,
    load64,
    memeq,
    native,
    stack_alloc,
    store64,
)


@native
def words_driver(batch: int, env: int) -> int:
    """For each of `count` (word 0) elements of 16 bytes at word 1: run on their two words, r0 into the second."""
    count = load64(batch)
    at = load64(batch + 8)
    context = stack_alloc(24)
    for i in range(count):
        store64(context, load64(at + 16 * i))
        store64(context + 8, load64(at + 16 * i) + 16)
        store64(context + 16, load64(at + 16 * i + 8))
        store64(at + 16 * i + 8, call_program(context, env))
    return count


@native
def table_lookup(map_: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The value whose index is the key, in values side by side; an 8-byte key also needs its upper half to be `flags`."""
    index = load32(key)
    if index >= max_entries:
        return 0
    if key_size == 8 and load32(key + 4) != flags:
        return 0
    return map_ + index * value_size


@native
def table_same(
    map_: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int, value: int
) -> int:
    """Whether the value under the key equals those bytes."""
    return memeq(table_lookup(map_, key_size, value_size, max_entries, flags, env, key), value, value_size)


@native
def context_word(env: int, context: int, at: int) -> int:
    """A word of the record."""
    return load64(context + 8 * at)


@native
def nothing(map_: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """An initialiser that leaves zeroed memory alone."""
    return 0


@native
def packet_driver(batch: int, env: int) -> int:
    """Run once on the bytes from word 0 up to word 1; r0 into word 2."""
    context = stack_alloc(24)
    store64(context, load64(batch))
    store64(context + 8, load64(batch + 8))
    store64(context + 16, 0)
    store64(batch + 16, call_program(context, env))
    return 1
