"""The process that holds an attachment: it attaches, answers requests, and sees to it that the end is a clean one.

    attach → record and socket → (requests, time, signals) → detach → nothing left

When this process is killed, the guard that `attach` starts restores the interface; when the guard dies, it is started again.

Not here: moving frames (worker.py), restoring an interface (netdev.topology), the words of a command (xdp.cli).
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, final

from runtime.errors import DeviceError, InputError
from xdp.live.control import Server
from xdp.live.registry import Attachment, State, bound_log, namespace, start_time

__all__ = ["CHANGES", "Held", "Keeper", "Order", "changed", "say"]

_TICK: Final = 0.25  # seconds between two looks at what may have changed
CHANGES: Final = ("replace", "insert", "remove")
"""The requests that change which programs run."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted. `object` is the file that is loaded, `label` what the user called it.

    `ifindex` is 0 where the interface is yet to be made (the tap backend). `peer_object`, or else the program `peer_prog` of the same
    object, judges what comes from the peer. `chain_on` are the verdicts on which the next program of the chain is asked.
    """

    object: Path
    label: str
    interface: str
    ifindex: int
    prog: str | None = None
    mode: str = "inline"
    peer: str | None = None
    peer_ifindex: int | None = None
    backend: str = "auto"
    queues: int = 1
    promisc: bool = False
    latency: str = "normal"
    dry_run: bool = False
    revert_after: float | None = None
    force: bool = False
    priority: int = 50
    peer_object: Path | None = None
    peer_label: str = ""
    peer_prog: str | None = None
    chain_on: tuple[str, ...] = ("pass",)


class Held(Protocol):
    """What the keeper needs of a link and its surroundings (links.py has the real one)."""

    def describe(self, record: Attachment) -> Attachment:
        """The record with what is true now: interface, state, programs, maps."""
        ...

    def ended(self) -> str:
        """Why the link cannot go on (interface gone for good, program error), or empty."""
        ...

    def stats(self) -> dict[str, Any]:
        """The counts so far, as JSON."""
        ...

    def replace(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Another program in the place of one that runs; what was kept."""
        ...

    def insert(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One more program in the chain."""
        ...

    def remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One program less in the chain."""
        ...

    def guarded(self) -> None:
        """Start the guard again if it died."""
        ...

    def detach(self) -> dict[str, Any]:
        """Take everything back; the final counts."""
        ...


@final
class Keeper:
    """Holds one attachment from beginning to end.

    `make()` attaches and returns what is held; `describe(error)` turns a failure into what a client is told.
    """

    def __init__(
        self,
        order: Order,
        *,
        number: int,
        state: State,
        make: Callable[[], Held],
        describe: Callable[[Exception], dict[str, Any]],
    ) -> None:
        self._order = order
        self._number = number
        self._state = state
        self._make = make
        self._describe = describe
        self._changing = threading.Lock()
        self._gone = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        self._until = math.inf
        self._why = ""
        self._final: dict[str, Any] = {}
        self._held: Held | None = None
        self._record: Attachment | None = None

    def run(self, ready: Callable[[Attachment], None]) -> dict[str, Any]:
        """Attach, tell `ready`, hold, detach; returns the reason of the end and the final counts.

        What fails before `ready` was told is raised, with everything taken back.
        """
        with ExitStack() as stack:
            stack.callback(self._gone.set)
            try:
                server = self._up(ready, stack)
                self._hold()
            finally:
                self._down()
            self._gone.set()
            server.close()
        return {"reason": self._why, **self._final}

    def _up(self, ready: Callable[[Attachment], None], stack: ExitStack) -> Server:
        order = self._order
        held = self._held = self._make()
        stack.enter_context(_woken(self._wake_write, self._stop))
        limit = order.revert_after
        self._until = math.inf if limit is None else time.monotonic() + limit
        fresh = Attachment(
            id=self._number,
            pid=os.getpid(),
            started=start_time(os.getpid()),
            netns=namespace(),
            interface=order.interface,
            ifindex=order.ifindex,
            mode=order.mode,
            peer=order.peer,
            peer_ifindex=order.peer_ifindex,
            backend=order.backend,
            queues=order.queues,
            dry_run=order.dry_run,
            attached_at=time.time(),
            deadline=None if limit is None else time.time() + limit,
        )
        server = Server(self._state.attachments / f"{self._number}.sock", self._answer, self._describe)
        record = self._record = held.describe(fresh)
        self._state.write(record)
        ready(record)
        return server

    def _hold(self) -> None:
        """Until something ends it."""
        held = self._held
        assert held is not None
        log = self._state.attachments / f"{self._number}.log"
        while not self._why:
            left = self._until - time.monotonic()
            if left <= 0:
                self._stop("nobody confirmed it in time")
            elif select.select([self._wake_read], [], [], min(_TICK, left))[0]:
                os.read(self._wake_read, 64)
            elif why := held.ended():
                self._stop(why)
            else:
                held.guarded()
                self._refresh()
                bound_log(log)

    def _down(self) -> None:
        """Detach whatever there is, whatever else went wrong."""
        try:
            if self._held is not None:
                with self._changing:
                    self._final = self._held.detach()
        finally:
            self._state.remove(self._number)

    def _refresh(self) -> None:
        held, record = self._held, self._record
        if held is None or record is None or not self._changing.acquire(blocking=False):
            return
        try:
            now = held.describe(record)
            if now != record:
                self._record = now
                self._state.write(now)
        except OSError as error:  # no record is no reason to let traffic through that was to be dropped
            say(f"the record cannot be written: {error}")
        finally:
            self._changing.release()

    def _stop(self, why: str) -> None:
        self._why = self._why or why

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        held, record = self._held, self._record
        if held is None or record is None or self._why:
            raise DeviceError(f"attachment {self._number}: it is ending ({self._why or 'starting'})")
        match request.get("do"):
            case "status":
                return {
                    "id": record.id,
                    "state": record.state,
                    "log": str(self._state.attachments / f"{record.id}.log"),
                }
            case "stats":
                return held.stats()
            case what if what in CHANGES:
                with self._changing:
                    done = changed(held, request)
                self._refresh()
                return done
            case "confirm":
                confirmed = record.deadline is not None
                with self._changing:
                    self._until = math.inf
                    self._record = replace(self._record or record, deadline=None)
                    try:
                        self._state.write(self._record)
                    except OSError as error:  # it stays all the same
                        say(f"the record cannot be written: {error}")
                return {"confirmed": confirmed}
            case "detach":
                self._stop("detached by request")
                os.write(self._wake_write, b"\0")
                self._gone.wait(60)
                return self._final
            case other:
                raise InputError(f"a keeper does not know {other!r}")


def changed(held: Held, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one of CHANGES."""
    match request["do"]:
        case "replace":
            return held.replace(request)
        case "insert":
            return held.insert(request)
        case _:
            return held.remove(request)


@contextmanager
def _woken(fd: int, stop: Callable[[str], None]) -> Iterator[None]:
    """Signals that end a process say so to `stop` and write to `fd`."""

    def caught(number: int, _frame: object) -> None:
        stop(f"ended by {signal.Signals(number).name}")

    os.set_blocking(fd, False)
    before = [(each, signal.signal(each, caught)) for each in _SIGNALS]
    wakeup = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for each, handler in before:
            signal.signal(each, handler)


def say(message: str) -> None:
    """A line with the time, for the log."""
    with suppress(OSError):  # a full disk
        print(time.strftime("%Y-%m-%d %H:%M:%S"), message, file=sys.stderr, flush=True)  # noqa: T201  the log is stderr
