"""The XDP hook: frames in batches go in, verdicts and the frames as the program left them come out.

Not here: where frames come from, and what is done with them afterwards.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from netdev.port import FrameBatch, pack
from runtime.engine import Environment
from runtime.errors import InputError
from runtime.native import memory
from runtime.spec import ClockMode
from xdp.context import MAX_FRAME
from xdp.driver import BATCH_SIZE, HARD_SIZE, RING, Batch
from xdp.verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from runtime.engine import Executable
    from runtime.loader import Program
    from runtime.verifier import Facts

__all__ = ["BatchResult", "Hook", "Result", "Runnable", "XdpProgram", "may_write"]

_LINE: Final = 64
_SLOT_SLACK: Final = 256 + 128 + _LINE


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one frame: the verdict, the value that the program returned, the frame as it left it."""

    verdict: Verdict
    data: bytes = field(repr=False)
    returned: int
    redirect_ifindex: int | None = None

    @property
    def packet(self) -> Any:
        """The frame as a scapy packet."""
        from scapy.layers.l2 import Ether

        return Ether(self.data)


@final
@dataclass(slots=True, kw_only=True)
class BatchResult:
    """What became of a batch: `returned[i]` as it was, and where the frame lies now.

    `frames` are the frames as the program left them (only when they were kept); `targets[i]` is the interface that a
    redirect named in its lower half, a broadcast in its upper one. `modified` counts those that differ.
    `run_ns` is the time inside the native call. `origins[i]`, of a hook that keeps them, says which instruction the result came
    from (Env.ORIGIN). Arrays and memory are overwritten by the next batch of the same hook.
    """

    returned: NDArray[np.uint32]
    frames: FrameBatch | None
    targets: NDArray[np.uint64]
    modified: int
    run_ns: int
    origins: NDArray[np.uint64] | None = None

    @property
    def verdicts(self) -> NDArray[np.uint32]:
        """Verdicts by frame; what is no action is XDP_ABORTED."""
        aborted = np.uint32(Verdict.XDP_ABORTED)
        return np.where(self.returned > Verdict.XDP_REDIRECT, aborted, self.returned).astype(np.uint32, copy=False)


