"""The trie of LPM_TRIE: its layout, and how readers find the longest match without locks.

Not here: changes (trie_change.py), order (trie_walk.py), the map's operations (lpm.py).

A node decides one byte of the data, its depth; the root is node 0, at depth 0. A prefix of n bits lives in the node
at depth (n - 1) / 8 (n = 0: in the root), which holds

    entries   256 words, by byte: low half the longest prefix of this node that covers the byte, high half the child
    exact     the node's prefixes of 0 to 7 bits past its depth, as a heap: bits k, value v at (1 << k) - 1 + v
    depth, items (how many prefixes and children the node holds), path (the bytes that lead here)

so a search reads one word a level. Prefixes of exactly 8 bits stand in their entry. A child is a node, or, while only
one prefix lies below, that prefix itself (LEAF); bytes that all prefixes below have in common are not decided
but compared with the path (SKIP). There is thus less than one node for each prefix, and 10,000 IPv4 prefixes are found
within three or four cache lines. (Stride, leaves and path compression as in the adaptive radix tree, Leis et al. 2013.)

Each change that a reader can see is one store of one word. Elements and nodes are used again late (pool.py), and
then RECYCLED_AT is raised first: a reader that sees it change starts again.
"""

from __future__ import annotations

from typing import Final

from runtime.maps.arena import HEADER_SIZE, RECYCLED_AT
from runtime.maps.keys import round8
from runtime.maps.pool import DELAY
from runtime.native import bswap32, load8, load32, load64, load_acquire64, native, shr

__all__ = [
    "capacity",
    "cell_of",
    "covers",
    "element_at",
    "element_ring",
    "element_size",
    "exact_cell",
    "find_exact",
    "lowest",
    "match",
    "node_at",
    "node_ring",
    "node_size",
    "trie_size",
    "within",
]

LEAF: Final = 1 << 31
SKIP: Final = 1 << 30
NUMBER: Final = SKIP - 1
LOW: Final = 0xFFFF_FFFF

EXACT_AT: Final = 2048
DEPTH_AT: Final = 3072
ITEMS_AT: Final = 3076
PATH_AT: Final = 3080

DATA: Final = 4
"""Where the data begins in a key, after the length of the prefix in bits."""


@native
def capacity(max_entries: int) -> int:
    """How many elements, and how many nodes besides the root, there are."""
    return min(max_entries, SKIP >> 1) + DELAY


@native
def element_size(key_size: int, value_size: int) -> int:
    """Bytes of an element: the key, then the value on the next multiple of 8."""
    return round8(key_size) + round8(value_size)


@native
def node_size(key_size: int) -> int:
    """Bytes of a node, whole cache lines."""
    return (PATH_AT + key_size - DATA + 63) & -64


@native
def element_ring(arena: int) -> int:
    """The ring of the pool of elements."""
    return arena + HEADER_SIZE


@native
def node_ring(arena: int, max_entries: int) -> int:
    """The ring of the pool of nodes."""
    return element_ring(arena) + capacity(max_entries) * 4


@native
def element_marks(arena: int, max_entries: int) -> int:
    """A byte for each element, for repair only."""
    return node_ring(arena, max_entries) + capacity(max_entries) * 4


@native
def node_marks(arena: int, max_entries: int) -> int:
    """A byte for each node, for repair only."""
    return element_marks(arena, max_entries) + capacity(max_entries) + 1


@native
def _elements(arena: int, max_entries: int) -> int:
    return (node_marks(arena, max_entries) + capacity(max_entries) + 64) & -64


@native
def element_at(arena: int, max_entries: int, size: int, number: int) -> int:
    """The address of an element of `size` bytes."""
    return _elements(arena, max_entries) + number * size


@native
def _nodes(arena: int, max_entries: int, size: int) -> int:
    return (element_at(arena, max_entries, size, capacity(max_entries) + 1) + 63) & -64


@native
def node_at(arena: int, max_entries: int, key_size: int, size: int, number: int) -> int:
    """The address of a node; `size` is that of an element."""
    return _nodes(arena, max_entries, size) + number * node_size(key_size)


@native
def trie_size(key_size: int, value_size: int, max_entries: int) -> int:
    """Bytes after the header."""
    size = element_size(key_size, value_size)
    return node_at(-HEADER_SIZE, max_entries, key_size, size, capacity(max_entries) + 1)


