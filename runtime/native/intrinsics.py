"""What natives are written over, as it behaves under the Python interpreter.

Not here: LLVM (lowering.py gives the same names their machine code). Every value is a signed 64-bit word;
arguments may also be given unsigned. Addresses are real, and checked against `runtime.native.memory`.
"""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from runtime.errors import InternalError
from runtime.native import memory

Entry = Callable[[int, int], int]
EntryAt = Callable[[int, int, int], int]

_MASK32: Final = 0xFFFF_FFFF
_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
_SIGN: Final = 1 << 63
# One lock makes every read-modify-write of every Python thread atomic; other processes are not covered.
_atomic: Final = threading.Lock()
_load: Final = memory.load
_store: Final = memory.store


def _signed(word: int) -> int:
    return ((word + _SIGN) & _MASK64) - _SIGN


def load8(p: int) -> int:
    """The byte at `p`."""
    return _load(p, 1)


def load16(p: int) -> int:
    """The little-endian 16-bit word at `p`, zero-extended; any alignment."""
    return _load(p, 2)


def load32(p: int) -> int:
    """The little-endian 32-bit word at `p`, zero-extended; any alignment."""
    return _load(p, 4)


def load64(p: int) -> int:
    """The little-endian 64-bit word at `p`; any alignment."""
    return _load(p, 8)


def store8(p: int, value: int) -> int:
    """Store the low byte of `value`; returns 0, as all stores do."""
    _store(p, 1, value)
    return 0


def store16(p: int, value: int) -> int:
    """Store the low 16 bits of `value`; any alignment."""
    _store(p, 2, value)
    return 0


def store32(p: int, value: int) -> int:
    """Store the low 32 bits of `value`; any alignment."""
    _store(p, 4, value)
    return 0


def store64(p: int, value: int) -> int:
    """Store all 64 bits of `value`; any alignment."""
    _store(p, 8, value)
    return 0


def memcpy(destination: int, source: int, size: int) -> int:
    """Copy `size` bytes between ranges that do not overlap."""
    memory.write(destination, memory.read(source, size))
    return 0


def memmove(destination: int, source: int, size: int) -> int:
    """Copy `size` bytes; the ranges may overlap."""
    memory.write(destination, memory.read(source, size))
    return 0


def memzero(p: int, size: int) -> int:
    """Clear `size` bytes."""
    memory.fill(p, size)
    return 0


def memeq(a: int, b: int, size: int) -> int:
    """1 when the `size` bytes at `a` and at `b` are equal, else 0."""
    return int(memory.read(a, size) == memory.read(b, size))


def shr(a: int, n: int) -> int:
    """`a` shifted right by `n` mod 64, zeroes coming in."""
    return _signed((a & _MASK64) >> (n & 63))


def ult(a: int, b: int) -> int:
    """1 when a < b as unsigned words, else 0."""
    return int((a & _MASK64) < (b & _MASK64))


def ule(a: int, b: int) -> int:
    """1 when a <= b as unsigned words, else 0."""
    return int((a & _MASK64) <= (b & _MASK64))


