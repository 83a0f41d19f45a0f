"""A link: programs attached to an interface, for as long as it lives. It owns the workers, the counters and the way back.

Not here: how interfaces are opened and the host's addresses moved (attachment.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, final

from netdev.errors import InterfaceError
from runtime.errors import DeviceError, InputError
from xdp.live.chain import MOST_PROGRAMS, Chain, Entry, Lineup
from xdp.live.counters import Counters, Counts
from xdp.live.programs import Loaded, Source, describe_program, open_program
from xdp.live.reasons import ReasonBook
from xdp.live.station import Station, Targets
from xdp.live.worker import Role, Worker, WorkerState
from xdp.verdict import Verdict

if TYPE_CHECKING:
    from runtime.maps import Map

__all__ = ["PASS_ONLY", "Lane", "Link", "LinkStatistics", "Mode", "Wire"]

_SETTLE: Final = 10.0  # seconds
PASS_ONLY: Final = frozenset({Verdict.XDP_PASS})
"""The next program of a chain is asked when this one lets pass."""


class Mode(StrEnum):
    """What becomes of verdicts."""

    INLINE = "inline"
    HOST = "host"
    MONITOR = "monitor"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One worker's way: from `station` to `onward` (None: nothing is sent), with `queue` for the programs to see.

    `inward`: the filter runs here; the other way runs the peer's program, or none.
    """

    station: Station
    onward: Station | None
    queue: int = 0
    inward: bool = True


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The interfaces of a link, opened. `targets` are where redirects may go, `watch` sees to it that the guard lives."""

    mode: Mode
    interface: str
    peer: str | None
    lanes: tuple[Lane, ...]
    targets: Targets
    watch: Callable[[], None] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatistics:
    """Counts since the attachment began.

    `verdicts` and `bytes` are the filter's last words on frames by verdict, `drops` frames that went no further by cause
    (xdp.live.Cause), `reasons` the lines of programs after which they were dropped or aborted (xdp.live.Reason), `words` the other counts (xdp.live.Word), `programs` verdicts of each program, `backward` the counts of the
    way from the peer or the host. `cpu_seconds` is the time of all workers.
    """

    state: str
    elapsed_seconds: float
    cpu_seconds: float
    received: int
    verdicts: dict[str, int]
    bytes: dict[str, int]
    drops: dict[str, int]
    words: dict[str, int]
    programs: tuple[dict[str, Any], ...]
    reasons: tuple[dict[str, Any], ...] = ()
    backward: dict[str, Any] = field(default_factory=dict)
    workers: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON takes it."""
        return asdict(self)


