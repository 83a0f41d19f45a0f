"""Frames out of a ring of slots, each as soon as it is there, as a native.

Not here: what the words of the job mean (netdev.backends.loops), and the same in plain Python (netdev.backends.reference).
"""

from __future__ import annotations

from typing import Final

from netdev.backends import HEADER_SIZE, SLOT_TAG, Call, Gather, Status
from runtime.native import (
    load16,
    load32,
    load64,
    load_acquire32,
    native,
    prefetch,
    store32,
    store64,
    store_release32,
    syscall,
    unlikely,
    urem,
)
from xdp.natives.offload import settle, tag

__all__ = ["gather"]

_SECOND: Final = 10**9
_VLAN: Final = 4
_TAG_TYPE: Final = SLOT_TAG + 2
_AHEAD: Final = 4


@native
def _slot(job: int, number: int) -> int:
    return load64(job + Gather.RING) + urem(number, load64(job + Gather.SLOTS)) * load64(job + Gather.SLOT_SIZE)


@native
def _give_back(job: int) -> int:
    """The slots that were read belong to the kernel again."""
    held = load64(job + Gather.HELD)
    until = load64(job + Gather.BEGUN)
    while held < until:
        store_release32(_slot(job, held), 0)
        held += 1
    store64(job + Gather.HELD, held)
    return 0


@native
def _emit(job: int, done: int, at: int, frame: int, caplen: int, offload: int) -> int:
    store64(load64(job + Gather.OFFSETS) + 8 * done, frame - load64(job + Gather.BASE))
    store32(load64(job + Gather.CAPLENS) + 4 * done, caplen)
    store32(load64(job + Gather.LENGTHS) + 4 * done, caplen)
    store64(load64(job + Gather.TIMESTAMPS) + 8 * done, load32(at + 16) * _SECOND + load32(at + 20))
    store64(load64(job + Gather.OFFLOADS) + 8 * done, offload)
    return 0


@native
def gather(job: int) -> int:
    """Loops.gather."""
    _give_back(job)
    held = load64(job + Gather.HELD)
    begun = load64(job + Gather.BEGUN)
    budget = load64(job + Gather.BUDGET)
    slots = load64(job + Gather.SLOTS)
    most = load64(job + Gather.MOST)
    used = 0
    done = 0
    while done < budget and begun - held < slots:
        at = _slot(job, begun)
        status = load_acquire32(at)
        if status & Status.USER == 0:
            break
        prefetch(_slot(job, begun + _AHEAD))
        caplen = load32(at + 8)
        frame = at + load16(at + 12)
        if unlikely(status & Status.COPY) != 0:
            if used + most > load64(job + Gather.ROOM):
                break
            header = load64(job + Gather.BUFFER) + used + _VLAN
            caplen = syscall(Call.READ, load64(job + Gather.DESCRIPTOR), header, most - _VLAN, 0, 0, 0) - HEADER_SIZE
            used += (_VLAN + HEADER_SIZE + max(caplen, 0) + 15) & -16
            frame = header + HEADER_SIZE
        begun += 1
        if unlikely(caplen < load32(at + 4)) != 0:
            store64(job + Gather.CUT, load64(job + Gather.CUT) + 1)
            continue
        if unlikely(status & Status.VLAN_VALID) != 0 and caplen >= 12:
            tag(frame, load16(at + _TAG_TYPE), load16(at + SLOT_TAG), status)
            frame -= _VLAN
            caplen += _VLAN
        _emit(job, done, at, frame, caplen, settle(frame - HEADER_SIZE, frame, caplen))
        done += 1
    store64(job + Gather.BEGUN, begun)
    return done