def udiv(a: int, b: int) -> int:
    """A / b, unsigned; 0 when b is 0."""
    return _signed((a & _MASK64) // (b & _MASK64)) if b & _MASK64 else 0


def urem(a: int, b: int) -> int:
    """A mod b, unsigned; a when b is 0."""
    return _signed((a & _MASK64) % (b & _MASK64)) if b & _MASK64 else _signed(a)


def mulhi(a: int, b: int) -> int:
    """The high word of the unsigned 128-bit product."""
    return _signed((a & _MASK64) * (b & _MASK64) >> 64)


def bswap16(a: int) -> int:
    """The low two bytes of `a` in the other order, zero-extended."""
    return (a >> 8 & 0xFF) | (a & 0xFF) << 8


def bswap32(a: int) -> int:
    """The low four bytes of `a` in the other order, zero-extended."""
    return int.from_bytes((a & _MASK32).to_bytes(4, "little"), "big")


def bswap64(a: int) -> int:
    """The bytes of `a` in the other order."""
    return int.from_bytes((a & _MASK64).to_bytes(8, "little"), "big", signed=True)


def clz64(a: int) -> int:
    """How many leading bits of `a` are 0; 64 for 0."""
    return 64 - (a & _MASK64).bit_length()


def ctz64(a: int) -> int:
    """How many trailing bits of `a` are 0; 64 for 0."""
    word = a & _MASK64
    return (word & -word).bit_length() - 1 if word else 64


def popcount64(a: int) -> int:
    """How many bits of `a` are 1."""
    return (a & _MASK64).bit_count()


def sext32(a: int) -> int:
    """The low 32 bits of `a`, sign-extended."""
    return ((a + 0x8000_0000) & _MASK32) - 0x8000_0000


def zext32(a: int) -> int:
    """The low 32 bits of `a`, zero-extended."""
    return a & _MASK32


def _update(p: int, width: int, change: Callable[[int], int]) -> int:
    with _atomic:
        old = _load(p, width)
        _store(p, width, change(old))
    return old


def atomic_add64(p: int, value: int) -> int:
    """Add to the aligned word at `p` in one step; returns the old one."""
    return _update(p, 8, lambda old: old + value)


def atomic_add32(p: int, value: int) -> int:
    """As atomic_add64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda old: old + value)


def atomic_and64(p: int, value: int) -> int:
    """AND into the aligned word at `p` in one step; returns the old one."""
    return _update(p, 8, lambda old: old & value)


def atomic_and32(p: int, value: int) -> int:
    """As atomic_and64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda old: old & value)


def atomic_or64(p: int, value: int) -> int:
    """OR into the aligned word at `p` in one step; returns the old one."""
    return _update(p, 8, lambda old: old | value)


def atomic_or32(p: int, value: int) -> int:
    """As atomic_or64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda old: old | value)


def atomic_xor64(p: int, value: int) -> int:
    """XOR into the aligned word at `p` in one step; returns the old one."""
    return _update(p, 8, lambda old: old ^ value)


def atomic_xor32(p: int, value: int) -> int:
    """As atomic_xor64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda old: old ^ value)


def xchg64(p: int, value: int) -> int:
    """Replace the aligned word at `p` in one step; returns the old one."""
    return _update(p, 8, lambda _: value)


def xchg32(p: int, value: int) -> int:
    """As xchg64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda _: value)


def cas64(p: int, expected: int, value: int) -> int:
    """Store `value` in the aligned word at `p` if it holds `expected`, in one step; returns what it held."""
    return _update(p, 8, lambda old: value if old == _signed(expected) else old)


def cas32(p: int, expected: int, value: int) -> int:
    """As cas64, on 32 bits; the old word is zero-extended."""
    return _update(p, 4, lambda old: value if old == expected & _MASK32 else old)


def load_acquire64(p: int) -> int:
    """The aligned word at `p`; later accesses stay behind it."""
    return _load(p, 8)


def load_acquire32(p: int) -> int:
    """The aligned 32-bit word at `p`, zero-extended; later accesses stay behind it."""
    return _load(p, 4)


def store_release64(p: int, value: int) -> int:
    """Store the aligned word at `p`; earlier accesses stay before it."""
    _store(p, 8, value)
    return 0


def store_release32(p: int, value: int) -> int:
    """Store the aligned 32-bit word at `p`; earlier accesses stay before it."""
    _store(p, 4, value)
    return 0


def fence() -> int:
    """Keep memory accesses on their sides of this point, for all threads."""
    return 0


def pause() -> int:
    """Let somebody else go first, inside a loop that waits."""
    time.sleep(0)
    return 0


def prefetch(p: int) -> int:  # noqa: ARG001
    """Ask for the cache line at `p`; any address is allowed."""
    return 0


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def clock_ns(clock: int) -> int:
    """The clock with that number (clock_gettime(2)) in nanoseconds."""
    return time.clock_gettime_ns(clock)


def process_alive(pid: int) -> int:
    """1 while a process with that id runs, also when it is not ours, else 0; one that only awaits its parent is dead."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    except OSError:
        return _answers(pid)
    try:
        watch = select.poll()
        watch.register(descriptor, select.POLLIN)
        return int(not watch.poll(0))
    finally:
        os.close(descriptor)