@final
class Link:
    """Made by `attach`. `detach` ends it; so does leaving its with block.

    When a worker fails, everything is taken back at once and `error` says why; `wait` waits for the end. `problems` are
    what could not be restored then.
    """

    def __init__(
        self,
        wire: Wire,
        program: Loaded,
        *,
        cpus: int,
        engine: str | None = None,
        dry_run: bool = False,
        priority: int = 50,
        goes_on: frozenset[Verdict] = PASS_ONLY,
        peer_program: Loaded | None = None,
    ) -> None:
        self.mode = wire.mode
        self.interface = wire.interface
        self.peer = wire.peer
        self.dry_run = dry_run
        self.error: str | None = None
        self.problems: tuple[str, ...] = ()
        self._wire = wire
        self._engine = engine
        self._cpus = cpus
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._timer: threading.Timer | None = None
        self._restore = ExitStack()
        self._afterwards = ExitStack()
        self._started = time.monotonic()
        self._counters = Counters.create(len(wire.lanes))
        self._loaded: dict[Entry, Loaded] = {}
        self._retired: list[Loaded] = []
        self._inward, self._outward = Lineup(), Lineup(first_slot=MOST_PROGRAMS)
        self._books = {True: ReasonBook(), False: ReasonBook()}
        self._add(self._inward, program, priority, goes_on)
        if peer_program is not None:
            self._add(self._outward, peer_program, priority, PASS_ONLY)
        self._final: LinkStatistics | None = None
        self._workers = [self._worker(number, lane) for number, lane in enumerate(wire.lanes)]

    def _worker(self, number: int, lane: Lane) -> Worker:
        lineup = self._inward if lane.inward else self._outward
        runs = lane.inward or bool(self._outward.entries)
        role = Role(
            chain=Chain(
                lineup,
                engine=self._engine,
                ifindex=lane.station.ifindex,
                queue=lane.queue,
                cpu=number % self._cpus,
                book=self._books[lane.inward],
            )
            if runs
            else None,
            onward=lane.onward,
            targets=self._wire.targets,
            enforce=not self.dry_run,
            broadcast=self._devices,
        )
        name = f"{lane.station.name}-{lane.queue}"
        return Worker(name, lane.station, role, self._counters.tally(number), failed=self._failed)

    def hold(self, restore: ExitStack) -> None:
        """Close this at the end, when the workers have stopped: what puts the system back."""
        self._restore = restore

    def at_end(self, callback: Callable[[], None]) -> None:
        """Call this when the link has ended and everything is restored."""
        with self._lock:
            if not self._over.is_set():
                self._afterwards.callback(callback)
                return
        callback()

    def start(self) -> Self:
        """Let the workers run."""
        for each in self._workers:
            each.start()
        return self

    @property
    def id(self) -> int:
        """The number of the first program in the chain."""
        entries = self._inward.entries
        return entries[0].program.id if entries else 0

    @property
    def state(self) -> str:
        """One of "up", "waiting" (an interface is down), "gone" (it does not exist now), "failed" or "detached"."""
        if self.error is not None:
            return "failed"
        if self._over.is_set():
            return "detached"
        states = {each.state for each in self._workers}
        worst = (WorkerState.FAILED, WorkerState.GONE, WorkerState.WAITING)
        return next((each.value for each in worst if each in states), WorkerState.UP.value)

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps of the programs' objects by name; where objects share a name, of the first in the chain."""
        with self._lock:
            entries = (*self._outward.entries[::-1], *self._inward.entries[::-1])
            return {name: each for entry in entries for name, each in entry.program.owner.maps.items()}

    @property
    def programs(self) -> tuple[Entry, ...]:
        """The chain, in the order that it runs."""
        return self._inward.entries

    @property
    def peer_programs(self) -> tuple[Entry, ...]:
        """What judges frames from the peer, in the order that it runs."""
        return self._outward.entries

    def insert(
        self,
        source: Source,
        *,
        prog: str | None = None,
        priority: int = 50,
        goes_on: frozenset[Verdict] = PASS_ONLY,
    ) -> Entry:
        """Add a program to the chain; the frames on which it says one of `goes_on` are shown to the next one."""
        with self._lock:
            self._require()
            loaded = open_program(source, prog, engine=self._engine, cpus=self._cpus)
            try:
                entry = self._add(self._inward, loaded, priority, goes_on)
            except InputError:
                loaded.close()
                raise
            self._settle(self._inward)
            return entry

    def replace(
        self,
        source: Source,
        prog: str | None = None,
        *,
        name: str | None = None,
        goes_on: frozenset[Verdict] | None = None,
    ) -> frozenset[str]:
        """Put a program in the place of one (the only one, or that of this name), between two batches.

        `goes_on` changes on which verdicts the next one is asked. Maps with the same definitions are kept; returns their names. When the new program is refused, the old one goes on.
        Raises InputError, ObjectError, UnsupportedError, VerificationError.
        """
        with self._lock:
            self._require()
            old = self._choose(name)
            before = self._loaded[old]
            maps = before.object.maps
            loaded = open_program(source, prog, engine=self._engine, cpus=self._cpus, maps=maps)
            new = self._inward.replace(old, loaded.program, goes_on=goes_on)
            self._loaded[new] = loaded
            self._name(new)
            del self._loaded[old]
            self._settle(self._inward)
            if loaded.owned:
                loaded.object.take_over()
            self._retire(before)
            return loaded.object.kept if loaded.owned else frozenset()

    def remove(self, program: str | Entry) -> None:
        """Take a program out of the chain, by name or as `programs` has it; the last one stays. Raises InputError."""
        with self._lock:
            self._require()
            old = self._choose(program) if isinstance(program, str) else program
            if len(self._inward.entries) == 1:
                raise InputError(f"{old.name!r} is the only program on {self.interface}: detach ends the filter")
            self._inward.remove(old)  # raises InputError for an entry of the past
            self._counters.name_program(old.slot, 0, "", 0)
            self._settle(self._inward)
            self._retire(self._loaded.pop(old))

    def stats(self) -> LinkStatistics:
        """The counts now; after the end, those of the end."""
        if self._final is not None:
            return self._final
        lanes = self._wire.lanes
        inward = self._counters.total([i for i, lane in enumerate(lanes) if lane.inward])
        outward = self._counters.total([i for i, lane in enumerate(lanes) if not lane.inward])
        cpu = inward.words["cpu_ns"] + outward.words["cpu_ns"]
        return LinkStatistics(
            state=self.state,
            elapsed_seconds=time.monotonic() - self._started,
            cpu_seconds=cpu / 1e9,
            received=inward.words["received"],
            verdicts=inward.packets,
            bytes=inward.bytes,
            drops=inward.drops,
            words=inward.words,
            programs=_programs(inward, outward),
            reasons=tuple(asdict(each) for each in self._books[True].total()),
            backward={
                "received": outward.words["received"],
                "verdicts": outward.packets,
                "drops": outward.drops,
                "words": outward.words,
                "reasons": tuple(asdict(each) for each in self._books[False].total()),
            },
            workers=tuple({"name": each.name, "state": each.state.value} for each in self._workers),
        )

    def describe(self) -> dict[str, Any]:
        """What another process needs to know: programs, maps and counters, and where their memory is (JSON)."""
        return {
            "id": self.id,
            "pid": os.getpid(),
            "mode": self.mode.value,
            "interface": self.interface,
            "ifindex": self._wire.lanes[0].station.ifindex,
            "peer": self.peer,
            "state": self.state,
            "dry_run": self.dry_run,
            "counters": self._counters.path,
            "programs": [describe_program(each.program, each.priority) for each in self._inward.entries],
            "peer_programs": [describe_program(each.program, each.priority) for each in self._outward.entries],
            "maps": [_describe_map(name, each) for name, each in self.maps.items()],
        }

    def while_attached(self, act: Callable[[], None]) -> None:
        """Do something that must not meet the end of the link half-way; nothing when the end has come."""
        with self._lock:
            if not self._over.is_set():
                act()

    def guarded(self) -> None:
        """Start the guard again if it died: to be called now and then. Raises InterfaceError."""
        with self._lock:
            if self._wire.watch is not None and not self._over.is_set():
                self._wire.watch()

    def revert_after(self, seconds: float) -> None:
        """Detach after so long, unless `confirm` is called before."""
        with self._lock:
            self.confirm()
            self._timer = threading.Timer(seconds, self.detach)
            self._timer.daemon = True
            self._timer.start()

    def confirm(self) -> bool:
        """Stay: what `revert_after` said is void; whether it had said anything."""
        with self._lock:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            return timer is not None

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of the link; whether it came."""
        return self._over.wait(seconds)

    def detach(self) -> None:
        """Stop the workers and restore everything. Twice is harmless. Raises DeviceError that names what could not be restored."""
        with self._lock:
            if self._over.is_set():
                return
            self.confirm()
            for each in self._workers:
                each.stop()
            stuck = [each.name for each in self._workers if not each.join(_SETTLE)]
            try:
                self._restore.close()
            except (DeviceError, InterfaceError) as error:
                self.problems = (str(error),)
                raise
            finally:
                self._final = self.stats()
                try:
                    self._afterwards.close()
                finally:
                    self._over.set()  # who waits for this may end the process
                if not stuck:
                    self._free()
            if stuck:
                raise DeviceError(f"{self.interface}: workers did not end: {', '.join(stuck)}")

    def _free(self) -> None:
        for loaded in (*self._loaded.values(), *self._retired):
            loaded.close()
        self._retired.clear()
        self._counters.close()

    def _failed(self, worker: Worker) -> None:
        """A worker cannot go on: the filter would be half a filter, so it ends, in a thread that is not the worker's."""
        self.error = f"{worker.name}: {worker.error}"
        threading.Thread(target=self.detach, name="xdpsim-detach").start()

    def _add(self, lineup: Lineup, loaded: Loaded, priority: int, goes_on: frozenset[Verdict]) -> Entry:
        entry = lineup.insert(loaded.program, priority=priority, goes_on=goes_on)
        self._loaded[entry] = loaded
        self._name(entry)
        return entry

    def _name(self, entry: Entry) -> None:
        self._counters.name_program(entry.slot, entry.program.id, entry.name, entry.priority)

    def _choose(self, name: str | None) -> Entry:
        entries = self._inward.entries
        found = [each for each in entries if name in (None, each.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(each.name for each in entries)
        raise InputError(f"{self.interface}: name one of the programs in the chain: {names}")

    def _settle(self, lineup: Lineup) -> None:
        """Until every worker runs the line-up as it is now; what came before runs nowhere then."""
        wanted = lineup.generation
        concerned = [w for w, lane in zip(self._workers, self._wire.lanes, strict=True) if lane.inward]
        deadline = time.monotonic() + _SETTLE
        while any(each.alive and each.generation < wanted for each in concerned):
            if time.monotonic() > deadline:
                raise DeviceError(f"{self.interface}: a worker does not take the change up")
            time.sleep(0.001)

    def _retire(self, loaded: Loaded) -> None:
        if all(each.object is not loaded.object for each in self._loaded.values()):
            loaded.close()
        else:
            self._retired.append(loaded)

    def _devices(self, number: int) -> tuple[int, ...]:
        """The interfaces in the map with that id: where a broadcast goes."""
        for entry in (*self._inward.entries, *self._outward.entries):
            for each in entry.program.maps:
                if each.id == number:
                    return tuple(int.from_bytes(value[:4], "little") for _, value in each.items())
        return ()

    def _require(self) -> None:
        if self._over.is_set():
            raise InputError(f"{self.interface}: the link is detached")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def __repr__(self) -> str:
        names = ", ".join(each.name for each in self.programs)
        return f"<link {self.mode} on {self.interface}: {names}; {self.state}>"


def _programs(*counts: Counts) -> tuple[dict[str, Any], ...]:
    """Programs with their counts; each counts only in the direction that it runs in."""
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for each in counts:
        for program in each.programs:
            row = asdict(program)
            before = found.get((program.id, program.name))
            if before is None or not any(before["packets"].values()):
                found[program.id, program.name] = row
    return tuple(found.values())


def _describe_map(name: str, found: Map) -> dict[str, Any]:
    spec = found.spec
    return {
        "id": found.id,
        "name": name,
        "kind": found.kind.name,
        "path": f"/proc/{os.getpid()}/fd/{found.arena.fd}",
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": spec.max_entries,
        "flags": int(spec.flags),
        "frozen": spec.frozen,
    }
