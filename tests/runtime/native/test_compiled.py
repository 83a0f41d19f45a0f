"""Compiled natives against the same natives under Python, intrinsic by intrinsic."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import native as n
from runtime.errors import InternalError
from runtime.native import intrinsics, memory, native
from runtime.native.library import Library, library
from runtime.native.references import closure

_SIZE = 64
_READ = {"aarch64": 63}.get(platform.machine(), 0)
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_WORD = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-3, 70))
load8, load16, load32, load64 = n.load8, n.load16, n.load32, n.load64
store8, store16, store32, store64 = n.store8, n.store16, n.store32, n.store64
memcpy, memmove, memzero, memeq = n.memcpy, n.memmove, n.memzero, n.memeq
shr, ult, ule, udiv, urem, mulhi = n.shr, n.ult, n.ule, n.udiv, n.urem, n.mulhi
bswap16, bswap32, bswap64, clz64, ctz64, popcount64 = n.bswap16, n.bswap32, n.bswap64, n.clz64, n.ctz64, n.popcount64
sext32, zext32, likely, unlikely, stack_alloc = n.sext32, n.zext32, n.likely, n.unlikely, n.stack_alloc
atomic_add32, atomic_add64, atomic_and32, atomic_and64 = n.atomic_add32, n.atomic_add64, n.atomic_and32, n.atomic_and64
atomic_or32, atomic_or64, atomic_xor32, atomic_xor64 = n.atomic_or32, n.atomic_or64, n.atomic_xor32, n.atomic_xor64
xchg32, xchg64, cas32, cas64 = n.xchg32, n.xchg64, n.cas32, n.cas64
load_acquire32, load_acquire64 = n.load_acquire32, n.load_acquire64
store_release32, store_release64 = n.store_release32, n.store_release64
fence, pause, prefetch = n.fence, n.pause, n.prefetch
monotonic_ns, clock_ns, process_alive, call_entry = n.monotonic_ns, n.clock_ns, n.process_alive, n.call_entry
syscall = n.syscall


class _Field(IntEnum):
    FIRST = 0
    SECOND = 8


@native
def _words(a: int, b: int, which: int) -> int:
    if which == 0:
        return shr(a, b)
    if which == 1:
        return ult(a, b) | ule(a, b) << 1
    if which == 2:
        return udiv(a, b)
    if which == 3:
        return urem(a, b)
    if which == 4:
        return mulhi(a, b)
    if which == 5:
        return bswap16(a) ^ bswap32(b) ^ bswap64(a)
    if which == 6:
        return clz64(a) + 100 * ctz64(a) + 10000 * popcount64(a)
    if which == 7:
        return sext32(a) ^ zext32(b)
    if which == 8:
        return (a * b + (a << 5) - b ^ _GOLDEN) + (a ^ -9223372036854775808) + (b ^ -0x9E37_79B9_7F4A_7C15)
    if which == 9:
        return a // 7 + a % 7 + (a >> 3) - (~b & 0xFFFF_FFFF_0000_0000)
    if which == 10:
        return likely(ult(a, b)) + 2 * unlikely(a == b) + 4 * (not a)
    return min_of(a, b) if a and b else -a


@native
def min_of(a: int, b: int) -> int:
    """The lesser, signed."""
    return min(b, a)


@native
def _memory(p: int, at: int, value: int, which: int) -> int:
    if which == 0:
        store8(p + at, value)
        store16(p + at + 9, value)
        return load8(p + at + 9) + load16(p + at)
    if which == 1:
        store32(p + at, value)
        store64(p + 5 + at, value)
        return load32(at + p) ^ load64(p - 1 + at + 1)
    if which == 2:
        memcpy(p + 32, p, 32)
        memzero(p + at, 3)
        return memeq(p, p + 32, 13) + 2 * memeq(p, p + 32, at)
    if which == 3:
        memmove(p + at, p, 40)
        return 0
    q = p + 8 * _Field.SECOND // 8
    old = atomic_add32(q, value) + atomic_and32(q, value) + atomic_or32(q, at) + atomic_xor32(q, value)
    old += xchg32(q + 8, value) + cas32(q + 8, value & 0xFFFF_FFFF, at)
    q += 16
    old += atomic_add64(q, value) + atomic_and64(q, value) + atomic_or64(q, at) + atomic_xor64(q, value)
    old += xchg64(q + _Field.SECOND, value) + cas64(q + 8, value, at) + cas64(q + 8, value, at)
    fence()
    store_release32(p, load_acquire32(p + 4))
    store_release64(p + 48, load_acquire64(p + 56))
    prefetch(p + 100_000)
    pause()
    return old


@native
def _own_stack(value: int, rounds: int) -> int:
    total = 0
    for i in range(rounds):
        p = stack_alloc(2 * 8)
        store64(p, value + i)
        store64(p + 8, 1)
        total += load64(p) * load64(p + 8)
    return total


@native
def _clocks() -> int:
    return clock_ns(1) - monotonic_ns()


@native
def _alive(pid: int) -> int:
    return process_alive(pid)


@native
def _call(number: int, a: int, b: int, c: int) -> int:
    return syscall(number, a, b, c, 0, 0, 0)


@native
def _through(address: int, a: int, b: int) -> int:
    return call_entry(address, a, b)


@native
def _count(p: int, rounds: int) -> int:
    for _ in range(rounds):
        atomic_add64(p, 1)
    return load64(p)


_ALL = (_words, min_of, _memory, _own_stack, _clocks, _alive, _call, _through, _count)


@pytest.fixture(scope="module")
def buffer() -> Iterator[ctypes.Array[ctypes.c_char]]:
    """64 bytes that natives may touch in both modes."""
    made = ctypes.create_string_buffer(_SIZE + 8)
    made_at = ctypes.addressof(made) + 7 & ~7
    memory.register(made_at, _SIZE, made)
    yield (ctypes.c_char * _SIZE).from_address(made_at)
    memory.unregister(made_at)


@pytest.fixture(scope="module")
def compiled() -> Library:
    """All natives of this file."""
    return library(_ALL)


@given(_WORD, _WORD, st.integers(0, 11))
def test_words(compiled: Library, a: int, b: int, which: int) -> None:
    """Arithmetic gives the same compiled and under Python."""
    assert compiled[_words](a, b, which) == _words(a, b, which)


@given(st.binary(min_size=_SIZE, max_size=_SIZE), st.integers(0, 16), _WORD, st.integers(0, 4))
def test_memory(
    compiled: Library, buffer: ctypes.Array[ctypes.c_char], data: bytes, at: int, value: int, which: int
) -> None:
    """Loads, stores, copies and atomics give the same bytes and results compiled and under Python."""
    address = ctypes.addressof(buffer)
    buffer.raw = data
    expected = _memory(address, at, value, which), buffer.raw
    buffer.raw = data
    assert (compiled[_memory](address, at, value, which), buffer.raw) == expected


def test_system_calls(compiled: Library, buffer: ctypes.Array[ctypes.c_char]) -> None:
    """A system call gets its words and gives its result, or its error with a minus, compiled and under Python."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        for call in (compiled[_call], _call):
            buffer.raw = bytes(_SIZE)
            assert call(_READ, reader, ctypes.addressof(buffer), 8) == -errno.EAGAIN
            os.write(writer, b"words")
            assert call(_READ, reader, ctypes.addressof(buffer), 8) == 5
            assert buffer.raw[:6] == b"words\0"
            assert call(_READ, -1, 0, 0) == -errno.EBADF
    finally:
        os.close(reader)
        os.close(writer)


