"""Offload headers of frames that a program moved: what they say of places in the frame moves along.

A frame with such a header (struct virtio_net_hdr) is one that a virtual link has not yet cut into segments. When a program
puts n bytes in front of it (or takes them away), the transport header lies n bytes further on, and so does the end of the
headers that each segment repeats. What the program wrote there is its own affair: a header that the device cannot segment by is
refused by the device, and counted.

Not here: checksums of frames that need no segmentation; ports complete them before a program sees them.
"""

from __future__ import annotations

import ctypes
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["moved_headers"]

_SIZE: Final = 10
_HDR_LEN: Final = 1  # in 16-bit words
_CSUM_START: Final = 3
_NEEDS_CSUM: Final = 1
_LARGEST: Final = 0xFFFF


def moved_headers(
    offloads: NDArray[np.uint64], moved: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint16] | None]:
    """Addresses of headers that fit frames whose starts moved forward by so many bytes, and the memory of new ones."""
    rows = np.nonzero((offloads != 0) & (moved != 0))[0]
    if not len(rows):
        return offloads, None
    made = _words(offloads[rows])
    by = moved[rows]
    _move(made, _HDR_LEN, by, made[:, _HDR_LEN] != 0)
    _move(made, _CSUM_START, by, made[:, 0] & _NEEDS_CSUM != 0)
    found = offloads.copy()
    found[rows] = int(made.__array_interface__["data"][0]) + np.arange(len(rows), dtype=np.uint64) * np.uint64(_SIZE)
    return found, made


def _words(addresses: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Copies of the headers at these addresses, a row each."""
    first = int(addresses.min())
    span = int(addresses.max()) - first + _SIZE
    memory = np.ctypeslib.as_array((ctypes.c_uint8 * span).from_address(first))  # nothing between headers is touched
    offsets = (addresses - np.uint64(first)).astype(np.int64)
    words: NDArray[np.uint16] = memory[offsets[:, None] + np.arange(_SIZE)].view(np.uint16)
    return words


def _move(made: NDArray[np.uint16], word: int, by: NDArray[np.int64], where: NDArray[np.bool_]) -> None:
    """Add to a word of those headers where it means something."""
    moved = np.clip(made[:, word].astype(np.int64) + by, 0, _LARGEST)
    made[:, word] = np.where(where, moved, made[:, word])
