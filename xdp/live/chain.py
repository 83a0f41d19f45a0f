"""Several programs on one interface: in order of priority, each running on the frames that those before it let go on.

The line-up is shared by all workers and replaced whole; a worker's chain takes the new one up between two batches. Nothing
here runs once a frame but numpy and the programs.

Not here: where frames come from and where they go (worker.py), and counting (counters.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.port import FrameBatch
from runtime.errors import InputError
from runtime.loader import Program
from runtime.spec import ClockMode
from xdp.context import HEADROOM, MAX_FRAME
from xdp.driver import HARD_SIZE
from xdp.hooks import BatchResult, Hook, may_write
from xdp.live.offload import moved_headers
from xdp.live.reasons import ReasonBook, ReasonTable
from xdp.live.sorting import Sorted, Sorter
from xdp.verdict import Verdict

__all__ = ["MOST_PROGRAMS", "Chain", "Entry", "Lineup", "Outcome", "Run", "pick"]

MOST_PROGRAMS: Final = 16
_TAILROOM: Final = 128


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A program's place in the line. `slot` is where its counts are kept; `tenancy` differs for each program that a slot had."""

    program: Program = field(repr=False)
    priority: int = 50
    goes_on: frozenset[Verdict] = frozenset({Verdict.XDP_PASS})
    slot: int = 0
    tenancy: int = 1

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one program said of the frames that it saw."""

    entry: Entry
    said: Sorted


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch, a row a frame: the last word on it, the frame as it is now, where a redirect sends it.

    Valid until the chain's next batch. `modified` counts changes by programs, `run_ns` is the time inside them, `too_long` counts frames that no program can take; they are aborted.
    """

    said: Sorted
    frames: FrameBatch
    targets: NDArray[np.uint64]
    runs: tuple[Run, ...]
    too_long: int = 0
    modified: int = 0
    run_ns: int = 0


@final
class Lineup:
    """Which programs run, for all workers of a direction. Changes are whole: a batch sees the line before or after."""

    def __init__(self, entries: Sequence[Entry] = (), *, first_slot: int = 0) -> None:
        self._lock = threading.Lock()
        self._first_slot = first_slot
        self._tenancies = 0
        self._state: tuple[int, tuple[Entry, ...]] = (0, ())
        for each in entries:
            self.insert(each.program, priority=each.priority, goes_on=each.goes_on)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The programs in the order that they run."""
        return self._state[1]

    @property
    def generation(self) -> int:
        """Grows with every change."""
        return self._state[0]

    @property
    def state(self) -> tuple[int, tuple[Entry, ...]]:
        """Generation and entries, of one moment."""
        return self._state

    def insert(
        self, program: Program, *, priority: int = 50, goes_on: frozenset[Verdict] = frozenset({Verdict.XDP_PASS})
    ) -> Entry:
        """Add a program: behind those of the same priority, in front of those with a higher number. Raises InputError."""
        with self._lock:
            generation, entries = self._state
            if len(entries) == MOST_PROGRAMS:
                raise InputError(f"a chain has at most {MOST_PROGRAMS} programs")
            taken = {each.slot for each in entries}
            slot = next(i for i in range(self._first_slot, self._first_slot + MOST_PROGRAMS) if i not in taken)
            self._tenancies += 1
            made = Entry(program=program, priority=priority, goes_on=goes_on, slot=slot, tenancy=self._tenancies)
            self._state = generation + 1, tuple(sorted((*entries, made), key=lambda each: each.priority))
            return made

    def replace(self, old: Entry, program: Program, *, goes_on: frozenset[Verdict] | None = None) -> Entry:
        """Put a program in another's place: priority, chain-call actions (unless given) and counts go on. Raises InputError."""
        with self._lock:
            generation, entries = self._state
            self._require(old)
            made = replace(old, program=program, goes_on=old.goes_on if goes_on is None else goes_on)
            self._state = generation + 1, tuple(made if each == old else each for each in entries)
            return made

    def remove(self, old: Entry) -> None:
        """Take a program out. Raises InputError when it is not there."""
        with self._lock:
            generation, entries = self._state
            self._require(old)
            self._state = generation + 1, tuple(each for each in entries if each != old)

    def _require(self, entry: Entry) -> None:
        if entry not in self._state[1]:
            raise InputError(f"program {entry.name!r} is not in the chain")


