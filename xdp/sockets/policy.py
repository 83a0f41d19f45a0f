"""Attached programs as the policy of a supervisor: as machine code where they are compiled, in Python where they are interpreted.

Not here: supervision (netdev.interpose), and how answers are put together (decide).
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, final

from netdev.interpose import EVENT_ROOM, Action, Decision, Event, Fact, NativePolicy, SocketCall, SocketEvent
from runtime.engine import Environment
from runtime.errors import InputError, InternalError
from runtime.native import Library, library, memory
from runtime.spec import ClockMode, FieldKind
from xdp.sockets.chain import Attached, Attachments
from xdp.sockets.decide import (
    Entry,
    Rule,
    Scope,
    answer,
    begin,
    decide,
    happen,
    is_here,
    judge,
    place,
    takes,
    tell,
    worker,
)
from xdp.sockets.layout import Room, Word
from xdp.sockets.places import lineage_of
from xdp.sockets.tables import Made, Tape

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["Count", "SocketPolicy"]

_HAPPENED: Final = frozenset({SocketCall.ESTABLISHED_ACTIVE, SocketCall.ESTABLISHED_PASSIVE, SocketCall.CLOSED})
_FACTS: Final = {16: Fact.COMM, 80: Fact.CGROUP_ID, 46: Fact.COOKIE, 122: Fact.NETNS_COOKIE}
_EVERY_FACT: Final = Fact.COMM | Fact.CGROUP_ID | Fact.COOKIE | Fact.NETNS_COOKIE | Fact.OPTIONS | Fact.ENDS
_STOP_ALL: Final = 2
_PRINTS: Final = 6  # trace_printk


@cache
def _library() -> Library:
    return library((decide, happen))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often an attached program was run, denied, and changed where a call goes."""

    runs: int
    denied: int
    redirected: int


