"""The helpers that only XDP programs have: rows, and the natives that carry them out.

Not here: map, time and checksum helpers, which every program type shares. Limits and error numbers are the kernel's
(net/core/filter.c).
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Final

from runtime.helpers import linux_helper
from runtime.native import load64, memcpy, memmove, memzero, native, sext32, store64
from runtime.spec import Env, Helper, MapOp

__all__ = ["REDIRECT_INTERFACE", "XDP_HELPERS", "XDP_HELPER_NUMBERS"]

_DATA: Final = 0
_DATA_END: Final = 8
_DATA_META: Final = 16
_HARD_START: Final = 48
_HARD_END: Final = 56
_LOWEST: Final = 64

_EINVAL: Final = -errno.EINVAL
_EACCES: Final = -errno.EACCES
_EFAULT: Final = -errno.EFAULT
_ETH_HLEN: Final = 14
_RESERVED: Final = 40
_MAX_META: Final = 252
_MAX_BYTES: Final = 0xFFFF
_ABORTED: Final = 0
_REDIRECT: Final = 4


REDIRECT_INTERFACE: Final = int(Env.EXTENSION)
"""Where redirect leaves the interface index, a byte offset in the environment."""

_REDIRECT_FLAGS: Final = int(Env.EXTENSION) + 8


@native
def _uncover(ctx: int, start: int) -> int:
    """Bytes in front of the packet are zero when they are seen first: what lay there was another frame's."""
    lowest = load64(ctx + _LOWEST)
    if start < lowest:
        memzero(start, lowest - start)
        store64(ctx + _LOWEST, start)
    return 0


@native
def adjust_head(env: int, ctx: int, delta: int) -> int:
    """Move the start of the packet; metadata moves along."""
    shift = sext32(delta)
    data = load64(ctx + _DATA)
    meta = load64(ctx + _DATA_META)
    new = data + shift
    size = data - meta
    if new < load64(ctx + _HARD_START) + _RESERVED + size or new > load64(ctx + _DATA_END) - _ETH_HLEN:
        return _EINVAL
    _uncover(ctx, meta + shift)
    if size > 0:
        memmove(meta + shift, meta, size)
    store64(ctx + _DATA_META, meta + shift)
    store64(ctx + _DATA, new)
    return 0


@native
def adjust_tail(env: int, ctx: int, delta: int) -> int:
    """Move the end of the packet; bytes that it gains are zero."""
    shift = sext32(delta)
    end = load64(ctx + _DATA_END)
    new = end + shift
    if new > load64(ctx + _HARD_END) or new < load64(ctx + _DATA) + _ETH_HLEN:
        return _EINVAL
    if shift > 0:
        memzero(end, shift)
    store64(ctx + _DATA_END, new)
    return 0


@native
def adjust_meta(env: int, ctx: int, delta: int) -> int:
    """Make or take back room for metadata in front of the packet."""
    data = load64(ctx + _DATA)
    new = load64(ctx + _DATA_META) + sext32(delta)
    if new < load64(ctx + _HARD_START) + _RESERVED or new > data:
        return _EINVAL
    size = data - new
    if size & 3 != 0 or size > _MAX_META:
        return _EACCES
    _uncover(ctx, new)
    store64(ctx + _DATA_META, new)
    return 0


@native
def get_buff_len(env: int, ctx: int) -> int:
    """The packet's length."""
    return load64(ctx + _DATA_END) - load64(ctx + _DATA)


@native
def load_bytes(env: int, ctx: int, offset: int, buffer: int, size: int) -> int:
    """Copy bytes out of the packet."""
    at = offset & 0xFFFFFFFF
    count = size & 0xFFFFFFFF
    data = load64(ctx + _DATA)
    if at > _MAX_BYTES or count > _MAX_BYTES:
        return _EFAULT
    if at + count > load64(ctx + _DATA_END) - data:
        return _EINVAL
    memcpy(buffer, data + at, count)
    return 0


@native
def store_bytes(env: int, ctx: int, offset: int, buffer: int, size: int) -> int:
    """Copy bytes into the packet."""
    at = offset & 0xFFFFFFFF
    count = size & 0xFFFFFFFF
    data = load64(ctx + _DATA)
    if at > _MAX_BYTES or count > _MAX_BYTES:
        return _EFAULT
    if at + count > load64(ctx + _DATA_END) - data:
        return _EINVAL
    memcpy(data + at, buffer, count)
    return 0


@native
def redirect(env: int, ifindex: int, flags: int) -> int:
    """Note the interface that the frame goes to; no flags are defined."""
    if flags != 0:
        return _ABORTED
    store64(env + REDIRECT_INTERFACE, ifindex & 0xFFFFFFFF)
    store64(env + _REDIRECT_FLAGS, 0)
    return _REDIRECT


XDP_HELPERS: Final[tuple[Helper, ...]] = (
    replace(linux_helper(23), name="redirect", native=redirect),
    replace(linux_helper(44), name="xdp_adjust_head", native=adjust_head, moves_packet=True),
    replace(linux_helper(51), name="redirect_map", map_op=MapOp.REDIRECT),
    replace(linux_helper(54), name="xdp_adjust_meta", native=adjust_meta, moves_packet=True),
    replace(linux_helper(65), name="xdp_adjust_tail", native=adjust_tail, moves_packet=True),
    replace(linux_helper(188), name="xdp_get_buff_len", native=get_buff_len),
    replace(linux_helper(189), name="xdp_load_bytes", native=load_bytes),
    replace(linux_helper(190), name="xdp_store_bytes", native=store_bytes, writes_packet=True),
)

XDP_HELPER_NUMBERS: Final = frozenset({
    *(1, 2, 3, 5, 6, 7, 8, 12, 42, 87, 88, 89, 93, 94, 105, 106, 118, 125, 160, 164, 181, 182, 195, 208),
    *(23, 25, 28, 44, 51, 54, 65, 69, 84, 85, 86, 99, 100, 110, 163, 188, 189, 190, 204, 205, 206, 207),
    *(112, 113, 114, 115, 130, 131, 132, 133, 134, 149, 153, 154, 165, 169, 170, 171, 172, 177, 194, 209),
    *(197, 198, 199, 200, 201, 202, 203),
})  # fmt: skip
"""What Linux lets XDP programs call: the base set, then the hook's own, then those that need tracing privileges."""
