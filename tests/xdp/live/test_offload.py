"""Offload headers move with the starts of their frames."""

from __future__ import annotations

import ctypes
import struct

import numpy as np

from xdp.live.offload import moved_headers


def test_places_move_by_what_the_frame_grew_in_front() -> None:
    """Header length and checksum start move where they mean something; frames without a header or move keep what they had."""
    headers = [
        struct.pack("<BBHHHH", 1, 1, 66, 1448, 34, 16),
        struct.pack("<BBHHHH", 1, 1, 66, 1448, 34, 16),
        struct.pack("<BBHHHH", 0, 5, 0, 1448, 7, 6),
        struct.pack("<BBHHHH", 1, 1, 10, 1448, 4, 16),
    ]
    memory = ctypes.create_string_buffer(b"".join(headers), 40)
    start = ctypes.addressof(memory)
    offloads = np.array([start, 0, start + 10, start + 20, start + 30], np.uint64)
    found, kept = moved_headers(offloads, np.array([20, 20, 0, -4, -20], np.int64))
    assert found[1:3].tolist() == offloads[1:3].tolist()
    words = [struct.unpack("<BBHHHH", ctypes.string_at(int(found[i]), 10)) for i in (0, 3, 4)]
    assert words == [(1, 1, 86, 1448, 54, 16), (0, 5, 0, 1448, 7, 6), (1, 1, 0, 1448, 0, 16)]
    assert memory.raw == b"".join(headers)
    assert kept is not None


def test_nothing_is_copied_when_nothing_moved() -> None:
    """The addresses are the same, and no memory is made."""
    offloads = np.array([0, 5], np.uint64)
    found, kept = moved_headers(offloads, np.array([9, 0], np.int64))
    assert found is offloads
    assert kept is None
