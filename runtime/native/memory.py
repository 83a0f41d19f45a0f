"""The memory that natives may touch under the Python interpreter: a table of regions at real addresses.

Not here: allocation. Owners register what they own; compiled natives never look at this table.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from contextlib import contextmanager
from struct import Struct
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, final

from runtime.errors import InternalError, MemoryFault

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MemoryFault", "fill", "load", "read", "regions", "register", "registered", "store", "unregister", "write"]

_LOADS: Final = {
    1: Struct("<B").unpack_from,
    2: Struct("<H").unpack_from,
    4: Struct("<I").unpack_from,
    8: Struct("<q").unpack_from,
}
_STORES: Final = {
    1: Struct("<B").pack_into,
    2: Struct("<H").pack_into,
    4: Struct("<I").pack_into,
    8: Struct("<Q").pack_into,
}
_MASKS: Final = {width: (1 << 8 * width) - 1 for width in _STORES}


@final
class _Region:
    """`size` bytes at `base`; `buffer` is only kept alive."""

    __slots__ = ("base", "buffer", "size", "view", "writable")

    def __init__(self, base: int, size: int, buffer: object, *, writable: bool) -> None:
        self.base = base
        self.size = size
        self.buffer = buffer
        self.writable = writable
        self.view = memoryview((ctypes.c_ubyte * size).from_address(base)).cast("B")


_NOWHERE: Final = _Region(0, 0, None, writable=False)
_change: Final = Lock()
# Replaced as a whole, so that readers need no lock: the sorted bases, their regions.
_table: tuple[tuple[int, ...], tuple[_Region, ...]] = ((), ())
_last: _Region = _NOWHERE


def register(address: int, size: int, buffer: object = None, *, writable: bool = True) -> None:
    """Let natives under Python touch `size` bytes at `address`.

    `buffer` is whatever keeps the memory in being; the table holds on to it until `unregister`. Unregister
    before memory is unmapped. Raises InternalError when the region is empty or overlaps another.
    """
    global _table  # noqa: PLW0603 - one table for the one address space of the process
    if size <= 0:
        raise InternalError(f"region of {size} bytes at {address:#x}")
    with _change:
        bases, found = _table
        at = bisect_right(bases, address)
        if (at and bases[at - 1] + found[at - 1].size > address) or (at < len(bases) and address + size > bases[at]):
            raise InternalError(f"region [{address:#x}, {address + size:#x}) overlaps a registered one")
        region = _Region(address, size, buffer, writable=writable)
        _table = ((*bases[:at], address, *bases[at:]), (*found[:at], region, *found[at:]))


def unregister(address: int) -> None:
    """Forget the region that starts at `address`; nothing happens when there is none."""
    global _table, _last  # noqa: PLW0603
    with _change:
        bases, found = _table
        at = bisect_right(bases, address) - 1
        if at < 0 or bases[at] != address:
            return
        _table = (bases[:at] + bases[at + 1 :], found[:at] + found[at + 1 :])
        _last = _NOWHERE


@contextmanager
def registered(address: int, size: int, buffer: object = None, *, writable: bool = True) -> Iterator[None]:
    """Register a region for the duration of a with block."""
    register(address, size, buffer, writable=writable)
    try:
        yield
    finally:
        unregister(address)


def regions() -> tuple[tuple[int, int, bool], ...]:
    """All regions in order of address: (address, size, writable)."""
    return tuple((each.base, each.size, each.writable) for each in _table[1])


def _find(address: int, size: int, *, writes: bool) -> _Region:
    global _last  # noqa: PLW0603
    bases, found = _table
    at = bisect_right(bases, address) - 1
    if at < 0 or size < 0 or address + size > bases[at] + found[at].size or (writes and not found[at].writable):
        raise MemoryFault(address=address, size=size, write=writes)
    _last = found[at]
    return _last


def load(address: int, width: int) -> int:
    """The little-endian word of `width` bytes (1, 2, 4, 8) at `address`: zero-extended, 8 bytes signed.

    Raises MemoryFault outside the registered regions.
    """
    region = _last
    offset = address - region.base
    if offset < 0 or offset + width > region.size:
        region = _find(address, width, writes=False)
        offset = address - region.base
    value: int = _LOADS[width](region.view, offset)[0]
    return value


def store(address: int, width: int, value: int) -> None:
    """Store the low `width` bytes (1, 2, 4, 8) of `value`; raises MemoryFault, also for read-only regions."""
    region = _last
    offset = address - region.base
    if offset < 0 or offset + width > region.size or not region.writable:
        region = _find(address, width, writes=True)
        offset = address - region.base
    _STORES[width](region.view, offset, value & _MASKS[width])


def read(address: int, size: int) -> bytes:
    """Copy `size` bytes out; raises MemoryFault."""
    if size == 0:
        return b""
    region = _find(address, size, writes=False)
    offset = address - region.base
    return bytes(region.view[offset : offset + size])


def write(address: int, data: bytes | bytearray | memoryview[Any]) -> None:
    """Copy bytes in; raises MemoryFault."""
    if len(data) == 0:
        return
    region = _find(address, len(data), writes=True)
    offset = address - region.base
    region.view[offset : offset + len(data)] = data


def fill(address: int, size: int, byte: int = 0) -> None:
    """Set `size` bytes to `byte`; raises MemoryFault."""
    write(address, bytes([byte]) * size)