def test_every_intrinsic_is_covered() -> None:
    """The natives of this file use every intrinsic but call_program, which needs an engine."""
    used = {name for each in closure(_ALL) for name in each.python.__code__.co_names}
    assert {f.__name__ for f in intrinsics.INTRINSICS} - used == {"call_program"}


def test_stack_memory() -> None:
    """stack_alloc gives the same memory in every round of a loop."""
    assert library(_ALL)[_own_stack](5, 3) == _own_stack(5, 3) == 18


def test_the_system(compiled: Library) -> None:
    """Clocks, processes and calls through an address reach the system."""
    assert 0 >= compiled[_clocks]() > -(10**9)
    assert compiled[_alive](os.getpid()) == _alive(os.getpid()) == 1
    assert compiled[_alive](1) == _alive(1) == 1
    assert compiled[_alive](4194304 + 77) == _alive(4194304 + 77) == 0
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has collected it
    assert compiled[_alive](ended.pid) == _alive(ended.pid) == 0
    ended.wait()
    assert compiled[_through](compiled.address(min_of), 3, -4) == -4
    assert abs(monotonic_ns() - time.monotonic_ns()) < 10**9


def test_atomics_across_threads(buffer: ctypes.Array[ctypes.c_char]) -> None:
    """Compiled atomics lose nothing when threads, which run without the interpreter's lock, add to one word."""
    buffer.raw = bytes(_SIZE)
    call, address = library(_ALL)[_count], ctypes.addressof(buffer)
    threads = [threading.Thread(target=call, args=(address, 100_000)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert load64(address) == 400_000


def test_a_library_is_made_once() -> None:
    """Asking again for the same natives gives the same library; a native outside it is an internal error."""
    assert library(_ALL) is library(reversed(_ALL))
    with pytest.raises(InternalError):
        library((min_of,))[_words]
