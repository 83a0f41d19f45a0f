"""Which elements of an LRU map go first: Linux's two-list approximation, step for step.

Not here: the operations of the maps (lru.py, lru_percpu.py).

A lookup by a program sets the element's reference word and nothing else. Elements stand in an active and an inactive
list; new ones wait in the pending list of the CPU that made them. A CPU that has no free element left flushes its
pending list, rotates up to SCANS elements of both lists (those that were referenced move to active, those that were
not move down), and takes up to `target` free elements, evicting unreferenced ones from the inactive tail; when all were
referenced it evicts one regardless. With F_NO_COMMON_LRU each CPU has lists, and a share of the elements, of its own.
One CPU therefore sees the same evictions as on Linux (6.17 and later).

Free elements are counted here, and kept in the pool, so that they are used again as late as possible. Set 0 holds
the common lists; set 1 + c belongs to CPU c. Locks are taken in this order: a CPU's set, set 0, a stripe, the pool.
When the lock of a set was taken over from the dead, all lists are made anew before anybody follows them.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import CPUS_AT, REPAIR_AT, REPAIRS_AT
from runtime.maps.lists import (
    ACTIVE,
    COUNTS,
    FREE,
    INACTIVE,
    LEAD,
    LIST,
    NODE_CPU,
    PENDING,
    ROTATION,
    STEAL,
    enter,
    head_of,
    hold,
    is_orphan,
    is_used,
    leave,
    link,
    move,
    next_of,
    node_at,
    previous_of,
    reset_lists,
    reset_used,
    set_at,
    unlink,
)
from runtime.maps.locks import lock, lock_all_stripes, lock_stripe, stripe, unlock, unlock_all_stripes
from runtime.maps.store import elements_at, end_repair, give, locate_slot, mix_of, rebuild_pool, rows, table_at, take
from runtime.maps.table import remove_slot
from runtime.native import load8, load16, load32, load64, native, store16, store64, udiv, ult, unlikely, urem
from runtime.spec import Env, MapFlag

__all__ = ["begin", "lru_entries", "node_free", "node_take", "reclaim_nodes", "repair_lists"]

_NO_COMMON: Final = int(MapFlag.NO_COMMON_LRU)
_CPU: Final = int(Env.CPU)

_SCANS: Final = 128
_SCANS_PERCPU: Final = 4
_TARGET: Final = 128
_TARGET_PERCPU: Final = 4
_CHANGED: Final = -1


@native
def _rotate_active(arena: int, max_entries: int, size: int, which: int, scans: int) -> int:
    head = head_of(max_entries, which, ACTIVE)
    first = next_of(arena, max_entries, size, head)
    number = previous_of(arena, max_entries, size, head)
    i = 0
    while number != head:
        before = previous_of(arena, max_entries, size, number)
        if is_used(arena, max_entries, size, number):
            move(arena, max_entries, size, which, ACTIVE, number)
        else:
            move(arena, max_entries, size, which, INACTIVE, number)
        i += 1
        if i == scans or number == first:
            return 0
        number = before
    return 0


@native
def _rotate_inactive(arena: int, max_entries: int, size: int, which: int, scans: int) -> int:
    head = head_of(max_entries, which, INACTIVE)
    if next_of(arena, max_entries, size, head) == head:
        return 0
    rotation = set_at(arena, max_entries, size, which) + ROTATION
    number = load64(rotation)
    last = next_of(arena, max_entries, size, number)
    if last == head:
        last = next_of(arena, max_entries, size, last)
    before = head
    i = 0
    while i < scans:
        if number == head:
            number = previous_of(arena, max_entries, size, number)
            continue
        before = previous_of(arena, max_entries, size, number)
        if is_used(arena, max_entries, size, number):
            move(arena, max_entries, size, which, ACTIVE, number)
        if number == last:
            break
        number = before
        i += 1
    return store64(rotation, before)


@native
def _rotate(arena: int, max_entries: int, size: int, which: int, scans: int) -> int:
    counts = set_at(arena, max_entries, size, which) + COUNTS
    if load64(counts + (INACTIVE << 3)) < load64(counts + (ACTIVE << 3)):
        _rotate_active(arena, max_entries, size, which, scans)
    return _rotate_inactive(arena, max_entries, size, which, scans)


@native
def _evict(arena: int, max_entries: int, size: int, key_size: int, number: int, env: int) -> int:
    """Withdraw an element from the table; 0 when somebody holds it who will put it in there, or free it."""
    key = elements_at(arena, max_entries) + number * size + LEAD
    mix = mix_of(arena, key, key_size)
    word = stripe(arena, mix)
    lock_stripe(arena, word, env)
    slot = locate_slot(arena, max_entries, size, LEAD, key, key_size, mix)
    found = 0
    if slot != 0 and load32(slot) == number:
        remove_slot(table_at(arena), max_entries, slot, mix)
        found = 1
    unlock(word)
    if found == 0:
        return is_orphan(arena, max_entries, size, number)
    return 1


@native
def _release(arena: int, max_entries: int, size: int, which: int, number: int, env: int) -> int:
    """Out of the lists and into the pool; the caller counts it as free."""
    leave(arena, max_entries, size, which, number)
    store16(node_at(arena, max_entries, size, number) + LIST, 0)
    return give(arena, max_entries, number, 1, env)


@native
def _shrink(
    arena: int, max_entries: int, size: int, key_size: int, which: int, wanted: int, scans: int, env: int
) -> int:
    """Evict up to `wanted` elements, at least one if that is possible; returns how many."""
    head = head_of(max_entries, which, INACTIVE)
    number = previous_of(arena, max_entries, size, head)
    freed = 0
    i = 0
    while number != head and i < scans and freed < wanted:
        before = previous_of(arena, max_entries, size, number)
        if is_used(arena, max_entries, size, number):
            move(arena, max_entries, size, which, ACTIVE, number)
        elif _evict(arena, max_entries, size, key_size, number, env):
            _release(arena, max_entries, size, which, number, env)
            freed += 1
        number = before
        i += 1
    if freed == 0:
        if next_of(arena, max_entries, size, head) == head:
            head = head_of(max_entries, which, ACTIVE)
        number = previous_of(arena, max_entries, size, head)
        while number != head and freed == 0:
            before = previous_of(arena, max_entries, size, number)
            if _evict(arena, max_entries, size, key_size, number, env):
                _release(arena, max_entries, size, which, number, env)
                freed = 1
            number = before
    return freed


@native
def lru_entries(arena: int, max_entries: int, flags: int) -> int:
    """How many elements the map may hold: with F_NO_COMMON_LRU, rounded up to a multiple of the CPUs."""
    cpus = load64(arena + CPUS_AT)
    if flags & _NO_COMMON:
        return udiv(max_entries + cpus - 1, cpus) * cpus
    return max_entries


@native
def begin(arena: int, max_entries: int, size: int, flags: int) -> int:
    """Lists in which every element is free."""
    reset_lists(arena, max_entries, size)
    cpus = load64(arena + CPUS_AT)
    if flags & _NO_COMMON:
        which = 1
        while which <= cpus:
            share = udiv(lru_entries(arena, max_entries, flags), cpus)
            store64(set_at(arena, max_entries, size, which) + FREE, share)
            which += 1
    else:
        store64(set_at(arena, max_entries, size, 0) + FREE, max_entries)
    return 0


@native
def _lock_set(arena: int, max_entries: int, size: int, which: int, env: int) -> int:
    """Take the lock of a set; 0 when its lists are whole, else the caller must let go of all sets and repair."""
    if unlikely(lock(set_at(arena, max_entries, size, which), env) != 0):
        store64(arena + REPAIR_AT, 1)
    return load64(arena + REPAIR_AT)


@native
def _open_set(arena: int, max_entries: int, size: int, flags: int, which: int, env: int) -> int:
    """Take the lock of a set, repairing the map first if need be; the caller holds no lock."""
    while unlikely(_lock_set(arena, max_entries, size, which, env) != 0):
        unlock(set_at(arena, max_entries, size, which))
        repair_lists(arena, max_entries, size, flags, env)
    return 0


@native
def _refill(arena: int, max_entries: int, size: int, key_size: int, which: int, env: int) -> int:
    """Free elements for a CPU's set, from the common ones; 0, or not 0 when repair is due. Its lock is held."""
    common = set_at(arena, max_entries, size, 0)
    if unlikely(_lock_set(arena, max_entries, size, 0, env) != 0):
        unlock(common)
        return 1
    pending = head_of(max_entries, which, PENDING)
    number = previous_of(arena, max_entries, size, pending)
    while number != pending:
        before = previous_of(arena, max_entries, size, number)
        unlink(arena, max_entries, size, number)
        if is_used(arena, max_entries, size, number):
            enter(arena, max_entries, size, 0, ACTIVE, number)
        else:
            enter(arena, max_entries, size, 0, INACTIVE, number)
        number = before
    _rotate(arena, max_entries, size, 0, _SCANS)
    target = min(max(udiv(udiv(max_entries, load64(arena + CPUS_AT)), 2), 1), _TARGET)
    got = min(load64(common + FREE), target)
    store64(common + FREE, load64(common + FREE) - got)
    if got < target:
        got += _shrink(arena, max_entries, size, key_size, 0, target - got, _SCANS, env)
    unlock(common)
    mine = set_at(arena, max_entries, size, which) + FREE
    store64(mine, load64(mine) + got)
    return 0


