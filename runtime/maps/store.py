"""Where the hash kinds keep their elements: the parts that follow the header, and the steps that all updates share.

Not here: what an update means (hash.py, percpu_hash.py, lru.py).

    header | table | ring of the pool | marks | elements | what the kind adds

An element is `lead` bytes that belong to the kind, the key, and on the next multiple of 8 what the kind makes of the
value. Marks are one byte an element; only repair writes them, so they cost address space and no memory.
"""

from __future__ import annotations

from errno import E2BIG, EINVAL, ENOENT
from typing import Final

from runtime.maps.arena import (
    HEADER_SIZE,
    MAX_CPUS,
    POOL_AT,
    REPAIR_AT,
    REPAIRS_AT,
    SEED_AT,
    STRIPE_SHIFT,
    STRIPES,
    STRIPES_AT,
)
from runtime.maps.keys import hash_key, round8
from runtime.maps.locks import lock_all_stripes, lock_stripe, stripe, unlock, unlock_all_stripes
from runtime.maps.pool import DELAY, pool_give, pool_rebuild, pool_reset, pool_take
from runtime.maps.table import find, find_slot, mend_slots, next_slot, remove_slot, table_size
from runtime.native import load32, load64, memcpy, memzero, native, process_alive, shr, store8, store64, unlikely

__all__ = [
    "after_elements",
    "check_shape",
    "drop",
    "elements_at",
    "end_repair",
    "give",
    "locate",
    "locate_slot",
    "mix_of",
    "next_key",
    "rebuild_pool",
    "reclaim",
    "repair",
    "rows",
    "table_at",
    "take",
    "value_at",
]

_KEY_VALUE_MAX: Final = (4 << 20) - 48  # what Linux can allocate in one piece, less its own header
_ENTRIES_MAX: Final = 1 << 28


@native
def check_shape(key_size: int, value_size: int, max_entries: int) -> int:
    """-EINVAL or -E2BIG for sizes that no hash has."""
    if max_entries == 0 or key_size == 0 or value_size == 0:
        return -EINVAL
    if key_size + value_size >= _KEY_VALUE_MAX or max_entries > _ENTRIES_MAX:
        return -E2BIG
    return 0


@native
def _capacity(max_entries: int) -> int:
    """How many elements there are; an LRU map may round max_entries up to a multiple of the CPUs."""
    return max_entries + MAX_CPUS + DELAY


@native
def table_at(arena: int) -> int:
    """The address of the table."""
    return arena + HEADER_SIZE


@native
def _ring_at(arena: int, max_entries: int) -> int:
    return table_at(arena) + table_size(max_entries)


@native
def _marks_at(arena: int, max_entries: int) -> int:
    return _ring_at(arena, max_entries) + ((_capacity(max_entries) * 4 + 63) & -64)


@native
def elements_at(arena: int, max_entries: int) -> int:
    """The address of element 0, which is never used."""
    return _marks_at(arena, max_entries) + ((_capacity(max_entries) + 64) & -64)


@native
def after_elements(arena: int, max_entries: int, size: int) -> int:
    """The first address behind the elements, on a cache line."""
    return (elements_at(arena, max_entries) + (_capacity(max_entries) + 1) * size + 63) & -64


@native
def rows(max_entries: int) -> int:
    """One more than the highest element number: how many rows a table indexed by element numbers needs."""
    return _capacity(max_entries) + 1


@native
def value_at(lead: int, key_size: int) -> int:
    """The offset of the value in an element."""
    return round8(lead + key_size)


@native
def mix_of(arena: int, key: int, key_size: int) -> int:
    """The hash of a key in this map."""
    return hash_key(key, key_size, load64(arena + SEED_AT))


@native
def locate(arena: int, max_entries: int, size: int, lead: int, key: int, key_size: int) -> int:
    """The number of the key's element, or 0; `size` is that of an element."""
    mix = mix_of(arena, key, key_size)
    return find(table_at(arena), max_entries, elements_at(arena, max_entries), size, lead, key, key_size, mix)


