"""The order of LPM_TRIE: Linux's, which is postorder of the binary trie, longer prefixes before what covers them.

Not here: the layout (trie.py).
"""

from __future__ import annotations

from typing import Final

from runtime.maps.trie import (
    DATA,
    DEPTH_AT,
    LEAF,
    LOW,
    NUMBER,
    PATH_AT,
    cell_of,
    element_at,
    exact_cell,
    find_exact,
    lowest,
    node_at,
)
from runtime.native import load8, load32, load_acquire64, memcpy, native, shr, stack_alloc, store8

__all__ = ["next_prefix"]

_DATA_MAX: Final = 256


@native
def _first_in(arena: int, key_size: int, size: int, max_entries: int, node: int, byte: int, bits: int) -> int:
    """The first element in the part of a node where its byte begins with the first `bits` bits of `byte`, or 0."""
    depth = load32(node + DEPTH_AT)
    at = byte & ~shr(0xFF, bits)
    end = at + (1 << (8 - bits))
    while at < end:
        entry = load_acquire64(cell_of(node, at))
        child = shr(entry, 32)
        if child & LEAF:
            return child & NUMBER
        if child != 0:
            node = node_at(arena, max_entries, key_size, size, child & NUMBER)
            if load32(node + DEPTH_AT) <= depth:  # used again meanwhile
                return 0
            depth = load32(node + DEPTH_AT)
            bits = lowest(depth)
            at = 0
            end = 256
            continue
        number = entry & LOW
        if number != 0 and load32(element_at(arena, max_entries, size, number)) == (depth + 1) << 3:
            return number
        length = 7
        while length >= bits and length >= lowest(depth) and (at + 1) & (shr(0xFF, length)) == 0:
            number = load32(exact_cell(node, at, length))
            if number != 0:
                return number
            length -= 1
        at += 1
    return 0


@native
def _first_under(arena: int, key_size: int, size: int, max_entries: int, data: int, bits: int) -> int:
    """The first element whose prefix begins with those bits (it may be just those), or 0."""
    node = node_at(arena, max_entries, key_size, size, 0)
    depth = 0
    while True:
        left = bits - (depth << 3)
        if left <= 8:
            return _first_in(arena, key_size, size, max_entries, node, load8(data + depth), left)
        child = shr(load_acquire64(cell_of(node, load8(data + depth))), 32)
        if child == 0:
            return 0
        if child & LEAF:
            return _leaf_under(element_at(arena, max_entries, size, child & NUMBER), data, bits, child & NUMBER)
        node = node_at(arena, max_entries, key_size, size, child & NUMBER)
        end = load32(node + DEPTH_AT)
        if end <= depth:  # used again meanwhile
            return 0
        depth += 1
        while depth < end:
            left = bits - (depth << 3)
            difference = load8(node + PATH_AT + depth) ^ load8(data + depth)
            if left < 8:
                difference = shr(difference, 8 - left)
            if difference != 0:
                return 0
            if left <= 8:
                return _first_in(arena, key_size, size, max_entries, node, 0, 0)
            depth += 1


@native
def _leaf_under(element: int, data: int, bits: int, number: int) -> int:
    """The element's number when its prefix begins with those bits, else 0."""
    if load32(element) < bits:
        return 0
    at = 0
    while bits >= 8:
        if load8(element + DATA + at) != load8(data + at):
            return 0
        at += 1
        bits -= 8
    if bits > 0 and shr(load8(element + DATA + at) ^ load8(data + at), 8 - bits) != 0:
        return 0
    return number


@native
def next_prefix(arena: int, key_size: int, size: int, max_entries: int, key: int) -> int:
    """The element after the prefix at `key`, the first one when there is no such prefix (or key is 0); 0: the last."""
    data_size = key_size - DATA
    known = 0
    if key != 0 and load32(key) <= data_size << 3:
        known = find_exact(arena, key_size, size, max_entries, key + DATA, load32(key))
    if known == 0:
        return _first_under(arena, key_size, size, max_entries, node_at(arena, max_entries, key_size, size, 0), 0)
    data = stack_alloc(_DATA_MAX)
    memcpy(data, key + DATA, data_size)
    bits = load32(key)
    while bits > 0:
        bits -= 1
        last = data + (bits >> 3)
        bit = shr(0x80, bits & 7)
        if load8(last) & bit == 0:
            store8(last, load8(last) | bit)
            found = _first_under(arena, key_size, size, max_entries, data, bits + 1)
            if found != 0:
                return found
            store8(last, load8(last) & ~bit)
        found = find_exact(arena, key_size, size, max_entries, data, bits)
        if found != 0:
            return found
    return 0