@final
class SocketPolicy:
    """Implements netdev.interpose.Policy. In `observe` mode everything is allowed, and Event.OBSERVED says what would not be.

    Programs may be attached and detached while it is in use. What was attached once must stay loaded until `close`.

    Which calls are held, and what is read about them, cannot change any more once supervision has begun, which is when `wants` or
    `needs` is read: attaching a program that needs more raises InputError then. `calls` and `facts` are wanted from the beginning,
    for programs that come later.
    """

    def __init__(
        self,
        attachments: Attachments,
        *,
        mode: Literal["enforce", "observe"] = "enforce",
        engine: str = "jit",
        cpus: int | None = None,
        seed: int = 0,
        calls: Collection[SocketCall] = (),
        facts: Fact = Fact.NONE,
    ) -> None:
        from runtime.maps import possible_cpus

        self._attachments = attachments
        self._observe = mode == "observe"
        self._engine = engine
        self._cpus = cpus or possible_cpus()
        self._lock = RLock()
        self._calls, self._facts = frozenset(calls), facts
        self._wants: frozenset[SocketCall] | None = None
        self._needs: Fact | None = None
        self._tape: Tape | None = None
        self._template = Environment(seed=seed, clock=ClockMode.WALL)
        memory.store(self._template.address + Word.OBSERVE, 8, int(self._observe))
        self._tables: list[Made] = []
        self._current = (ctypes.c_uint64 * 1)()
        if engine == "jit":
            from runtime.engine.programs import PROGRAMS

            PROGRAMS.bind(self._template.address)
            _library()
        self._turn()
        self._unwatch = attachments.watch(self._turn)

    @property
    def wants(self) -> frozenset[SocketCall]:
        """The calls that lead to an attached program; authorization of connections is a part of connecting."""
        if self._wants is None:
            self._wants = self._wanted()
        return self._wants

    def _wanted(self) -> frozenset[SocketCall]:
        found = {call for each in self._attachments.attached for call in each.calls} | self._calls
        if SocketCall.CONNECT_AUTHORIZATION in found:
            found = found - {SocketCall.CONNECT_AUTHORIZATION} | {SocketCall.CONNECT}
        return frozenset(found)

    @property
    def needs(self) -> Fact:
        """What the attached programs can see beyond the usual facts."""
        if self._needs is None:
            self._needs = self._facts
            for each in self._attachments.attached:
                self._needs |= _needs(each)
        return self._needs

    def _require_begun(self) -> None:
        """What is attached now has to do with what was asked for when supervision began."""
        late = self._wanted() - self._wants if self._wants is not None else frozenset()
        for each in self._attachments.attached:
            name = f"program {each.program.name!r}"
            if late & self._of(each):
                calls = " and ".join(sorted(call.name for call in late & self._of(each)))
                raise InputError(
                    f"{name} is asked at {calls}, which supervision began without: attach it before, or want that"
                )
            if self._needs is not None and _needs(each) & ~self._needs:
                facts = str((_needs(each) & ~self._needs).name).replace("|", " and ")
                raise InputError(
                    f"{name} looks at {facts}, which supervision began without: attach it before, or want that"
                )

    @staticmethod
    def _of(attached: Attached) -> frozenset[SocketCall]:
        connects = SocketCall.CONNECT_AUTHORIZATION in attached.calls
        return frozenset({SocketCall.CONNECT} if connects else attached.calls)

    @property
    def native(self) -> NativePolicy | None:
        """The chain as machine code; None under the interpreter."""
        if self._engine != "jit":
            return None
        return NativePolicy(
            function=_library().address(decide),
            env=ctypes.addressof(self._current),
            wants=self.wants - _HAPPENED,
            happened=_library().address(happen),
        )

    def decide(self, event: SocketEvent) -> Decision:
        """Ask the attached programs; the addresses stand in the event as they left them."""
        if event.call in _HAPPENED or event.call is SocketCall.CONNECT_AUTHORIZATION:
            return Decision.of(0)
        while True:
            word = self._word(event)
            if word & 0xFF != Action.ASK:
                return Decision.of(word)
            self._learn(event)

    def _word(self, event: SocketEvent) -> int:
        if self._engine == "jit":
            return _library()[decide](event.record, ctypes.addressof(self._current)) & 0xFFFF_FFFF
        with self._lock, memory.registered(event.record, EVENT_ROOM, event):
            return self._interpreted(event) & 0xFFFF_FFFF

    def _learn(self, event: SocketEvent) -> None:
        """Find out in which cgroups the caller's lies."""
        lineage = lineage_of(event.cgroup_id, event.tid)
        with self._lock:
            if not self._tables[-1].learn(event.cgroup_id, lineage):
                self._turn()
                self._tables[-1].learn(event.cgroup_id, lineage)

    def _interpreted(self, event: SocketEvent) -> int:
        made = self._tables[-1]
        if not place(event.record, made.address):
            return Action.ASK
        env = begin(event.record, made.address)
        if env == 0:
            return 0
        call = event.call
        self._through(event, made, call, env)
        if call is SocketCall.CONNECT and memory.load(event.record + Room.RETVAL, 8) == 0:
            event[Event.CALL] = SocketCall.CONNECT_AUTHORIZATION
            self._through(event, made, SocketCall.CONNECT_AUTHORIZATION, env)
            event[Event.CALL] = call
        tell(event.record, made.address)
        return answer(event.record, made.address)

    def _through(self, event: SocketEvent, made: Made, call: SocketCall, env: int) -> None:
        over: Rule | None = None
        for entry, each in made.entries(call):
            if each.rule is over or not takes(event.record, entry):
                continue
            stop = judge(event.record, entry, each.program.executable(self._engine).drive(event.record, env))
            if stop == _STOP_ALL:
                return
            if stop:
                over = each.rule

    def done(self, event: SocketEvent, result: int) -> None:  # noqa: ARG002  a Policy's
        """Run sock_ops programs over what has happened; other calls are over with the decision."""
        if event.call not in _HAPPENED:
            return
        while not self._happened(event):
            self._learn(event)

    def _happened(self, event: SocketEvent) -> int:
        if self._engine == "jit":
            return _library()[happen](event.record, ctypes.addressof(self._current))
        with self._lock, memory.registered(event.record, EVENT_ROOM, event):
            made = self._tables[-1]
            if not place(event.record, made.address):
                return 0
            env = worker(event.record, made.address)
            for entry, each in made.entries(event.call):
                if is_here(event.record, entry):
                    memory.store(entry + Entry.RUNS, 8, memory.load(entry + Entry.RUNS, 8) + 1)
                    each.program.executable(self._engine).drive(event.record, env)
            tell(event.record, made.address)
            return 1

    def printed(self) -> bytes:
        """What programs have printed (trace_printk) since this was asked last: of each call at most the last 1,024 bytes."""
        with self._lock:
            return self._tape.read() if self._tape is not None else b""

    def counts(self) -> dict[int, Count]:
        """By the ids of what is or was attached: how often it ran, denied, and redirected."""
        found: dict[int, Count] = {}
        for made in tuple(self._tables):
            for number, *words in made.counts():
                before = found.get(number, Count(runs=0, denied=0, redirected=0))
                found[number] = Count(
                    runs=before.runs + words[0],
                    denied=before.denied + words[1],
                    redirected=before.redirected + words[2],
                )
        return found

    def _turn(self) -> None:
        """Make a table of what is attached now, and let it take the place of the one before."""
        with self._lock:
            self._require_begun()
            attached = self._attachments.attached
            if self._tape is None and any(_PRINTS in each.program.facts.helpers for each in attached):
                self._tape = Tape()
            made = Made(attached, self._template, observe=self._observe, cpus=self._cpus, tape=self._tape)
            for at, (_, each) in enumerate(made.rows):
                if self._engine == "jit":
                    made.enter(at, _entry(each.program))
                else:
                    each.program.executable(self._engine)
            self._tables.append(made)
            self._current[0] = made.address

    def close(self) -> None:
        """Let go of everything; no supervisor may use the policy any more."""
        self._unwatch()
        for made in self._tables:
            made.close()
        self._template.close()
        if self._tape is not None:
            self._tape.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _entry(program: Program) -> int:
    from runtime.engine.jit import JitExecutable

    ready = program.executable("jit")
    if not isinstance(ready, JitExecutable):
        raise InternalError(f"program {program.name!r} has no native entry")
    return ready.entry


def _needs(attached: Attached) -> Fact:
    facts = attached.program.facts
    if any(helper.builtin == "tail_call" for helper in facts.helpers.values()):
        return _EVERY_FACT
    found = Fact(0)
    for number in facts.helpers:
        found |= _FACTS.get(number, Fact(0))
    if any(field.kind in (FieldKind.SOCKET, FieldKind.SOCKET_OR_NULL) for field in facts.context_fields.values()):
        found |= Fact.OPTIONS | Fact.ENDS
    if any(field.name.startswith("msg_src") for field in facts.context_fields.values()):
        found |= Fact.ENDS
    if attached.rule is Rule.BIND:
        found |= Fact.COMM
    match attached.parameter.scope:
        case Scope.EVERYBODY:
            return found
        case Scope.NETNS:
            return found | Fact.NETNS_COOKIE
        case Scope.CGROUP:
            return found | Fact.CGROUP_ID
