"""The supervisor: commands whose socket calls, and those of all their descendants, go by a policy.

    with Supervisor(policy) as supervisor:
        child = supervisor.run(["curl", "http://10.0.0.1/"])
        code = child.wait()
        supervisor.wait_for_all(timeout=5)

Not here: how a single call is dealt with (handling). When the supervisor dies, held calls and all later ones fail with
ENOSYS, as the kernel gives it; nothing hangs and nothing gets through.
"""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, Self, final

from netdev.errors import InterfaceError
from netdev.interpose.child import Child, start
from netdev.interpose.coverage import Coverage, coverage
from netdev.interpose.decisions import Action, Decision, Policy
from netdev.interpose.identity import is_privileged
from netdev.interpose.loops import InterposeLoops
from netdev.interpose.program import program
from netdev.interpose.record import EVENT_SIZE, Event, SocketCall, SocketEvent
from netdev.interpose.reference import REFERENCE
from netdev.interpose.system import out_of_reach, prepare_nudges
from netdev.interpose.watcher import Watcher
from netdev.interpose.workers import Orders, Workers

__all__ = ["Supervisor"]

_MOST_FAILURES: Final = 1000


@final
class Supervisor:
    """Supervises the commands that it runs. One process of it serves hundreds of supervised ones."""

    def __init__(
        self,
        policy: Policy,
        *,
        on_error: Literal["deny", "allow"] = "deny",
        loops: InterposeLoops = REFERENCE,
        workers: int = 1024,
    ) -> None:
        """Get ready; `on_error` is what becomes of calls that cannot be judged, `workers` how many may block at once.

        Without privileges, this process makes itself not dumpable for good: commands have the same user, and could otherwise
        trace it or fetch its listener.
        """
        prepare_nudges()
        loops.prepare()
        if not is_privileged():
            out_of_reach()
        self._files = _raise_limit()
        self._orders = Orders(
            policy=policy,
            wants=frozenset(policy.wants),
            needs=int(policy.needs),
            allow_on_error=on_error == "allow",
            loops=loops,
            most=workers,
        )
        self._filter = program(self._orders.wants)
        self._groups: list[Workers] = []
        self._lock = threading.Lock()
        self._closed = False
        self.failures: deque[str] = deque(maxlen=_MOST_FAILURES)
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._watcher = Watcher(closings=SocketCall.CLOSED in self._orders.wants)
        self.wake = self._watcher.wake

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        env: Mapping[str, str] | None = None,
        mask: Collection[int] | None = None,
        **options: Any,
    ) -> Child:
        """Start a command under supervision. `options` are those of subprocess.Popen (cwd, stdin, stdout, stderr, pass_fds).

        `mask` are the signals that it begins with blocked; without it those of this thread.

        A supervisor with CAP_SYS_ADMIN lets programs gain privileges (setuid) and supervises them all the same; any other
        sets no_new_privs, so that they run without. Raises InterfaceError.
        """
        if self._closed:
            raise InterfaceError("the supervisor is closed")
        child, listener = start(
            argv,
            self._filter,
            env=env,
            privileged=is_privileged(),
            files=self._files,
            mask=mask,
            options=options,
        )
        workers = Workers(listener, self._orders, self)
        with self._lock:
            self._groups.append(workers)
        self._watcher.add(workers)
        return child

    def opened(self, workers: Workers, event: SocketEvent, descriptor: int) -> None:
        """workers.Host."""
        self._watcher.opened(workers, SocketEvent.copied(bytes(event.memory)), descriptor)

    def closes(self, workers: Workers, event: SocketEvent, cookie: int) -> None:
        """workers.Host."""
        self._watcher.closes(workers, SocketEvent.copied(bytes(event.memory)), cookie)

    def coverage(self) -> tuple[Coverage, ...]:
        """What is enforced, what is refused and what is open."""
        return coverage(self._orders.wants, privileged=is_privileged(), closings=self._watcher.tells_closings)

    def failed(self, sentence: str) -> None:
        """workers.Host: kept in `failures`, the newest thousand."""
        self.failures.append(sentence)

    def wait_for_all(self, timeout: float | None = None) -> bool:
        """Wait until no supervised process is left; False when some still are after that many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            groups = list(self._groups)
        return all(group.gone.wait(None if end is None else max(end - time.monotonic(), 0)) for group in groups)

    def events(self) -> list[SocketEvent]:
        """What happened since this was called last, oldest first; at most 65,536 are kept for each command."""
        found: list[SocketEvent] = []
        with self._lock:
            groups = list(self._groups)
        for group in groups:
            group.drain_all()
            with contextlib.suppress(IndexError):
                while True:
                    found.append(SocketEvent.copied(group.events.popleft(), EVENT_SIZE))
        found.sort(key=lambda event: event[Event.TIME])
        for event in found:
            decision = Decision.of(event[Event.ACTION])
            outcome = "denied" if decision.action is Action.DENY else "redirected" if event.redirected else "allowed"
            self._counts[event.pid, event.call.name, outcome] += 1
        return found

    @property
    def lost(self) -> int:
        """Events that were thrown away because nobody read them."""
        return sum(group.lost for group in self._groups)

    def statistics(self) -> dict[tuple[int, str, str], int]:
        """How often each (process, call, outcome) was seen in what `events` gave; outcomes: allowed, denied, redirected."""
        return dict(self._counts)

    def close(self) -> None:
        """End supervision. Supervised processes that still run get ENOSYS for their socket calls."""
        if self._closed:
            return
        self._closed = True
        self._watcher.close()
        for group in self._groups:
            group.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _raise_limit() -> tuple[int, int]:
    """Each call that blocks holds some descriptors; the limits as they were."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard
