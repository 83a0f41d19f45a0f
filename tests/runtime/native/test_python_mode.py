"""Natives under the Python interpreter: wrap-around, memory checks, intrinsics."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InternalError
from runtime.native import (
    MemoryFault,
    atomic_add32,
    bswap16,
    bswap32,
    bswap64,
    call_program,
    cas64,
    clz64,
    ctz64,
    load8,
    load32,
    load64,
    memeq,
    memory,
    memzero,
    mulhi,
    native,
    sext32,
    shr,
    stack_alloc,
    store32,
    store64,
    udiv,
    ult,
    urem,
)
from runtime.native.intrinsics import bound

_BIG = 0x9E37_79B9_7F4A_7C15
_WORD = st.integers(-(1 << 63), (1 << 63) - 1)


def _signed(value: int) -> int:
    return ctypes.c_int64(value).value


@native
def _mix(a: int, b: int) -> int:
    c = a * b + (a << 3) - -b
    c += a
    c *= 7
    return c ^ _BIG


@native
def _sum_to(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


@native
def _scratch(value: int) -> int:
    p = stack_alloc(16)
    store64(p, value)
    store64(p + 8, _sum_to(value))
    return load64(p) + load64(p + 8)


@native
def _twice(ctx: int, env: int) -> int:
    return call_program(ctx, env) + call_program(ctx + 1, env)


@given(_WORD, _WORD)
def test_arithmetic_wraps(a: int, b: int) -> None:
    """Arithmetic of natives is modulo 2**64, and results are signed."""
    c = _signed((a * b + (a << 3) + b + a) * 7)
    assert _mix(a, b) == _signed(c ^ _BIG)


def test_stack_memory_ends_with_the_call() -> None:
    """What stack_alloc gives out is registered during the call only."""
    before = memory.regions()
    assert _scratch(10) == 55
    assert memory.regions() == before


def test_call_program_runs_what_is_bound() -> None:
    """call_program goes to the bound program and is an internal error without one."""
    with bound(lambda ctx, env: ctx * env):
        assert _twice(10, 3) == 63
    with pytest.raises(InternalError):
        _twice(1, 1)


def test_memory_is_checked() -> None:
    """Accesses that leave a region, or write a read-only one, fault with address and size."""
    buffer = ctypes.create_string_buffer(b"\x01\x02\x03\x04\x05\x06\x07\x88", 8)
    p = ctypes.addressof(buffer)
    with memory.registered(p, 8, buffer):
        assert load64(p) == _signed(0x8807060504030201)
        assert load32(p + 1) == 0x05040302
        store32(p + 4, -1)
        assert load8(p + 7) == 255
        with pytest.raises(MemoryFault) as caught:
            load64(p + 1)
        assert (caught.value.address, caught.value.size, caught.value.write) == (p + 1, 8, False)
        with pytest.raises(MemoryFault):
            memzero(p - 1, 2)
        with pytest.raises(InternalError):
            memory.register(p + 4, 8, buffer)
    with pytest.raises(MemoryFault):
        load8(p)
    with memory.registered(p, 8, buffer, writable=False):
        assert load8(p) == 1
        with pytest.raises(MemoryFault):
            store64(p, 0)


def test_atomics_return_the_old_word() -> None:
    """Read-modify-write intrinsics return what was there."""
    buffer = ctypes.create_string_buffer(16)
    p = ctypes.addressof(buffer)
    with memory.registered(p, 16, buffer):
        assert atomic_add32(p, -1) == 0
        assert atomic_add32(p, 2) == 0xFFFF_FFFF
        assert load64(p) == 1
        assert cas64(p, 1, -5) == 1
        assert cas64(p, 1, 9) == -5
        assert load64(p) == -5
        assert memeq(p, p + 8, 8) == 0
        assert memeq(p, p + 8, 0) == 1


@given(_WORD, _WORD)
def test_unsigned_intrinsics(a: int, b: int) -> None:
    """Unsigned order, division, product and shift agree with Python on the unsigned words."""
    u, v = a % (1 << 64), b % (1 << 64)
    assert ult(a, b) == int(u < v)
    assert udiv(a, b) == (_signed(u // v) if v else 0)
    assert urem(a, b) == (_signed(u % v) if v else a)
    assert mulhi(a, b) == _signed(u * v >> 64)
    assert shr(a, b) == _signed(u >> (v & 63))
    assert sext32(a) == ctypes.c_int32(a & 0xFFFF_FFFF).value
    assert clz64(a) == len(f"{u:064b}") - len(f"{u:064b}".lstrip("0"))
    assert ctz64(a) == len(f"{u:064b}") - len(f"{u:064b}".rstrip("0"))
    assert bswap64(bswap64(a)) == a
    assert bswap32(a) == bswap64(a << 32) % (1 << 32)
    assert bswap16(a) == bswap32(a << 16) % (1 << 16)
