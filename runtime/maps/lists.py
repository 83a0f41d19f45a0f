"""The linked lists of LRU maps: elements by number, in sets of lists that CPUs own.

Not here: who moves where and when (recency.py).

Behind the elements of the map lie MAX_CPUS + 1 sets, then one node for each element and each head of a list. Set 0 is
common to all CPUs, set 1 + c belongs to CPU c. Lists are circular through their head, whose number is higher than any
element's. Whoever changes a list holds the lock of its set.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import CPUS_AT, MAX_CPUS
from runtime.maps.locks import owner_of
from runtime.maps.store import after_elements, elements_at, rows
from runtime.native import load16, load32, load64, native, process_alive, shr, store16, store32, store64

__all__ = [
    "add_count",
    "after_lists",
    "enter",
    "head_of",
    "hold",
    "is_orphan",
    "is_used",
    "leave",
    "let_go",
    "link",
    "mark_used",
    "move",
    "next_of",
    "node_at",
    "previous_of",
    "reset_lists",
    "reset_used",
    "set_at",
    "unlink",
]

LEAD: Final = 4
"""Bytes in front of each key: a word that is 1 when a program looked the element up."""

ACTIVE: Final = 1
INACTIVE: Final = 2
PENDING: Final = 3

_SET: Final = 128  # bytes of a set: its lock, and on the next cache line these words
FREE: Final = 64
COUNTS: Final = 64  # + 8 * list; how many are in ACTIVE and INACTIVE
ROTATION: Final = 88  # where the rotation of the inactive list goes on
STEAL: Final = 96  # the CPU to steal from next

_NODE: Final = 16  # next, previous; 16 bits: the list it is in, the CPU that took it; the process that holds it
NEXT: Final = 0
PREVIOUS: Final = 4
LIST: Final = 8
NODE_CPU: Final = 10
_HOLDER: Final = 12


@native
def set_at(arena: int, max_entries: int, size: int, which: int) -> int:
    """The address of a set."""
    return after_elements(arena, max_entries, size) + which * _SET


@native
def node_at(arena: int, max_entries: int, size: int, number: int) -> int:
    """The address of the node of an element or head."""
    return set_at(arena, max_entries, size, MAX_CPUS + 1) + number * _NODE


@native
def head_of(max_entries: int, which: int, kind: int) -> int:
    """The number of a list's head; heads come after all elements."""
    return rows(max_entries) + which * 3 + kind - 1


@native
def after_lists(arena: int, max_entries: int, size: int) -> int:
    """The first address behind the lists, on a cache line."""
    return (node_at(arena, max_entries, size, head_of(max_entries, MAX_CPUS + 1, ACTIVE)) + 63) & -64


@native
def mark_used(element: int) -> int:
    """Note that a program looked the element up."""
    if load32(element) == 0:
        store32(element, 1)
    return 0


@native
def is_used(arena: int, max_entries: int, size: int, number: int) -> int:
    """Not 0 when a program looked the element up since it was last moved."""
    return load32(elements_at(arena, max_entries) + number * size)


@native
def reset_used(arena: int, max_entries: int, size: int, number: int) -> int:
    """Forget that."""
    return store32(elements_at(arena, max_entries) + number * size, 0)


@native
def next_of(arena: int, max_entries: int, size: int, number: int) -> int:
    """What follows towards the tail."""
    return load32(node_at(arena, max_entries, size, number) + NEXT)


@native
def previous_of(arena: int, max_entries: int, size: int, number: int) -> int:
    """What goes before, towards the head."""
    return load32(node_at(arena, max_entries, size, number) + PREVIOUS)


@native
def hold(arena: int, max_entries: int, size: int, number: int, env: int) -> int:
    """Note who has an element that is in a list and not in the table: should that process die, it is free."""
    return store32(node_at(arena, max_entries, size, number) + _HOLDER, shr(owner_of(env), 32))


@native
def let_go(arena: int, max_entries: int, size: int, number: int) -> int:
    """The element is in the table: nobody holds it."""
    return store32(node_at(arena, max_entries, size, number) + _HOLDER, 0)


@native
def is_orphan(arena: int, max_entries: int, size: int, number: int) -> int:
    """1 when the process that holds the element has died."""
    holder = load32(node_at(arena, max_entries, size, number) + _HOLDER)
    if holder != 0 and process_alive(holder) == 0:
        return 1
    return 0


@native
def add_count(arena: int, max_entries: int, size: int, which: int, kind: int, change: int) -> int:
    """Change how many elements list `kind` (0: the free ones) of a set has."""
    word = set_at(arena, max_entries, size, which) + COUNTS + (kind << 3)
    return store64(word, load64(word) + change)


@native
def unlink(arena: int, max_entries: int, size: int, number: int) -> int:
    """Take an element out of whatever list it is in."""
    after = next_of(arena, max_entries, size, number)
    before = previous_of(arena, max_entries, size, number)
    store32(node_at(arena, max_entries, size, before) + NEXT, after)
    return store32(node_at(arena, max_entries, size, after) + PREVIOUS, before)


@native
def link(arena: int, max_entries: int, size: int, which: int, kind: int, number: int) -> int:
    """Put an element at the head of a list."""
    head = head_of(max_entries, which, kind)
    first = next_of(arena, max_entries, size, head)
    node = node_at(arena, max_entries, size, number)
    store32(node + NEXT, first)
    store32(node + PREVIOUS, head)
    store16(node + LIST, kind)
    store32(node_at(arena, max_entries, size, first) + PREVIOUS, number)
    return store32(node_at(arena, max_entries, size, head) + NEXT, number)


@native
def leave(arena: int, max_entries: int, size: int, which: int, number: int) -> int:
    """Take an element out of the active or inactive list."""
    rotation = set_at(arena, max_entries, size, which) + ROTATION
    if load64(rotation) == number:
        store64(rotation, previous_of(arena, max_entries, size, number))
    add_count(arena, max_entries, size, which, load16(node_at(arena, max_entries, size, number) + LIST), -1)
    return unlink(arena, max_entries, size, number)


@native
def enter(arena: int, max_entries: int, size: int, which: int, kind: int, number: int) -> int:
    """Put an element at the head of the active or inactive list, as not referenced."""
    reset_used(arena, max_entries, size, number)
    add_count(arena, max_entries, size, which, kind, 1)
    return link(arena, max_entries, size, which, kind, number)


@native
def move(arena: int, max_entries: int, size: int, which: int, kind: int, number: int) -> int:
    """From one of the active and inactive lists to the head of the other, or of the same."""
    leave(arena, max_entries, size, which, number)
    return enter(arena, max_entries, size, which, kind, number)


@native
def reset_lists(arena: int, max_entries: int, size: int) -> int:
    """Empty all lists; the free ones are for the caller to count."""
    which = 0
    while which <= load64(arena + CPUS_AT):
        kind = ACTIVE
        while kind <= PENDING:
            head = head_of(max_entries, which, kind)
            store32(node_at(arena, max_entries, size, head) + NEXT, head)
            store32(node_at(arena, max_entries, size, head) + PREVIOUS, head)
            kind += 1
        words = set_at(arena, max_entries, size, which)
        store64(words + FREE, 0)
        store64(words + COUNTS + (ACTIVE << 3), 0)
        store64(words + COUNTS + (INACTIVE << 3), 0)
        store64(words + ROTATION, head_of(max_entries, which, INACTIVE))
        store64(words + STEAL, 0)
        if which > 0:
            store64(words + STEAL, which - 1)
        which += 1
    return 0
