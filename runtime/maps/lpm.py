"""LPM_TRIE: the longest stored prefix that covers a key.

Not here: the trie (trie.py, trie_change.py, trie_walk.py).

A key is the length of its prefix in bits (32 bits, the machine's order) and the data, most significant bit first.
Updating a prefix puts a new element in the place of the old one, as in Linux. Writers take turns; readers take
no lock. As in Linux a full map gives ENOSPC, keys come back as they were given, bits behind the prefix
included, and iteration visits longer prefixes before those that cover them.
"""

from __future__ import annotations

from errno import EINVAL, ENOENT, ENOSPC
from typing import Final

from runtime.maps.arena import REPAIR_AT, STRIPES_AT
from runtime.maps.keys import round8
from runtime.maps.limits import ACCESS, check_access, check_exists, check_update
from runtime.maps.locks import lock_stripe, unlock
from runtime.maps.trie import DATA, element_at, element_size, find_exact, match, trie_size
from runtime.maps.trie_change import give_element, insert, remove, repair_trie, take_element
from runtime.maps.trie_walk import next_prefix
from runtime.native import load32, load64, memcpy, native, unlikely
from runtime.spec import MapFlag, MapKind, MapOp

__all__ = ["LPM_TRIE"]

_NO_PREALLOC: Final = int(MapFlag.NO_PREALLOC)
_ALLOWED: Final = ACCESS | int(MapFlag.NO_PREALLOC | MapFlag.NUMA_NODE)
_KEY_MIN: Final = 4 + 1
_KEY_MAX: Final = 4 + 256
_VALUE_MAX: Final = (4 << 20) - 256 - 40


@native
def lpm_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    """Bytes after the header, or a negative errno."""
    if check_access(flags, _ALLOWED) != 0 or flags & _NO_PREALLOC == 0:
        return -EINVAL
    if key_size < _KEY_MIN or key_size > _KEY_MAX or value_size < 1 or value_size > _VALUE_MAX or max_entries == 0:
        return -EINVAL
    return trie_size(key_size, value_size, max_entries)


@native
def lpm_init(arena: int, key_size: int, value_size: int, max_entries: int, flags: int) -> int:
    """Nothing to do: zeroed memory is a root without prefixes."""
    return 0


@native
def lpm_lookup(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """The address of the value of the longest match, or 0."""
    size = element_size(key_size, value_size)
    number = match(arena, key_size, size, max_entries, key)
    if number == 0:
        return 0
    return element_at(arena, max_entries, size, number) + round8(key_size)


@native
def _open(arena: int, key_size: int, size: int, max_entries: int, env: int) -> int:
    """Lock writers out, and put the trie right if one of them died."""
    lock_stripe(arena, arena + STRIPES_AT, env)
    if unlikely(load64(arena + REPAIR_AT) != 0):
        repair_trie(arena, key_size, size, max_entries, env)
    return 0


@native
def _put(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
) -> int:
    size = element_size(key_size, value_size)
    known = find_exact(arena, key_size, size, max_entries, key + DATA, load32(key))
    wrong = check_exists(known, update_flags)
    if wrong != 0:
        return wrong
    limit = 0 if known != 0 else max_entries
    number = take_element(arena, max_entries, limit, 1, env)
    if number == 0:
        return -ENOSPC
    element = element_at(arena, max_entries, size, number)
    memcpy(element, key, key_size)
    memcpy(element + round8(key_size), value, value_size)
    old = insert(arena, key_size, size, max_entries, number, env)
    if old != 0:
        give_element(arena, max_entries, old, 1, env)
    return 0


@native
def lpm_update(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    key: int,
    value: int,
    update_flags: int,
) -> int:
    """Insert or replace: 0, -EINVAL (also for lengths over the data's), -EEXIST, -ENOENT, or -ENOSPC when full."""
    if check_update(update_flags) != 0 or load32(key) > (key_size - DATA) << 3:
        return -EINVAL
    _open(arena, key_size, element_size(key_size, value_size), max_entries, env)
    result = _put(arena, key_size, value_size, max_entries, env, key, value, update_flags)
    unlock(arena + STRIPES_AT)
    return result


@native
def lpm_delete(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, env: int, key: int) -> int:
    """Delete exactly that prefix: 0, -ENOENT, or -EINVAL for lengths over the data's."""
    if load32(key) > (key_size - DATA) << 3:
        return -EINVAL
    size = element_size(key_size, value_size)
    _open(arena, key_size, size, max_entries, env)
    number = remove(arena, key_size, size, max_entries, key + DATA, load32(key), env)
    if number != 0:
        give_element(arena, max_entries, number, 1, env)
    unlock(arena + STRIPES_AT)
    if number == 0:
        return -ENOENT
    return 0


@native
def lpm_next_key(arena: int, key_size: int, value_size: int, max_entries: int, flags: int, key: int, out: int) -> int:
    """Store the prefix after the one at `key` (0, or a prefix that is gone: the first); -ENOENT after the last."""
    size = element_size(key_size, value_size)
    number = next_prefix(arena, key_size, size, max_entries, key)
    if number == 0:
        return -ENOENT
    memcpy(out, element_at(arena, max_entries, size, number), key_size)
    return 0


@native
def lpm_fill(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    keys: int,
    values: int,
    count: int,
    update_flags: int,
) -> int:
    """Many updates; see MapKind.fill."""
    i = 0
    while i < count:
        key = keys + i * key_size
        value = values + i * value_size
        result = lpm_update(arena, key_size, value_size, max_entries, flags, env, key, value, update_flags)
        if result != 0:
            return -((i << 16) | -result)
        i += 1
    return count


@native
def lpm_snapshot(
    arena: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int,
    env: int,
    keys: int,
    values: int,
    capacity: int,
) -> int:
    """Copy all elements, while writers wait; see MapKind.snapshot."""
    size = element_size(key_size, value_size)
    _open(arena, key_size, size, max_entries, env)
    count = 0
    number = next_prefix(arena, key_size, size, max_entries, 0)
    while number != 0 and count < capacity:
        element = element_at(arena, max_entries, size, number)
        memcpy(keys + count * key_size, element, key_size)
        memcpy(values + count * value_size, element + round8(key_size), value_size)
        count += 1
        number = next_prefix(arena, key_size, size, max_entries, element)
    unlock(arena + STRIPES_AT)
    return count


LPM_TRIE: Final = MapKind(
    id=11,
    name="lpm_trie",
    size=lpm_size,
    init=lpm_init,
    next_key=lpm_next_key,
    ops={MapOp.LOOKUP: lpm_lookup, MapOp.UPDATE: lpm_update, MapOp.DELETE: lpm_delete},
    fill=lpm_fill,
    snapshot=lpm_snapshot,
)