@native
def _take_pending(arena: int, max_entries: int, size: int, which: int, env: int) -> int:
    """One of the set's free elements, put on its pending list; 0 when there is none. The set's lock is held."""
    free = set_at(arena, max_entries, size, which) + FREE
    if load64(free) == 0:
        return 0
    number = take(arena, max_entries, 0, 1, env)
    if number != 0:
        store64(free, load64(free) - 1)
        store16(node_at(arena, max_entries, size, number) + NODE_CPU, which - 1)
        hold(arena, max_entries, size, number, env)
        reset_used(arena, max_entries, size, number)
        link(arena, max_entries, size, which, PENDING, number)
    return number


@native
def _steal_pending(arena: int, max_entries: int, size: int, key_size: int, which: int, env: int) -> int:
    """Evict from the tail of a set's pending list: unreferenced elements first; 1 when one was freed."""
    head = head_of(max_entries, which, PENDING)
    force = 0
    while force < 2:
        number = previous_of(arena, max_entries, size, head)
        while number != head:
            before = previous_of(arena, max_entries, size, number)
            wanted = force == 1 or is_used(arena, max_entries, size, number) == 0
            if wanted and _evict(arena, max_entries, size, key_size, number, env):
                unlink(arena, max_entries, size, number)
                store16(node_at(arena, max_entries, size, number) + LIST, 0)
                give(arena, max_entries, number, 1, env)
                return 1
            number = before
        force += 1
    return 0


