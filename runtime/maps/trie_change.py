"""How the trie of LPM_TRIE changes: insertion, deletion, and repair after a writer died.

Not here: the layout (trie.py). The caller holds the trie's lock. What `exact` cells, entries of 8-bit prefixes and
leaves say is the truth; everything else in the trie follows from it and is made again by repair.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import NODES_AT, POOL_AT, POOL_FRESH, RECYCLED_AT, REPAIR_AT
from runtime.maps.pool import pool_give, pool_rebuild, pool_reset, pool_take
from runtime.maps.trie import (
    DATA,
    DEPTH_AT,
    ITEMS_AT,
    LEAF,
    LOW,
    NUMBER,
    PATH_AT,
    SKIP,
    capacity,
    cell_of,
    element_at,
    element_marks,
    element_ring,
    exact_cell,
    find_exact,
    lowest,
    node_at,
    node_marks,
    node_ring,
    node_size,
    skipped,
    within,
)
from runtime.native import (
    load8,
    load32,
    load64,
    memcpy,
    memzero,
    native,
    shr,
    stack_alloc,
    store8,
    store32,
    store64,
    store_release32,
    store_release64,
)

__all__ = ["give_element", "insert", "remove", "repair_trie", "take_element"]

_HIGH: Final = -1 - LOW
_DEPTHS: Final = 257


@native
def take_element(arena: int, max_entries: int, limit: int, counts: int, env: int) -> int:
    """A free element, or 0 when `limit` (0: none) are in use; see pool_take."""
    pool = arena + POOL_AT
    fresh = load64(pool + POOL_FRESH)
    number = pool_take(arena, pool, element_ring(arena), capacity(max_entries), limit, counts, env)
    if number != 0 and number <= fresh:
        store_release64(arena + RECYCLED_AT, load64(arena + RECYCLED_AT) + 1)
    return number


@native
def give_element(arena: int, max_entries: int, number: int, counts: int, env: int) -> int:
    """Free an element; see pool_give."""
    return pool_give(arena, arena + POOL_AT, element_ring(arena), capacity(max_entries), number, counts, env)


@native
def _take_node(arena: int, key_size: int, size: int, max_entries: int, data: int, depth: int, env: int) -> int:
    """A node without items at that depth, on the path of the data; there is always one left."""
    pool = arena + NODES_AT
    fresh = load64(pool + POOL_FRESH)
    number = pool_take(arena, pool, node_ring(arena, max_entries), capacity(max_entries), 0, 1, env)
    node = node_at(arena, max_entries, key_size, size, number)
    if number <= fresh:
        store_release64(arena + RECYCLED_AT, load64(arena + RECYCLED_AT) + 1)
        memzero(node, node_size(key_size))
    store32(node + DEPTH_AT, depth)
    memcpy(node + PATH_AT, data, depth)
    return number


@native
def _give_node(arena: int, max_entries: int, number: int, env: int) -> int:
    ring = node_ring(arena, max_entries)
    return pool_give(arena, arena + NODES_AT, ring, capacity(max_entries), number, 1, env)


@native
def _count(node: int, change: int) -> int:
    return store32(node + ITEMS_AT, load32(node + ITEMS_AT) + change)


@native
def _set_child(cell: int, child: int) -> int:
    return store_release64(cell, (load64(cell) & LOW) | (child << 32))


@native
def _reference(number: int, child_depth: int, depth: int) -> int:
    """What stands in an entry of a node at `depth` for a node further down."""
    if child_depth > depth + 1:
        return number | SKIP
    return number


@native
def _place(arena: int, size: int, max_entries: int, node: int, number: int) -> int:
    """Enter a prefix that lives in the node; returns the element that had the same prefix, or 0."""
    element = element_at(arena, max_entries, size, number)
    bits = load32(element)
    depth = load32(node + DEPTH_AT)
    byte = load8(element + DATA + depth)
    left = bits - (depth << 3)
    old = 0
    if left < 8:
        old = load32(exact_cell(node, byte, left))
        store_release32(exact_cell(node, byte, left), number)
    else:
        old = load64(cell_of(node, byte)) & LOW
        if old != 0 and load32(element_at(arena, max_entries, size, old)) != bits:
            old = 0
    cell = cell_of(node, byte & ~shr(0xFF, left))
    end = cell + (8 << (8 - left))
    while cell < end:
        entry = load64(cell)
        current = entry & LOW
        if current == 0 or load32(element_at(arena, max_entries, size, current)) <= bits:
            store_release64(cell, (entry & _HIGH) | number)
        cell += 8
    if old == 0:
        _count(node, 1)
    return old


@native
def _seat(bits: int) -> int:
    """The depth of the node where a prefix lives."""
    if bits == 0:
        return 0
    return (bits - 1) >> 3


@native
def _fork(
    arena: int, key_size: int, size: int, max_entries: int, data: int, seat: int, depth: int, other: int, env: int
) -> int:
    """A node below `depth` where the prefix `other` and the one with that data and seat part; it holds `other`."""
    element = element_at(arena, max_entries, size, other)
    there = _seat(load32(element))
    at = depth + 1
    end = min(seat, there)
    while at < end and load8(element + DATA + at) == load8(data + at):
        at += 1
    number = _take_node(arena, key_size, size, max_entries, data, at, env)
    node = node_at(arena, max_entries, key_size, size, number)
    if there == at:
        _place(arena, size, max_entries, node, other)
    else:
        _set_child(cell_of(node, load8(element + DATA + at)), LEAF | other)
        _count(node, 1)
    return number


@native
def _wedge(arena: int, key_size: int, size: int, max_entries: int, data: int, at: int, child: int, env: int) -> int:
    """A node at depth `at` above node number `child`, whose path agrees with the data up to there."""
    number = _take_node(arena, key_size, size, max_entries, data, at, env)
    node = node_at(arena, max_entries, key_size, size, number)
    below = node_at(arena, max_entries, key_size, size, child)
    reference = _reference(child, load32(below + DEPTH_AT), at)
    _set_child(cell_of(node, load8(below + PATH_AT + at)), reference)
    _count(node, 1)
    return number


@native
def insert(arena: int, key_size: int, size: int, max_entries: int, number: int, env: int) -> int:
    """Enter the prefix of an element; returns the element that had the same prefix and is now out, or 0."""
    element = element_at(arena, max_entries, size, number)
    bits = load32(element)
    data = element + DATA
    seat = _seat(bits)
    node = node_at(arena, max_entries, key_size, size, 0)
    depth = 0
    while depth != seat:
        cell = cell_of(node, load8(data + depth))
        child = shr(load64(cell), 32)
        below = 0
        if child == 0:
            _set_child(cell, LEAF | number)
            _count(node, 1)
            return 0
        if child & LEAF:
            other = child & NUMBER
            if find_exact(arena, key_size, size, max_entries, data, bits) == other:
                _set_child(cell, LEAF | number)
                return other
            below = _fork(arena, key_size, size, max_entries, data, seat, depth, other, env)
        else:
            below = child & NUMBER
            inner = node_at(arena, max_entries, key_size, size, below)
            at = min(skipped(inner, data, depth + 1), seat)
            if at < load32(inner + DEPTH_AT):
                below = _wedge(arena, key_size, size, max_entries, data, at, below, env)
        node = node_at(arena, max_entries, key_size, size, below)
        _set_child(cell, _reference(below, load32(node + DEPTH_AT), depth))
        depth = load32(node + DEPTH_AT)
    return _place(arena, size, max_entries, node, number)


@native
def _remaining(node: int, depth: int, arena: int, key_size: int, size: int, max_entries: int) -> int:
    """The only item of a node, as what its parent at `depth` should refer to; 0 when there is none."""
    cell = node
    single = 0
    while cell < cell_of(node, 256):
        entry = load64(cell)
        child = shr(entry, 32)
        if child & LEAF:
            return child
        if child != 0:
            below = node_at(arena, max_entries, key_size, size, child & NUMBER)
            return _reference(child & NUMBER, load32(below + DEPTH_AT), depth)
        if entry & LOW:
            single = LEAF | (entry & LOW)
        cell += 8
    return single


@native
def _collapse(
    arena: int, key_size: int, size: int, max_entries: int, node: int, above: int, cell: int, env: int
) -> int:
    """Give up a node that is not needed: the entry `cell` of node `above` takes over what it holds."""
    if above == 0 or load32(node + ITEMS_AT) > 1:
        return 0
    number = shr(load64(cell), 32) & NUMBER
    left = _remaining(node, load32(above + DEPTH_AT), arena, key_size, size, max_entries)
    _set_child(cell, left)
    if left == 0:
        _count(above, -1)
    return _give_node(arena, max_entries, number, env)


@native
def _displace(arena: int, size: int, max_entries: int, node: int, number: int) -> int:
    """Take out a prefix that lives in the node."""
    element = element_at(arena, max_entries, size, number)
    depth = load32(node + DEPTH_AT)
    byte = load8(element + DATA + depth)
    left = load32(element) - (depth << 3)
    if left < 8:
        store_release32(exact_cell(node, byte, left), 0)
    instead = within(node, depth, byte, left - 1)
    cell = cell_of(node, byte & ~shr(0xFF, left))
    end = cell + (8 << (8 - left))
    while cell < end:
        entry = load64(cell)
        if entry & LOW == number:
            store_release64(cell, (entry & _HIGH) | instead)
        cell += 8
    return _count(node, -1)


@native
def remove(arena: int, key_size: int, size: int, max_entries: int, data: int, bits: int, env: int) -> int:
    """Take out exactly that prefix; returns its element, or 0."""
    number = find_exact(arena, key_size, size, max_entries, data, bits)
    if number == 0:
        return 0
    seat = _seat(bits)
    above = 0
    link = 0
    node = node_at(arena, max_entries, key_size, size, 0)
    depth = 0
    while depth != seat:
        cell = cell_of(node, load8(data + depth))
        child = shr(load64(cell), 32)
        if child & LEAF:
            _set_child(cell, 0)
            _count(node, -1)
            _collapse(arena, key_size, size, max_entries, node, above, link, env)
            return number
        above = node
        link = cell
        node = node_at(arena, max_entries, key_size, size, child & NUMBER)
        depth = load32(node + DEPTH_AT)
    _displace(arena, size, max_entries, node, number)
    _collapse(arena, key_size, size, max_entries, node, above, link, env)
    return number


@native
def _mend_node(arena: int, key_size: int, size: int, max_entries: int, node: int) -> int:
    """Make the entries and the count of a node follow from its truth, and mark the elements that it holds."""
    depth = load32(node + DEPTH_AT)
    marks = element_marks(arena, max_entries)
    items = 0
    byte = 0
    while byte < 256:
        entry = load64(cell_of(node, byte))
        number = entry & LOW
        if number != 0 and load32(element_at(arena, max_entries, size, number)) == (depth + 1) << 3:
            store8(marks + number, 1)
            items += 1
        else:
            store64(cell_of(node, byte), (entry & _HIGH) | within(node, depth, byte, 7))
        child = shr(entry, 32)
        if child & LEAF:
            store8(marks + (child & NUMBER), 1)
        if child != 0:
            items += 1
        byte += 1
    bits = lowest(depth)
    while bits < 8:
        byte = 0
        while byte < 256:
            number = load32(exact_cell(node, byte, bits))
            if number != 0:
                store8(marks + number, 1)
                items += 1
            byte += 1 << (8 - bits)
        bits += 1
    return store32(node + ITEMS_AT, items)


@native
def _prune(arena: int, key_size: int, size: int, max_entries: int, frame: int) -> int:
    """Unhook the node of a frame from the one before it when it holds nothing."""
    if load32(node_at(arena, max_entries, key_size, size, load64(frame)) + ITEMS_AT) != 0:
        return 0
    above = node_at(arena, max_entries, key_size, size, load64(frame - 16))
    _set_child(cell_of(above, load64(frame - 8) - 1), 0)
    store8(node_marks(arena, max_entries) + load64(frame), 0)
    return _count(above, -1)


@native
def _mend_nodes(arena: int, key_size: int, size: int, max_entries: int) -> int:
    """Mend and mark every node that can be reached; the stack holds a node and the byte to go on with."""
    marks = node_marks(arena, max_entries)
    stack = stack_alloc(_DEPTHS * 16)
    store64(stack, 0)
    store64(stack + 8, 0)
    _mend_node(arena, key_size, size, max_entries, node_at(arena, max_entries, key_size, size, 0))
    top = 0
    while top >= 0:
        frame = stack + top * 16
        byte = load64(frame + 8)
        if byte == 256:
            top -= 1
            if top >= 0:
                _prune(arena, key_size, size, max_entries, frame)
            continue
        store64(frame + 8, byte + 1)
        child = shr(load64(cell_of(node_at(arena, max_entries, key_size, size, load64(frame)), byte)), 32)
        if child != 0 and child & LEAF == 0:
            number = child & NUMBER
            store8(marks + number, 1)
            _mend_node(arena, key_size, size, max_entries, node_at(arena, max_entries, key_size, size, number))
            top += 1
            store64(frame + 16, number)
            store64(frame + 24, 0)
    return 0


@native
def repair_trie(arena: int, key_size: int, size: int, max_entries: int, env: int) -> int:
    """After a writer died: complete or undo what it had begun, and free what it had taken."""
    elements = pool_reset(arena + POOL_AT, env)
    nodes = pool_reset(arena + NODES_AT, env)
    memzero(element_marks(arena, max_entries), elements + 1)
    memzero(node_marks(arena, max_entries), nodes + 1)
    _mend_nodes(arena, key_size, size, max_entries)
    pool_rebuild(arena + POOL_AT, element_ring(arena), element_marks(arena, max_entries), elements)
    pool_rebuild(arena + NODES_AT, node_ring(arena, max_entries), node_marks(arena, max_entries), nodes)
    return store64(arena + REPAIR_AT, 0)
