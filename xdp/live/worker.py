"""A thread that moves frames: wait, receive, run the chain, dispose, count. One for each queue and direction.

Not here: which interfaces there are, and what their loss means to the host (attachment.py). Python runs once a batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.port import FrameBatch, PortState
from xdp.live.chain import Chain, Outcome
from xdp.live.counters import Cause, Tally, Word
from xdp.live.station import Station, Targets
from xdp.verdict import Verdict

__all__ = ["Role", "Worker", "WorkerState"]

_BUDGET: Final = 2048
_BUDGET_SLOTS: Final = 1024  # frames that are copied into slots should stay in the cache
_NAP: Final = 0.05
_WAIT: Final = 0.1
_LOOK: Final = 0.2  # seconds between looks at the interface
_RUNNING: Final = frozenset({Verdict.XDP_PASS, Verdict.XDP_TX, Verdict.XDP_REDIRECT})


class WorkerState(StrEnum):
    """What a worker does. UP: it receives. WAITING: the interface is down. GONE: it does not exist. ENDED, FAILED: no more."""

    UP = "up"
    WAITING = "waiting"
    GONE = "gone"
    ENDED = "ended"
    FAILED = "failed"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a worker does with frames: run `chain` (None: they pass as they are), send what passes to `onward`.

    `onward` None: nothing is sent at all, frames are observed. `enforce` False: verdicts are counted, every frame
    passes as it was. `broadcast` gives the interfaces in the map with that id.
    """

    chain: Chain | None
    onward: Station | None
    targets: Targets
    enforce: bool = True
    broadcast: Callable[[int], tuple[int, ...]] = lambda _number: ()