@native
def _steal(arena: int, max_entries: int, size: int, key_size: int, flags: int, which: int, env: int) -> int:
    """Move one free element from some CPU's set to this one's; the caller holds no lock."""
    cpus = load64(arena + CPUS_AT)
    word = set_at(arena, max_entries, size, which) + STEAL
    first = urem(load64(word), cpus)
    victim = first
    got = 0
    while True:
        _open_set(arena, max_entries, size, flags, 1 + victim, env)
        theirs = set_at(arena, max_entries, size, 1 + victim)
        if load64(theirs + FREE) > 0:
            store64(theirs + FREE, load64(theirs + FREE) - 1)
            got = 1
        else:
            got = _steal_pending(arena, max_entries, size, key_size, 1 + victim, env)
        unlock(theirs)
        victim += 1
        if victim == cpus:
            victim = 0
        if got != 0 or victim == first:
            break
    store64(word, victim)
    if got != 0:
        _open_set(arena, max_entries, size, flags, which, env)
        mine = set_at(arena, max_entries, size, which)
        store64(mine + FREE, load64(mine + FREE) + 1)
        unlock(mine)
    return got


@native
def _take_own(arena: int, max_entries: int, size: int, key_size: int, which: int, env: int) -> int:
    """An element from a CPU's own lists, evicting when none is free. The set's lock is held."""
    _rotate(arena, max_entries, size, which, _SCANS_PERCPU)
    free = set_at(arena, max_entries, size, which) + FREE
    if load64(free) == 0:
        got = _shrink(arena, max_entries, size, key_size, which, _TARGET_PERCPU, _SCANS_PERCPU, env)
        store64(free, got)
    if load64(free) == 0:
        return 0
    number = take(arena, max_entries, 0, 1, env)
    if number != 0:
        store64(free, load64(free) - 1)
        store16(node_at(arena, max_entries, size, number) + NODE_CPU, which - 1)
        hold(arena, max_entries, size, number, env)
        enter(arena, max_entries, size, which, INACTIVE, number)
    return number