@native
def locate_slot(arena: int, max_entries: int, size: int, lead: int, key: int, key_size: int, mix: int) -> int:
    """The slot of the key's element, or 0; the caller holds the stripe."""
    return find_slot(table_at(arena), max_entries, elements_at(arena, max_entries), size, lead, key, key_size, mix)


@native
def take(arena: int, max_entries: int, limit: int, counts: int, env: int) -> int:
    """A free element, or 0; see pool_take."""
    ring = _ring_at(arena, max_entries)
    return pool_take(arena, arena + POOL_AT, ring, _capacity(max_entries), limit, counts, env)


@native
def give(arena: int, max_entries: int, number: int, counts: int, env: int) -> int:
    """Free an element; see pool_give."""
    ring = _ring_at(arena, max_entries)
    return pool_give(arena, arena + POOL_AT, ring, _capacity(max_entries), number, counts, env)


@native
def drop(arena: int, max_entries: int, size: int, lead: int, key: int, key_size: int, gives: int, env: int) -> int:
    """Withdraw the key's element from the table and return its number, or -ENOENT; `gives` (1 or 0) frees it too."""
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    lock_stripe(arena, word, env)
    slot = locate_slot(arena, max_entries, size, lead, key, key_size, mix)
    number = -ENOENT
    if slot != 0:
        number = load32(slot)
        remove_slot(table_at(arena), max_entries, slot, mix)
        if gives:
            give(arena, max_entries, number, 1, env)
    unlock(word)
    if gives and unlikely(load64(arena + REPAIR_AT) != 0):
        repair(arena, max_entries, env)
    return number


@native
def next_key(arena: int, max_entries: int, size: int, lead: int, key: int, key_size: int, out: int) -> int:
    """Store the key after the one at `key` (0, or a key that is gone: the first); -ENOENT after the last."""
    slot = 0
    if key != 0:
        slot = locate_slot(arena, max_entries, size, lead, key, key_size, mix_of(arena, key, key_size))
    slot = next_slot(table_at(arena), max_entries, slot)
    while slot != 0:
        number = load32(slot)
        if number != 0:
            memcpy(out, elements_at(arena, max_entries) + number * size + lead, key_size)
            return 0
        slot = next_slot(table_at(arena), max_entries, slot)
    return -ENOENT


@native
def repair(arena: int, max_entries: int, env: int) -> int:
    """After a process died inside an update: find out which elements are in use, and queue the others."""
    lock_all_stripes(arena, env)
    if load64(arena + REPAIR_AT) != 0:
        rebuild_pool(arena, max_entries, env)
        end_repair(arena)
    unlock_all_stripes(arena)
    return 0


@native
def reclaim(arena: int, max_entries: int, env: int) -> int:
    """Repair the map if somebody died holding a stripe; 1 when that was so. For those who find the map full."""
    i = 0
    while i < STRIPES:
        pid = shr(load64(arena + STRIPES_AT + (i << STRIPE_SHIFT)), 32)
        if pid != 0 and process_alive(pid) == 0:
            store64(arena + REPAIR_AT, 1)
            repair(arena, max_entries, env)
            return 1
        i += 1
    return 0


@native
def end_repair(arena: int) -> int:
    """Note that the map is whole again, and that one more repair has been made."""
    store64(arena + REPAIRS_AT, load64(arena + REPAIRS_AT) + 1)
    return store64(arena + REPAIR_AT, 0)


@native
def rebuild_pool(arena: int, max_entries: int, env: int) -> int:
    """The pool as the table has it; all stripes are held. Marks are 1 for the elements in use afterwards."""
    mend_slots(table_at(arena), max_entries)
    pool = arena + POOL_AT
    marks = _marks_at(arena, max_entries)
    handed_out = pool_reset(pool, env)
    memzero(marks, handed_out + 1)
    slot = next_slot(table_at(arena), max_entries, 0)
    while slot != 0:
        store8(marks + load32(slot), 1)
        slot = next_slot(table_at(arena), max_entries, slot)
    pool_rebuild(pool, _ring_at(arena, max_entries), marks, handed_out)
    return marks
