"""The parts below the maps: hashing, the table, the pool, locks; and machine code against Python."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import MapError
from runtime.maps import Map
from runtime.maps.arena import POOL_AT, REPAIR_AT
from runtime.maps.keys import hash_key, same_key
from runtime.maps.locks import lock, unlock
from runtime.maps.pool import DELAY, pool_give, pool_take
from runtime.maps.table import (
    bucket_count,
    find,
    find_slot,
    insert_slot,
    next_slot,
    remove_slot,
    table_size,
)
from runtime.native import memory
from tests.support.maps import Make


@contextmanager
def _memory(size: int) -> Iterator[int]:
    """Zeroed memory on a cache line, registered for natives."""
    buffer = ctypes.create_string_buffer(size + 64)
    address = (ctypes.addressof(buffer) + 63) & ~63
    with memory.registered(address, size, buffer):
        yield address


@given(data=st.binary(min_size=1, max_size=80), other=st.binary(min_size=1, max_size=80))
def test_keys_are_compared_to_the_last_byte(data: bytes, other: bytes) -> None:
    """same_key agrees with bytes.__eq__, and equal keys have equal hashes."""
    size = min(len(data), len(other))
    with _memory(256) as at:
        memory.write(at, data[:size])
        memory.write(at + 128, other[:size])
        assert same_key(at, at + 128, size) == (data[:size] == other[:size])
        if data[:size] == other[:size]:
            assert hash_key(at, size, 1) == hash_key(at + 128, size, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 8, 12, 16, 20])
def test_every_bit_of_a_key_counts(size: int) -> None:
    """Flipping one bit of a key changes about half of the bits of its hash, and the seed changes it too."""
    draw = random.Random(size)
    with _memory(64) as at:
        for _ in range(20):
            key = bytearray(draw.randbytes(size))
            memory.write(at, key)
            before = hash_key(at, size, 0)
            assert hash_key(at, size, 1) != before
            for bit in range(8 * size):
                key[bit // 8] ^= 1 << bit % 8
                memory.write(at, key)
                assert 10 <= ((hash_key(at, size, 0) ^ before) & (1 << 64) - 1).bit_count() <= 54
                key[bit // 8] ^= 1 << bit % 8


@given(
    entries=st.integers(1, 40),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=120),
    spread=st.sampled_from([0, 1 << 56, 0x0123_4567_89AB_CDEF]),
)
@settings(max_examples=60, deadline=None)
def test_the_table_keeps_any_keys_however_they_hash(entries: int, steps: list[tuple[bool, int]], spread: int) -> None:
    """Elements are found, listed and removed also when all hashes are equal and every bucket overflows."""
    size = table_size(entries)
    held: set[int] = set()
    with _memory(size + 64 * 16) as table:
        elements = table + size

        def mix(key: int) -> int:
            return (key * spread + 1) & (1 << 63) - 1

        for number in range(1, 62):
            memory.store(elements + number * 8, 8, number - 1)
        with _memory(8) as key_at:
            for put, key in steps:
                memory.store(key_at, 8, key)
                arguments = (table, entries, elements, 8, 0, key_at, 8, mix(key))
                assert find(*arguments) == (key + 1 if key in held else 0)
                if put and key not in held and len(held) < entries:
                    insert_slot(table, entries, key + 1, mix(key))
                    held.add(key)
                elif not put and key in held:
                    remove_slot(table, entries, find_slot(*arguments), mix(key))
                    held.remove(key)
        listed = []
        slot = next_slot(table, entries, 0)
        while slot:
            listed.append(memory.load(slot, 4) - 1)
            slot = next_slot(table, entries, slot)
        assert sorted(listed) == sorted(held)
        assert bucket_count(entries) * 6 >= 2 * entries


def test_an_element_is_used_again_late() -> None:
    """A freed number comes back only after DELAY others were freed, also when the pool is as full as it may be."""
    capacity, in_use = DELAY + 4, 4
    with _memory(8192 + 4 * capacity) as arena:
        pool, ring = arena + POOL_AT, arena + 8192
        held = [pool_take(arena, pool, ring, capacity, in_use, 1, 0) for _ in range(in_use)]
        assert pool_take(arena, pool, ring, capacity, in_use, 1, 0) == 0
        freed_at: dict[int, int] = {}
        for turn in range(3 * capacity):
            number = pool_take(arena, pool, ring, capacity, 0, 0, 0)
            assert turn - freed_at.get(number, -capacity) >= DELAY
            old = held[turn % in_use]
            held[turn % in_use] = number
            pool_give(arena, pool, ring, capacity, old, 0, 0)
            freed_at[old] = turn
        assert len(set(held)) == in_use


def test_a_lock_is_taken_over_from_the_dead_only() -> None:
    """A lock whose owner does not exist is taken over, and says so; one that is free is just taken."""
    with _memory(64) as word:
        assert lock(word, 0) == 0
        unlock(word)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        memory.store(word, 8, child << 32 | 1)
        assert lock(word, 0) == 1
        assert memory.load(word, 8) != 0


def _work(each: Map, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(400):
        key = draw.randrange(40).to_bytes(each.spec.key_size, "big")
        if each.kind.name == "lpm_trie":
            key = draw.randrange(33).to_bytes(4, "little") + bytes([10, draw.randrange(4), draw.randrange(3), 0])
        try:
            if draw.random() < 0.7:
                each.update(key, draw.randbytes(each.value_stride), draw.choice([0, 0, 1, 2]))
            else:
                each.delete(key)
        except MapError:
            continue


@pytest.mark.parametrize(
    "name", ["hash", "percpu_hash", "lru_hash", "lru_percpu_hash", "array", "percpu_array", "prog_array", "lpm_trie"]
)
def test_machine_code_does_what_python_does(make: Make, name: str) -> None:
    """The same operations leave the same bytes in the arena, compiled or not."""
    key_size, value_size = (8, 8) if name == "lpm_trie" else (4, 4) if name == "prog_array" else (4, 12)
    maps = [make(name, key_size, value_size, 25, compiled=compiled) for compiled in (False, True)]
    for each in maps:
        _work(each, 11)
    assert maps[0].snapshot() == maps[1].snapshot()
    assert bytes(maps[0].arena.view) == bytes(maps[1].arena.view)
    assert maps[0].arena.word(REPAIR_AT) == 0