@native
def _set_of(arena: int, env: int) -> int:
    """The set of the CPU that an environment speaks for."""
    if env != 0:
        cpu = load64(env + _CPU)
        if ult(cpu, load64(arena + CPUS_AT)):
            return 1 + cpu
    return 1


@native
def node_take(arena: int, max_entries: int, size: int, key_size: int, flags: int, repairs: int, env: int) -> int:
    """An element to fill, evicting others if need be; 0 when there is none, -1 when more repairs were made meanwhile.

    The caller holds no lock, and must look at the count of repairs again when it holds one.
    """
    which = _set_of(arena, env)
    tries = 0
    while True:
        _open_set(arena, max_entries, size, flags, which, env)
        number = 0
        due = 0
        if load64(arena + REPAIRS_AT) != repairs:
            number = _CHANGED
        elif flags & _NO_COMMON:
            number = _take_own(arena, max_entries, size, key_size, which, env)
        else:
            number = _take_pending(arena, max_entries, size, which, env)
            if number == 0:
                due = _refill(arena, max_entries, size, key_size, which, env)
                number = _take_pending(arena, max_entries, size, which, env)
        unlock(set_at(arena, max_entries, size, which))
        if due != 0:
            repair_lists(arena, max_entries, size, flags, env)
            return _CHANGED
        if number != 0 or flags & _NO_COMMON or tries > 0:
            return number
        tries += 1
        if _steal(arena, max_entries, size, key_size, flags, which, env) == 0:
            return 0


@native
def node_free(arena: int, max_entries: int, size: int, flags: int, number: int, repairs: int, env: int) -> int:
    """Give an element back that is not in the table; nothing happens when a repair has done that."""
    node = node_at(arena, max_entries, size, number)
    which = 1 + load16(node + NODE_CPU)
    done = 0
    if flags & _NO_COMMON == 0:
        if load16(node + LIST) == PENDING:
            _open_set(arena, max_entries, size, flags, which, env)
            if load64(arena + REPAIRS_AT) != repairs:
                done = 1
            elif load16(node + LIST) == PENDING:
                unlink(arena, max_entries, size, number)
                store16(node + LIST, 0)
                give(arena, max_entries, number, 1, env)
                free = set_at(arena, max_entries, size, which) + FREE
                store64(free, load64(free) + 1)
                done = 1
            unlock(set_at(arena, max_entries, size, which))
        which = 0
    if done == 0:
        _open_set(arena, max_entries, size, flags, which, env)
        if load64(arena + REPAIRS_AT) == repairs:
            _release(arena, max_entries, size, which, number, env)
            free = set_at(arena, max_entries, size, which) + FREE
            store64(free, load64(free) + 1)
        unlock(set_at(arena, max_entries, size, which))
    return 0


@native
def repair_lists(arena: int, max_entries: int, size: int, flags: int, env: int) -> int:
    """After a process died: every element of the table is inactive, every other one free. The caller holds no lock."""
    cpus = load64(arena + CPUS_AT)
    which = 1
    while which <= cpus:
        lock(set_at(arena, max_entries, size, which), env)
        which += 1
    lock(set_at(arena, max_entries, size, 0), env)
    lock_all_stripes(arena, env)
    if load64(arena + REPAIR_AT) != 0:
        marks = rebuild_pool(arena, max_entries, env)
        begin(arena, max_entries, size, flags)
        number = 1
        while number < rows(max_entries):
            if load8(marks + number) != 0:
                which = 0
                if flags & _NO_COMMON:
                    which = 1 + urem(load16(node_at(arena, max_entries, size, number) + NODE_CPU), cpus)
                enter(arena, max_entries, size, which, INACTIVE, number)
                free = set_at(arena, max_entries, size, which) + FREE
                store64(free, load64(free) - 1)
            number += 1
        end_repair(arena)
    unlock_all_stripes(arena)
    which = 0
    while which <= cpus:
        unlock(set_at(arena, max_entries, size, which))
        which += 1
    return 0


@native
def reclaim_nodes(arena: int, max_entries: int, size: int, flags: int, env: int) -> int:
    """For those who find nothing to evict: free what processes that died had taken. The caller holds no lock."""
    store64(arena + REPAIR_AT, 1)
    return repair_lists(arena, max_entries, size, flags, env)