class Runnable(Protocol):
    """What a hook runs: a loaded program, or one on trial."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        ...

    def executable(self, engine: str | None = None, *, origins: bool = False) -> Executable:
        """The program, ready to run; made so that it keeps origins."""
        ...


@final
class Hook:
    """One worker's end of the hook: its environment, its buffers. Not thread-safe; make one for each worker."""

    def __init__(
        self,
        program: Runnable,
        *,
        engine: str | None = None,
        ifindex: int = 1,
        queue: int = 0,
        cpu: int = 0,
        seed: int = 0,
        clock: ClockMode = ClockMode.PACKET,
        keep: bool = False,
        origins: bool = False,
    ) -> None:
        self._executable = program.executable(engine, origins=True) if origins else program.executable(engine)
        self._origins = origins
        self._copies = keep or may_write(program)
        self._keep = keep
        self.environment = Environment(cpu=cpu, seed=seed, clock=clock)
        self._record = (ctypes.c_uint64 * (BATCH_SIZE // 8))()
        self._address = ctypes.addressof(self._record)
        memory.register(self._address, BATCH_SIZE, self._record)
        self._set(Batch.IFINDEX, ifindex)
        self._set(Batch.QUEUE, queue)
        self._set(Batch.COPY, int(self._copies))
        self._set(Batch.KEEP, int(keep))
        self._slots = np.zeros(0, np.uint8)
        self._arrays = _Arrays(0)

    def _set(self, word: Batch, value: int) -> None:
        self._record[word // 8] = value

    def place(self, ifindex: int) -> None:
        """From now on frames come from the interface of that index."""
        self._set(Batch.IFINDEX, ifindex)

    def run(self, batch: FrameBatch, *, checked: bool = False) -> BatchResult:
        """Run every frame. `checked`: natives run under Python, so the batch's memory is registered with them."""
        count = len(batch)
        if count and (longest := int(batch.caplens.max())) > MAX_FRAME:
            raise InputError(f"a frame of {longest:,} bytes is longer than {MAX_FRAME:,}")
        self._reserve(count, self._slot_bytes(batch))
        arrays = self._arrays
        self._set(Batch.BASE, batch.base)
        self._set(Batch.COUNT, count)
        self._set(Batch.OFFSETS, _address(batch.offsets))
        self._set(Batch.CAPLENS, _address(batch.caplens))
        self._set(Batch.TIMESTAMPS, _address(batch.timestamps))
        self._set(Batch.MODIFIED, 0)
        if checked:
            with _visible(batch, arrays, self._slots):
                run_ns = self._drive()
        else:
            run_ns = self._drive()
        kept = None
        if self._keep:
            kept = FrameBatch(
                base=_address(self._slots),
                offsets=arrays.out_offsets[:count],
                caplens=arrays.out_lengths[:count],
                lengths=arrays.out_lengths[:count],
                timestamps=batch.timestamps,
                interfaces=batch.interfaces,
                owner=self._slots,
            )
        return BatchResult(
            returned=arrays.returned[:count],
            frames=kept,
            targets=arrays.targets[:count],
            modified=int(self._record[Batch.MODIFIED // 8]),
            run_ns=run_ns,
            origins=arrays.origins[:count] if self._origins else None,
        )

    def _drive(self) -> int:
        started = time.perf_counter_ns()
        self._executable.drive(self._address, self.environment.address)
        return time.perf_counter_ns() - started

    def _slot_bytes(self, batch: FrameBatch) -> int:
        if not self._copies or not len(batch):
            return 0
        if not self._keep:
            stride = max(HARD_SIZE, int(batch.caplens.max()) + _SLOT_SLACK) + _LINE & -_LINE
            self._set(Batch.STRIDE, stride)
            return RING * stride
        sizes = np.maximum(batch.caplens.astype(np.uint64) + _SLOT_SLACK, HARD_SIZE + _LINE)
        return int(sizes.sum())

    def _reserve(self, count: int, slot_bytes: int) -> None:
        """Buffers large enough, and their addresses in the record."""
        if len(self._slots) < slot_bytes:
            room = np.zeros(slot_bytes + _LINE, np.uint8)
            self._slots = room[-_address(room) % _LINE :][:slot_bytes]
            self._set(Batch.SLOTS, _address(self._slots))
        if len(self._arrays.returned) < count:
            arrays = self._arrays = _Arrays(count)
            self._set(Batch.RETURNS, _address(arrays.returned))
            self._set(Batch.OUT_OFFSETS, _address(arrays.out_offsets))
            self._set(Batch.OUT_LENGTHS, _address(arrays.out_lengths))
            self._set(Batch.TARGETS, _address(arrays.targets))
            self._set(Batch.ORIGINS, _address(arrays.origins) if self._origins else 0)

    def close(self) -> None:
        """Withdraw the hook's memory from natives."""
        memory.unregister(self._address)
        self.environment.close()


@final
class _Arrays:
    """What the driver writes, a word a frame."""

    def __init__(self, count: int) -> None:
        self.returned = np.zeros(count, np.uint32)
        self.out_offsets = np.zeros(count, np.uint64)
        self.out_lengths = np.zeros(count, np.uint32)
        self.targets = np.zeros(count, np.uint64)
        self.origins = np.zeros(count, np.uint64)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def may_write(program: Runnable) -> bool:
    """Whether the program changes packets; those behind its tail calls may, whatever this one does."""
    facts = program.facts
    return (
        facts.writes_packet
        or facts.moves_packet
        or any(helper.builtin == "tail_call" for helper in facts.helpers.values())
    )


class _visible:  # noqa: N801  a context manager
    """Registers a batch's memory for natives that run under Python."""

    def __init__(self, batch: FrameBatch, arrays: _Arrays, slots: NDArray[np.uint8]) -> None:
        low = int(batch.offsets.min()) if len(batch) else 0
        high = int((batch.offsets + batch.caplens).max()) if len(batch) else 0
        written = (arrays.returned, arrays.out_offsets, arrays.out_lengths, arrays.targets, arrays.origins, slots)
        known = (batch.offsets, batch.caplens, batch.timestamps, *written)
        spans = [(batch.base + low, high - low), *((_address(each), each.nbytes) for each in known)]
        self._spans = [(address, size) for address, size in spans if size]
        self._keep = (batch, arrays, slots)

    def __enter__(self) -> None:
        for address, size in self._spans:
            buffer = (ctypes.c_uint8 * size).from_address(address)
            memory.register(address, size, buffer)

    def __exit__(self, *_error: object) -> None:
        for address, _size in self._spans:
            memory.unregister(address)


@final
class XdpProgram:
    """What `obj.programs[name]` gives for an XDP program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._hooks: dict[str, Hook] = {}

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def id(self) -> int:
        """The process-wide id, as program arrays hold it."""
        return self.program.id

    @property
    def maps(self) -> Any:
        """The maps of the program's object, by name."""
        return self.program.owner.maps

    def run(self, packet: Any, *, engine: str | None = None, clock_ns: int = 0) -> Result:
        """Run one frame: bytes, or anything that `bytes()` takes (a scapy packet)."""
        frame = packet if isinstance(packet, bytes) else bytes(packet)
        wanted = engine or self.program.owner.engine
        if wanted not in self._hooks:
            self._hooks[wanted] = Hook(self.program, engine=wanted, keep=True)
        hook = self._hooks[wanted]
        done = hook.run(pack([frame], timestamps=[clock_ns]), checked=wanted == "interpreter")
        returned = int(done.returned[0])
        verdict = verdict_of(returned)
        assert done.frames is not None
        target = int(done.targets[0]) & 0xFFFFFFFF if verdict is Verdict.XDP_REDIRECT else None
        return Result(verdict=verdict, data=done.frames.frame(0), returned=returned, redirect_ifindex=target)

    def as_xfrm(self, *, engine: str | None = None) -> Callable[[Any], Any]:
        """A function for scapy's bridge_and_sniff: True lets the packet pass, a packet goes in its place, False drops it.

        Only XDP_PASS lets pass: a bridge has no way back for XDP_TX and none aside for XDP_REDIRECT.
        """

        def forward(packet: Any) -> Any:
            frame = bytes(packet)
            done = self.run(frame, engine=engine)
            if done.verdict is not Verdict.XDP_PASS:
                return False
            return True if done.data == frame else done.packet

        return forward

    def __repr__(self) -> str:
        return f"<XDP program {self.name!r} of {self.program.owner.spec.name!r}>"
