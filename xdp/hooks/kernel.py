"""The XDP hook of the running kernel: BPF_PROG_TEST_RUN, a frame at a time, behind the face of our own hook.

Not here: loading programs (runtime.engine.kernel). This is the oracle; it is slow, and it needs root.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Final, final

import numpy as np

from netdev.port import FrameBatch, pack
from runtime.engine import Environment
from runtime.engine.bpf import TestRun
from runtime.engine.kernel import KernelObject
from runtime.errors import DeviceError, UnsupportedError
from runtime.loader import program_type
from runtime.maps import possible_cpus
from runtime.spec import Env
from xdp.events import KernelPerf, KernelRing
from xdp.hooks.xdp import BatchResult

if TYPE_CHECKING:
    from runtime.engine.bpf import KernelMap
    from runtime.loader import Program
    from runtime.maps import Map

__all__ = ["KERNEL_LONGEST", "KERNEL_SHORTEST", "KernelHook"]

KERNEL_SHORTEST: Final = 14
"""A test run takes no frame without an Ethernet header."""

KERNEL_LONGEST: Final = 4096 - 256 - 320
"""The linear part of a test run's frame: a page without headroom and skb_shared_info."""

_XDP_MD: Final = Struct("<6I")
"""data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; where there is metadata, `data` counts it."""

_METADATA: Final = Struct("<I")


@contextmanager
def _on_one_cpu() -> Iterator[None]:
    """Keeps the calling thread on the first CPU it may use: per-CPU values then have one place."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _ring(made: KernelMap, ours: Map) -> KernelRing | KernelPerf:
    """The reader of a map of events; perf events are opened for the CPUs that there are."""
    if ours.kind.name == "ringbuf":
        return KernelRing(made, ours.spec.max_entries)
    return KernelPerf(made, min(ours.spec.max_entries, os.cpu_count() or 1))


@final
class KernelHook:
    """Runs batches in the kernel, on one CPU, with the clock and the random numbers of our environment.

    The context is the kernel's default: ingress_ifindex 1, rx_queue_index 0. Maps are the kernel's own, filled with
    what ours hold when the hook is made.
    """

    def __init__(self, program: Program, *, ifindex: int = 1, queue: int = 0, seed: int = 0) -> None:
        if (ifindex, queue) != (1, 0):
            raise UnsupportedError("the kernel runs frames with --ifindex 1 and --queue 0 only")
        owner = program.owner
        self._kernel = KernelObject(
            owner.spec,
            owner.registry,
            lambda spec: program_type(owner.registry, spec),
            contents={name: list(each.items()) for name, each in owner.maps.items() if each.kind.value_is != "event"},
            programs=[program.name],
            cpus=possible_cpus(),
        )
        self._rings = {
            name: _ring(self._kernel.maps[name], each)
            for name, each in owner.maps.items()
            if each.kind.value_is == "event"
        }
        self._program = self._kernel.programs[program.name]
        environment = Environment(seed=seed)
        self._kernel.seed(environment[Env.RANDOM])
        environment.close()

    def run(self, batch: FrameBatch, *, checked: bool = False) -> BatchResult:
        """Run every frame; raises DeviceError for one that the kernel refuses."""
        del checked
        returned = np.zeros(len(batch), np.uint32)
        frames = []
        modified = 0
        spent = 0
        with _on_one_cpu():
            for i in range(len(batch)):
                frame = batch.frame(i)
                self._kernel.set_clock(int(batch.timestamps[i]))
                started = time.perf_counter_ns()
                done = self._test_run(frame)
                spent += time.perf_counter_ns() - started
                returned[i] = done.retval
                (metadata,) = _METADATA.unpack_from(done.context)
                frames.append(done.data[metadata:])
                modified += frames[i] != frame
        return BatchResult(
            returned=returned,
            frames=pack(frames, timestamps=batch.timestamps.tolist(), lengths=None),
            targets=np.zeros(len(batch), np.uint64),
            modified=modified,
            run_ns=spent,
        )

    def _test_run(self, frame: bytes) -> TestRun:
        try:
            return self._program.test_run(frame, context=_XDP_MD.pack(0, len(frame), 0, 0, 0, 0))
        except OSError as error:
            raise DeviceError(f"the kernel does not run a frame of {len(frame)} bytes: {error.strerror}") from error

    def time_frames(self, frames: Sequence[bytes], repeat: int) -> float:
        """The mean of the durations in nanoseconds that the kernel reports for `repeat` runs of each frame."""
        with _on_one_cpu():
            return sum(self._program.test_run(frame, repeat=repeat).duration_ns for frame in frames) / len(frames)

    def map_items(self, name: str) -> dict[bytes, bytes]:
        """A map's contents now."""
        return dict(self._kernel.maps[name].items())

    def ring(self, name: str) -> KernelRing | KernelPerf:
        """The reader of a map of events."""
        return self._rings[name]

    def close(self) -> None:
        """Unload everything."""
        for ring in self._rings.values():
            ring.close()
        self._kernel.close()
