"""Frames read from and written to a descriptor, one a system call, a batch a native call.

Not here: what the words of a job mean (netdev.backends.loops), and the same in plain Python (netdev.backends.reference).
"""

from __future__ import annotations

from typing import Final

from netdev.backends import HEADER_SIZE, SCRATCH, Call, Deliver, Offload, Take
from runtime.native import (
    clock_ns,
    load8,
    load16,
    load32,
    load64,
    memcpy,
    native,
    stack_alloc,
    store16,
    store32,
    store64,
    syscall,
)
from xdp.natives.offload import headed, settle
from xdp.natives.rings import gathered, is_later

__all__ = ["deliver", "take"]

_REALTIME: Final = 0


@native
def take(job: int) -> int:
    """Loops.take."""
    now = clock_ns(_REALTIME)
    buffer = load64(job + Take.BUFFER)
    most = load64(job + Take.MOST)
    at = 0
    done = 0
    while done < load64(job + Take.BUDGET) and at + most <= load64(job + Take.ROOM):
        header = buffer + at
        size = syscall(Call.READ, load64(job + Take.DESCRIPTOR), header, most, 0, 0, 0)
        if size < HEADER_SIZE:
            break
        caplen = size - HEADER_SIZE
        offload = settle(header, header + HEADER_SIZE, caplen)
        store64(load64(job + Take.OFFSETS) + 8 * done, at + HEADER_SIZE)
        store32(load64(job + Take.CAPLENS) + 4 * done, caplen)
        store32(load64(job + Take.LENGTHS) + 4 * done, caplen)
        store64(load64(job + Take.TIMESTAMPS) + 8 * done, now)
        store64(load64(job + Take.OFFLOADS) + 8 * done, offload)
        at += size + 15 & -16
        done += 1
    return done


@native
def _add(job: int, word: int) -> int:
    store64(job + word, load64(job + word) + 1)
    return 1


@native
def _written(job: int, scratch: int, frame: int, size: int) -> int:
    """Write the frame behind the header at the start of `scratch`, with its checksum; what the system call returns."""
    if size > SCRATCH:
        return gathered(load64(job + Deliver.DESCRIPTOR), scratch, frame, size)
    total = load16(scratch + 16)  # what is copied next lies over it
    memcpy(scratch + HEADER_SIZE, frame, size)
    if load8(scratch + Offload.FLAGS) != 0:
        place = load16(scratch + Offload.CHECKSUM_START) + load16(scratch + Offload.CHECKSUM_OFFSET)
        store16(scratch + HEADER_SIZE + place, total)
    return syscall(Call.WRITE, load64(job + Deliver.DESCRIPTOR), scratch, HEADER_SIZE + size, 0, 0, 0)


@native
def deliver(job: int) -> int:
    """Loops.deliver."""
    scratch = stack_alloc(2064)
    count = load64(job + Deliver.COUNT)
    for at in range(count):
        index = load32(load64(job + Deliver.SELECTION) + 4 * at)
        frame = load64(job + Deliver.BASE) + load64(load64(job + Deliver.OFFSETS) + 8 * index)
        size = load32(load64(job + Deliver.CAPLENS) + 4 * index)
        offload = 0
        if load64(job + Deliver.OFFLOADS) != 0:
            offload = load64(load64(job + Deliver.OFFLOADS) + 8 * index)
        fate = headed(scratch, frame, size, offload, load64(job + Deliver.LIMIT))
        if fate != 1:
            _add(job, Deliver.TOO_LONG if fate == 0 else Deliver.REFUSED)
            continue
        result = _written(job, scratch, frame, size)
        if is_later(result) != 0:
            return at
        _add(job, Deliver.TRANSMITTED if result >= 0 else Deliver.REFUSED)
    return count
