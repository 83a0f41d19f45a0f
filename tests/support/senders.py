"""Frames sent fast: a transmit ring of a packet socket, and the kernel's test run with live frames.

    with client.entered():
        sender = RingSender("eth0", frames)       # the frames lie in the ring; sending costs Python once a burst
    sender.send(100_000)

    with middle.entered():
        sender = LiveFrames("a", frame)           # enters the stack as if received on a; several million a second
        sender.send(1 << 20)

Both must be made (LiveFrames also used) inside the interface's namespace.

Not here: receiving, and what the frames mean.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np

from tests.support import kernel_programs
from tests.support.kernel_maps import SYSCALL, bpf, libc

_SOL_PACKET = 263
_VERSION, _TX_RING, _LOSS, _VNET_HDR, _QDISC_BYPASS = 10, 13, 14, 15, 20
_TPACKET_V2 = 1
_HEAD = 32  # tpacket2_hdr
_VIRTIO = 10
_BLOCK = 1 << 16
_AVAILABLE, _SEND_REQUEST = 0, 1


@final
class RingSender:
    """A transmit ring with qdisc bypass whose slots hold the frames over and over.

    The virtio header claims that the whole frame is header, so the kernel copies it into the head of its buffer; a frame in page
    fragments would be copied once more by veth.
    """

    def __init__(self, interface: str, frames: Sequence[bytes], *, slots: int = 4096) -> None:
        self.slots = slots
        self.refused = 0
        slot = 1 << (max(map(len, frames)) + _HEAD + _VIRTIO - 1).bit_length()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option, value in ((_QDISC_BYPASS, 1), (_VERSION, _TPACKET_V2), (_VNET_HDR, 1), (_LOSS, 1)):
            self._socket.setsockopt(_SOL_PACKET, option, value)
        block = max(slot, min(_BLOCK, slots * slot))
        request = struct.pack("<4I", block, slots * slot // block, slot, slots)
        self._socket.setsockopt(_SOL_PACKET, _TX_RING, request)
        self._memory = mmap.mmap(self._socket.fileno(), slots * slot)
        self._socket.bind((interface, 0))
        heads = np.frombuffer(self._memory, np.uint32).reshape(slots, slot // 4)
        self._status, self._lengths = heads[:, 0], heads[:, 1]
        self._sizes = np.zeros(slots, np.uint32)
        for index in range(slots):
            frame = frames[index % len(frames)]
            start = index * slot + _HEAD
            head = struct.pack("<BBHHHH", 0, 0, len(frame), 0, 0, 0)
            self._memory[start : start + _VIRTIO + len(frame)] = head + frame
            self._sizes[index] = _VIRTIO + len(frame)
        self._next = 0

    def send(self, count: int) -> int:
        """Send so many frames, from where the last call ended; returns how many the device took."""
        left, refused = count, self.refused
        while left:
            number = min(left, self.slots - self._next)
            self._burst(slice(self._next, self._next + number))
            self._next = (self._next + number) % self.slots
            left -= number
        return count - (self.refused - refused)

    def _burst(self, part: slice) -> None:
        status = self._status[part]
        deadline = time.monotonic() + 5.0
        while status.any():  # what the device has not let go of yet
            assert time.monotonic() < deadline, "the transmit ring does not move"
            time.sleep(0)
        self._lengths[part] = self._sizes[part]
        status[:] = _SEND_REQUEST
        while (status == _SEND_REQUEST).any():
            try:
                self._socket.send(b"")
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.EAGAIN, errno.ENETDOWN):
                    raise
                if (
                    error.errno != errno.EAGAIN
                ):  # the frame at the head stays there for ever; one without length is skipped
                    self._lengths[part.start + int(np.argmax(status == _SEND_REQUEST))] = 0
                    self.refused += 1

    def paced(self, rate: float, seconds: float, *, burst: int = 32) -> int:
        """Send at that rate for that long; returns how many frames went."""
        start, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - start) < seconds:
            if sent < passed * rate:
                sent += self.send(min(max(burst, int(passed * rate) - sent), self.slots))
            else:
                time.sleep(burst / rate / 4)
        return sent

    def close(self) -> None:
        """Let go of the ring."""
        del self._status, self._lengths
        with contextlib.suppress(BufferError):  # numpy may let go later
            self._memory.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class LiveFrames:
    """BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES: the frame is received on the interface again and again."""

    _LOAD, _RUN, _XDP, _LIVE, _BATCH = 5, 10, 6, 2, 64

    def __init__(self, interface: str, frame: bytes) -> None:
        code = ctypes.create_string_buffer(kernel_programs.move(0, 2) + kernel_programs.EXIT)  # XDP_PASS
        licence = ctypes.create_string_buffer(b"GPL")
        head = struct.pack("<IIQQ", self._XDP, 2, ctypes.addressof(code), ctypes.addressof(licence))
        self._program = bpf(self._LOAD, head)
        self._frame = ctypes.create_string_buffer(frame, len(frame))
        number = socket.if_nametoindex(interface)
        self._context = ctypes.create_string_buffer(struct.pack("<6I", 0, len(frame), 0, number, 0, 0), 24)

    def send(self, count: int) -> int:
        """One system call; a call costs some 20 ms by itself, so ask for many. The namespace must be the interface's."""
        attributes = struct.pack(
            "<4I2Q2I2I2Q3I",
            *(self._program, 0, len(self._frame), 0),
            *(ctypes.addressof(self._frame), 0),
            *(count, 0, 24, 0),
            *(ctypes.addressof(self._context), 0),
            *(self._LIVE, 0, self._BATCH),
        )
        buffer = ctypes.create_string_buffer(attributes, 128)
        result: int = libc.syscall(SYSCALL, self._RUN, buffer, 128)
        assert result >= 0, os.strerror(ctypes.get_errno())
        return count

    def close(self) -> None:
        """Let go of the program."""
        os.close(self._program)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def received(namespace: Any, interface: str) -> int:
    """How many packets the interface received since it was made."""
    with namespace.entered():
        for line in open("/proc/thread-self/net/dev"):  # noqa: PTH123, SIM115  a file of one page
            name, _, rest = line.partition(":")
            if name.strip() == interface:
                return int(rest.split()[1])
    raise AssertionError(f"no interface {interface}")