@final
@dataclass(slots=True, kw_only=True)
class _Seat:
    """What a worker has for an entry: its hook, whether the program may change frames, where its verdicts are sorted and explained."""

    entry: Entry
    hook: Hook
    writes: bool
    sorter: Sorter
    reasons: ReasonTable | None


@final
class Chain:
    """One worker's runs of a line-up: its own hooks over shared maps. Not thread-safe.

    `generation` is that of the line-up in use; what came before it runs no more here. With a `book`, frames that end are
    counted there by the line that ended them.
    """

    def __init__(
        self,
        lineup: Lineup,
        *,
        engine: str | None = None,
        ifindex: int = 1,
        queue: int = 0,
        cpu: int = 0,
        clock: ClockMode = ClockMode.WALL,
        book: ReasonBook | None = None,
    ) -> None:
        self._lineup = lineup
        self._book = book
        self._engine = engine
        self._settings = {"ifindex": ifindex, "queue": queue, "cpu": cpu}
        self._clock = clock
        self._links: list[_Seat] = []
        self._sorter = Sorter()
        self.generation = -1
        self.refresh()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The programs that run here, in order."""
        return tuple(each.entry for each in self._links)

    @property
    def writes(self) -> bool:
        """Whether some program may change frames: then each has a slot, and fewer fit into the cache."""
        return any(each.writes for each in self._links)

    def place(self, ifindex: int) -> None:
        """Frames come from the interface of that index now: it has returned, and is another one to the system."""
        if ifindex != self._settings["ifindex"]:
            self._settings["ifindex"] = ifindex
            for each in self._links:
                each.hook.place(ifindex)

    def refresh(self) -> bool:
        """Take up the line-up as it is now; the hooks of programs that are gone are closed. Whether it had changed."""
        generation, entries = self._lineup.state
        if generation == self.generation:
            return False
        old = {(id(each.entry.program), each.entry.goes_on): each for each in self._links}
        self._links = [self._seat(entry, old.pop((id(entry.program), entry.goes_on), None)) for entry in entries]
        for each in old.values():
            self._leave(each)
        self.generation = generation
        return True

    def _seat(self, entry: Entry, before: _Seat | None) -> _Seat:
        if before is not None:
            before.entry = entry
            return before
        writes, explains = may_write(entry.program), self._book is not None
        return _Seat(
            entry=entry,
            hook=Hook(
                entry.program,
                engine=self._engine,
                clock=self._clock,
                keep=writes,
                origins=explains,
                **self._settings,
            ),
            writes=writes,
            sorter=Sorter(),
            reasons=None if self._book is None else self._book.open(entry.program, entry.goes_on),
        )

    def _leave(self, seat: _Seat) -> None:
        seat.hook.close()
        if self._book is not None and seat.reasons is not None:
            self._book.close(seat.reasons)

    def run(self, batch: FrameBatch) -> Outcome:
        """Run the programs over a batch: those that the last `refresh` took up."""
        try:
            return self._run(batch, None)
        except InputError:  # a frame is longer than programs take: the others are run without it
            fit = np.nonzero(batch.caplens <= MAX_FRAME)[0]
            return self._run(batch, fit)

    def _run(self, batch: FrameBatch, rows: NDArray[np.integer[Any]] | None) -> Outcome:
        """`rows` are the frames that go on; None: all."""
        count = len(batch)
        too_long = 0 if rows is None else count - len(rows)
        frames, current = batch, batch if rows is None else pick(batch, rows)
        verdicts = np.full(count, Verdict.XDP_PASS, np.uint32) if rows is None else np.zeros(count, np.uint32)
        targets = np.zeros(count, np.uint64)
        modified = run_ns = 0
        runs = []
        last = len(self._links) - 1
        for number, seat in enumerate(self._links):
            entry = seat.entry
            done = seat.hook.run(current, checked=self._checked(entry))
            said = seat.sorter.sort(done.returned, current.caplens)
            if seat.reasons is not None:
                seat.reasons.add(done, current.caplens, last=number == last)
            runs.append(Run(entry=entry, said=said))
            modified += done.modified
            run_ns += done.run_ns
            if seat.writes:
                current = _left(current, done)
                frames = current if rows is None else _spread(frames, rows, current)
            if rows is None:
                verdicts, targets = said.verdicts, done.targets
            else:
                verdicts[rows] = said.verdicts
                targets[rows] = done.targets
            if number == last:
                break
            on = _among(said, entry.goes_on)
            if not len(on):
                break
            if len(on) != len(said.verdicts):
                rows = on if rows is None else rows[on]
                current = pick(current, on)
                verdicts, targets = verdicts.copy(), targets.copy()
        whole = runs[0].said if len(runs) == 1 and not too_long else self._sorter.sort(verdicts, batch.caplens)
        return Outcome(
            said=whole,
            frames=frames,
            targets=targets,
            runs=tuple(runs),
            too_long=too_long,
            modified=modified,
            run_ns=run_ns,
        )

    def _checked(self, entry: Entry) -> bool:
        return (self._engine or entry.program.owner.engine) == "interpreter"

    def close(self) -> None:
        """Close all hooks."""
        for each in self._links:
            self._leave(each)
        self._links = []


def _among(said: Sorted, wanted: frozenset[Verdict]) -> NDArray[np.uint32]:
    """The rows with one of these verdicts, in order."""
    parts = [said.rows(each) for each in wanted if said.packets[each]]
    match parts:
        case []:
            return np.zeros(0, np.uint32)
        case [only]:
            return only.copy()
        case _:
            return np.sort(np.concatenate(parts))


def pick(batch: FrameBatch, rows: NDArray[np.integer[Any]]) -> FrameBatch:
    """The frames of a batch at these indices, in the same memory, with what is known of their offloads."""
    return FrameBatch(
        base=batch.base,
        offsets=batch.offsets[rows],
        caplens=batch.caplens[rows],
        lengths=batch.lengths[rows],
        timestamps=batch.timestamps[rows],
        interfaces=batch.interfaces[rows],
        owner=batch.owner,
        offloads=None if batch.offloads is None else batch.offloads[rows],
    )


def _left(before: FrameBatch, done: BatchResult) -> FrameBatch:
    """The frames as the program left them; offload headers follow frames whose start moved."""
    after = done.frames
    assert after is not None
    owner: object = (before.owner, after.owner)
    offloads = before.offloads
    if offloads is not None and offloads.any():
        moved = _starts(before.caplens).astype(np.int64) - after.offsets.astype(np.int64)
        offloads, kept = moved_headers(offloads, moved)
        owner = (owner, kept)
    return FrameBatch(
        base=after.base,
        offsets=after.offsets,
        caplens=after.caplens,
        lengths=after.lengths,
        timestamps=before.timestamps,
        interfaces=before.interfaces,
        owner=owner,
        offloads=offloads,
    )


def _starts(caplens: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Where the driver puts each frame when it keeps them (xdp/driver.py), before the program ran."""
    sizes = caplens.astype(np.uint64) + np.uint64(HEADROOM)
    hard = np.where(sizes <= HARD_SIZE, np.uint64(HARD_SIZE), sizes + np.uint64(_TAILROOM))
    strides = hard + np.uint64(63) & np.uint64(0xFFFF_FFFF_FFFF_FFC0)
    starts: NDArray[np.uint64] = np.cumsum(strides) - strides + np.uint64(HEADROOM)
    return starts


def _spread(whole: FrameBatch, rows: NDArray[np.integer[Any]], part: FrameBatch) -> FrameBatch:
    """The whole batch with some of its frames as they are now; the two lie in different memory, so offsets are addresses."""
    offsets = whole.offsets + np.uint64(whole.base)
    offsets[rows] = part.offsets + np.uint64(part.base)
    caplens, lengths = whole.caplens.copy(), whole.lengths.copy()
    caplens[rows] = part.caplens
    lengths[rows] = part.lengths
    offloads = whole.offloads
    if offloads is not None and part.offloads is not None:
        offloads = offloads.copy()
        offloads[rows] = part.offloads
    return FrameBatch(
        base=0,
        offsets=offsets,
        caplens=caplens,
        lengths=lengths,
        timestamps=whole.timestamps,
        interfaces=whole.interfaces,
        owner=(whole.owner, part.owner),
        offloads=offloads,
    )