def _answers(pid: int) -> int:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        return 1
    return 1


@cache
def _system() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def syscall(number: int, a0: int, a1: int, a2: int, a3: int, a4: int, a5: int) -> int:
    """The system call of that number on this machine, with six words; what it returns, or minus its errno."""
    result = _system()(*map(ctypes.c_long, (number, a0, a1, a2, a3, a4, a5)))
    return -ctypes.get_errno() if result == -1 else result


def likely(x: int) -> int:
    """`x`, with the promise that it is almost always true."""
    return x


def unlikely(x: int) -> int:
    """`x`, with the promise that it is almost always 0."""
    return x


class _Bound(threading.local):
    """What call_program and call_entry mean on this thread, and the stack_alloc buffers in use."""

    def __init__(self) -> None:
        self.program: Entry | None = None
        self.entry: EntryAt | None = None
        self.stack: list[int] = []


_bound: Final = _Bound()


@contextmanager
def bound(program: Entry, entry: EntryAt | None = None) -> Iterator[None]:
    """Within the block, on this thread, call_program runs `program` and call_entry runs `entry`."""
    before = _bound.program, _bound.entry
    _bound.program, _bound.entry = program, entry
    try:
        yield
    finally:
        _bound.program, _bound.entry = before


def call_program(context: int, environment: int) -> int:
    """Run the program that the driver was linked with (under Python: `bound` to) and return its r0."""
    if _bound.program is None:
        raise InternalError("call_program outside of an engine")
    return _signed(_bound.program(context, environment))


def call_entry(address: int, context: int, environment: int) -> int:
    """Call the native entry of some program by address and return its r0."""
    if _bound.entry is None:
        raise InternalError("call_entry outside of an engine")
    return _signed(_bound.entry(address, context, environment))


def stack_alloc(size: int) -> int:
    """The address of `size` bytes (a constant) that live until the calling native returns; not cleared."""
    buffer = (ctypes.c_uint64 * ((size + 7) // 8))()
    address = ctypes.addressof(buffer)
    memory.register(address, size, buffer)
    _bound.stack.append(address)
    return address


@contextmanager
def stack_frame() -> Iterator[None]:
    """Frees what stack_alloc gave out within the block; wraps every native that calls it."""
    depth = len(_bound.stack)
    try:
        yield
    finally:
        for address in _bound.stack[depth:]:
            memory.unregister(address)
        del _bound.stack[depth:]


INTRINSICS: Final = (
    atomic_add32,
    atomic_add64,
    atomic_and32,
    atomic_and64,
    atomic_or32,
    atomic_or64,
    atomic_xor32,
    atomic_xor64,
    bswap16,
    bswap32,
    bswap64,
    call_entry,
    call_program,
    cas32,
    cas64,
    clock_ns,
    clz64,
    ctz64,
    fence,
    likely,
    load8,
    load16,
    load32,
    load64,
    load_acquire32,
    load_acquire64,
    memcpy,
    memeq,
    memmove,
    memzero,
    monotonic_ns,
    mulhi,
    pause,
    popcount64,
    prefetch,
    process_alive,
    sext32,
    shr,
    stack_alloc,
    store8,
    store16,
    store32,
    store64,
    store_release32,
    store_release64,
    syscall,
    udiv,
    ule,
    ult,
    unlikely,
    urem,
    xchg32,
    xchg64,
    zext32,
)
"""Every intrinsic; what lowering.py must know, name by name."""