@native
def covers(element: int, data: int, data_size: int) -> int:
    """1 when the data begins with the bits of the element's prefix."""
    bits = load32(element)
    prefix = element + DATA
    if data_size == 4:
        if shr(bswap32(load32(prefix) ^ load32(data)), 32 - bits) == 0:
            return 1
        return 0
    at = 0
    while bits >= 32:
        if load32(prefix + at) != load32(data + at):
            return 0
        at += 4
        bits -= 32
    while bits >= 8:
        if load8(prefix + at) != load8(data + at):
            return 0
        at += 1
        bits -= 8
    if bits > 0 and shr(load8(prefix + at) ^ load8(data + at), 8 - bits) != 0:
        return 0
    return 1


@native
def cell_of(node: int, byte: int) -> int:
    """The address of a node's entry for a byte."""
    return node + (byte << 3)


@native
def exact_cell(node: int, byte: int, bits: int) -> int:
    """The address of the element number of the node's prefix with the first `bits` (0 to 7) bits of `byte`."""
    return node + EXACT_AT + (((1 << bits) - 1 + shr(byte, 8 - bits)) << 2)


@native
def lowest(depth: int) -> int:
    """The fewest bits past its depth that a prefix of a node may have."""
    if depth == 0:
        return 0
    return 1


@native
def within(node: int, depth: int, byte: int, bits: int) -> int:
    """The node's longest prefix of at most `bits` (up to 7) bits past its depth that covers the byte, or 0."""
    while bits >= lowest(depth):
        number = load32(exact_cell(node, byte, bits))
        if number != 0:
            return number
        bits -= 1
    return 0


@native
def skipped(node: int, data: int, depth: int) -> int:
    """From `depth` on, the first byte where the data leaves the node's path, or the node's depth."""
    end = load32(node + DEPTH_AT)
    while depth < end and load8(node + PATH_AT + depth) == load8(data + depth):
        depth += 1
    return depth


@native
def _search(arena: int, key_size: int, size: int, max_entries: int, data: int, bits: int) -> int:
    root = node_at(arena, max_entries, key_size, size, 0)
    node = root
    depth = 0
    best = 0
    while True:
        left = bits - (depth << 3)
        if left < 8:
            if left >= lowest(depth):
                found = within(node, depth, load8(data + depth), left)
                if found != 0:
                    best = found
            return best
        entry = load_acquire64(cell_of(node, load8(data + depth)))
        if entry & LOW:
            best = entry & LOW
        child = shr(entry, 32)
        if child & LEAF:
            element = element_at(arena, max_entries, size, child & NUMBER)
            if load32(element) <= bits and covers(element, data, key_size - DATA):
                return child & NUMBER
            return best
        if child == 0:
            return best
        node = root + (child & NUMBER) * node_size(key_size)
        depth += 1
        if child & SKIP:
            end = load32(node + DEPTH_AT)
            if end << 3 >= bits or skipped(node, data, depth) != end:
                return best
            depth = end


@native
def match(arena: int, key_size: int, size: int, max_entries: int, key: int) -> int:
    """The element with the longest prefix of at most the key's length that covers its data, or 0."""
    bits = load32(key)
    if bits > (key_size - DATA) << 3:
        return 0
    while True:
        recycled = load_acquire64(arena + RECYCLED_AT)
        found = _search(arena, key_size, size, max_entries, key + DATA, bits)
        if load64(arena + RECYCLED_AT) == recycled:
            return found


@native
def find_exact(arena: int, key_size: int, size: int, max_entries: int, data: int, bits: int) -> int:
    """The element of exactly that prefix, or 0; the trie's lock is held, or the answer may be stale."""
    node = node_at(arena, max_entries, key_size, size, 0)
    depth = 0
    while True:
        left = bits - (depth << 3)
        byte = load8(data + depth)
        if left < 8:
            return load32(exact_cell(node, byte, left))
        entry = load_acquire64(cell_of(node, byte))
        if left == 8:
            number = entry & LOW
            if number != 0 and load32(element_at(arena, max_entries, size, number)) == bits:
                return number
            return 0
        child = shr(entry, 32)
        if child == 0:
            return 0
        if child & LEAF:
            element = element_at(arena, max_entries, size, child & NUMBER)
            if load32(element) == bits and covers(element, data, key_size - DATA):
                return child & NUMBER
            return 0
        node = node_at(arena, max_entries, key_size, size, child & NUMBER)
        end = load32(node + DEPTH_AT)
        if end << 3 >= bits or skipped(node, data, depth + 1) != end:
            return 0
        depth = end