@final
class Worker:
    """A thread over one station. `generation` is the line-up that it runs, `error` what ended it."""

    def __init__(
        self, name: str, station: Station, role: Role, tally: Tally, *, failed: Callable[[Worker], None] | None = None
    ) -> None:
        self.name = name
        self.station = station
        self.role = role
        self.state = WorkerState.UP
        self.error: BaseException | None = None
        self._tally = tally
        self._failed = failed
        self._stop = threading.Event()
        self._looked = 0.0
        self._woken = False
        self._tenancies = {} if role.chain is None else {each.slot: each.tenancy for each in role.chain.entries}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def generation(self) -> int:
        """Of the line-up that was last taken up; a worker without a chain has always taken it up."""
        return 1 << 62 if self.role.chain is None else self.role.chain.generation

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after its batch."""
        self._stop.set()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end; whether it came. From the thread itself: at once."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with _Reporting(self):
            while not self._stop.is_set():
                self._step()
            self.state = WorkerState.ENDED

    def ended(self, error: BaseException | None) -> None:
        """Note what ended the thread, and count for the last time."""
        self.error = error
        if error is not None:
            self.state = WorkerState.FAILED
        self._publish(statistics=True)
        if self.role.chain is not None:
            self.role.chain.close()
        if error is not None and self._failed is not None:
            self._failed(self)

    def _step(self) -> None:
        self._refresh()
        port = self.station.port
        if port is None or time.monotonic() - self._looked > _LOOK:
            self._look()
            port = self.station.port
        if port is None or self.state is not WorkerState.UP:
            self._stop.wait(_NAP)
            return
        chain = self.role.chain
        batch = port.receive(_BUDGET_SLOTS if chain is not None and chain.writes else _BUDGET)
        if len(batch):
            self._woken = False
            self._take(batch)
            self._publish(statistics=False)
        elif self._woken:  # by something that is no frame
            self._woken = False
            self._look()
        else:
            self._woken = port.wait(_WAIT)

    def _look(self) -> None:
        """See what the interface is doing."""
        self._looked = time.monotonic()
        state = self.station.look()
        if self.role.chain is not None:
            self.role.chain.place(self.station.ifindex)
        match state:
            case PortState.UP:
                self.state = WorkerState.UP
            case PortState.DOWN:
                self.state = WorkerState.WAITING
            case PortState.GONE:
                self.state = WorkerState.GONE
        self._publish(statistics=True)

    def _refresh(self) -> None:
        chain = self.role.chain
        if chain is None or not chain.refresh():
            return
        for entry in chain.entries:
            if self._tenancies.get(entry.slot) != entry.tenancy:
                self._tenancies[entry.slot] = entry.tenancy
                self._tally.clear_program(entry.slot)

    def _publish(self, *, statistics: bool) -> None:
        tally = self._tally
        tally.set(Word.CPU_NS, time.thread_time_ns())
        if statistics:
            counts = self.station.statistics()
            tally.set_drops(Cause.LOST, counts.lost)
            tally.set_drops(Cause.CUT, counts.cut)
            tally.set_drops(Cause.REFUSED, counts.refused)
            tally.set_drops(Cause.TOO_LONG, counts.too_long)
        tally.publish()

    def _take(self, batch: FrameBatch) -> None:
        """Run, dispose and count a batch."""
        tally, role = self._tally, self.role
        count = len(batch)
        tally.add(Word.BATCHES, 1)
        tally.add(Word.RECEIVED, count)
        if role.chain is None:
            tally.add(Word.RECEIVED_BYTES, int(batch.caplens.sum(dtype=np.uint64)))
            self._send(role.onward, batch, _all(count), Word.DIRECT)
            return
        outcome = role.chain.run(batch)
        for run in outcome.runs:
            tally.verdicts(run.entry.slot, run.said)
        tally.add(Word.RUN_NS, outcome.run_ns)
        tally.add(Word.MODIFIED, outcome.modified)
        tally.verdicts(None, outcome.said)
        tally.add(Word.RECEIVED_BYTES, int(outcome.said.bytes.sum()))
        if role.onward is None:
            tally.add(Word.OBSERVED, count)
        elif not role.enforce:
            self._send(role.onward, batch, _all(count), Word.PASSED)
        else:
            self._dispose(outcome)

    def _dispose(self, outcome: Outcome) -> None:
        """Carry verdicts out."""
        tally, said = self._tally, outcome.said
        by_verdict = said.packets.tolist()
        if outcome.too_long:
            tally.drop(Cause.TOO_LONG_TO_RUN, outcome.too_long)
        if dropped := by_verdict[Verdict.XDP_DROP]:
            tally.drop(Cause.DROP, dropped)
        if aborted := by_verdict[Verdict.XDP_ABORTED] - outcome.too_long:
            tally.drop(Cause.ABORTED, aborted)
        for verdict in _RUNNING:
            if not by_verdict[verdict]:
                continue
            rows = said.rows(verdict)
            if verdict is Verdict.XDP_PASS:
                self._send(self.role.onward, outcome.frames, rows, Word.PASSED)
            elif verdict is Verdict.XDP_TX:
                self._send(self.station, outcome.frames, rows, Word.RETURNED)
            else:
                self._redirect(outcome, rows)

    def _redirect(self, outcome: Outcome, rows: NDArray[np.uint32]) -> None:
        targets = outcome.targets[rows]
        for target in np.unique(targets).tolist():
            chosen = rows[targets == target]
            if target >> 32:
                self._broadcast(outcome.frames, chosen, target >> 33, exclude=bool(target >> 32 & 1))
                continue
            station = self.role.targets.find(target)
            if station is None:
                self._tally.drop(Cause.NO_TARGET, len(chosen))
            else:
                self._send(station, outcome.frames, chosen, Word.REDIRECTED)

    def _broadcast(self, frames: FrameBatch, rows: NDArray[np.uint32], number: int, *, exclude: bool) -> None:
        """A copy to each interface in a map; what a map names twice gets two, as in the kernel."""
        indices = [i for i in self.role.broadcast(number) if not (exclude and i == self.station.ifindex)]
        stations = [each for each in map(self.role.targets.find, indices) if each is not None]
        if not stations:
            self._tally.drop(Cause.NO_TARGET, len(rows))
            return
        self._tally.add(Word.COPIES, len(rows) * (len(stations) - 1))
        for station in stations:
            self._send(station, frames, rows, Word.REDIRECTED)

    def _send(self, station: Station | None, frames: FrameBatch, rows: NDArray[np.uint32], word: Word) -> None:
        taken = None if station is None else station.transmit(frames, rows)
        if taken is None:
            self._tally.drop(Cause.GONE, len(rows))
            return
        self._tally.add(word, taken)
        if taken != len(rows):
            self._tally.drop(Cause.FULL, len(rows) - taken)


@final
class _Reporting:
    """Whatever ends a worker's thread is kept and told."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._worker.ended(error)
        return True


_ROWS: Final[NDArray[np.uint32]] = np.arange(_BUDGET, dtype=np.uint32)


def _all(count: int) -> NDArray[np.uint32]:
    return _ROWS[:count] if count <= _BUDGET else np.arange(count, dtype=np.uint32)
