"""Attached programs as the policy of a supervisor: as machine code where they are compiled, in Python where they are interpreted.

Not here: supervision (netdev.interpose), and how answers are put together (decide).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, final

from netdev.interpose import EVENT_ROOM, Decision, Event, Fact, NativePolicy, SocketCall, SocketEvent
from runtime.engine import Environment
from runtime.errors import InternalError
from runtime.native import Library, library, memory
from runtime.spec import ClockMode, Env, FieldKind
from xdp.sockets.chain import Attached, Attachments
from xdp.sockets.decide import ENTRY_SIZE, TABLE_SIZE, Entry, Rule, Scope, Table, answer, begin, decide, judge, takes
from xdp.sockets.layout import Room, Word
from xdp.sockets.ways import family_of

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["Count", "SocketPolicy"]

_HAPPENED: Final = frozenset({SocketCall.ESTABLISHED_ACTIVE, SocketCall.ESTABLISHED_PASSIVE, SocketCall.CLOSED})
_FACTS: Final = {16: Fact.COMM, 80: Fact.CGROUP_ID, 46: Fact.COOKIE, 122: Fact.NETNS_COOKIE}
_EVERY_FACT: Final = Fact.COMM | Fact.CGROUP_ID | Fact.COOKIE | Fact.NETNS_COOKIE | Fact.OPTIONS | Fact.ENDS
_STOP_ALL: Final = 2


@cache
def _library() -> Library:
    return library((decide,))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How often an attached program was run, denied, and changed where a call goes."""

    runs: int
    denied: int
    redirected: int


@final
class _Made:
    """A table in memory, and what its entries stand for. It never goes while the policy lives: a worker may be in it."""

    def __init__(self, attached: tuple[Attached, ...], template: Environment, *, observe: bool, cpus: int) -> None:
        rows = [
            (call, each) for call in SocketCall for each in attached if call in each.calls and call not in _HAPPENED
        ]
        self.rows = rows
        self._words = (ctypes.c_uint64 * ((TABLE_SIZE + ENTRY_SIZE * len(rows)) // 8))()
        self.address = ctypes.addressof(self._words)
        memory.register(self.address, ctypes.sizeof(self._words), self._words)
        self._set(Table.TEMPLATE, template.address)
        self._set(Table.OBSERVE, int(observe))
        self._set(Table.CPUS, cpus)
        for at, (call, each) in enumerate(rows):
            if not self._words[(Table.COUNT + 8 * call) // 8]:
                self._set(Table.FIRST + 8 * call, at)
            self._words[(Table.COUNT + 8 * call) // 8] += 1
            entry = Table.ENTRIES + ENTRY_SIZE * at
            self._set(entry + Entry.RULE, each.rule)
            self._set(entry + Entry.FAMILY, family_of(each.program.type))
            self._set(entry + Entry.SCOPE, each.parameter.scope)
            self._set(entry + Entry.VALUE, each.parameter.value)

    def _set(self, at: int, word: int) -> None:
        self._words[at // 8] = word & (1 << 64) - 1

    def enter(self, at: int, entry: int) -> None:
        """Where the program of a row starts."""
        self._set(Table.ENTRIES + ENTRY_SIZE * at + Entry.ENTRY, entry)

    def entries(self, call: SocketCall) -> Iterator[tuple[int, Attached]]:
        """The addresses of the entries for a call, with what they stand for."""
        for at, (kind, each) in enumerate(self.rows):
            if kind is call:
                yield self.address + Table.ENTRIES + ENTRY_SIZE * at, each

    def counts(self) -> Iterator[tuple[int, int, int, int]]:
        """The id of what is attached, and its counters."""
        for at, (_, each) in enumerate(self.rows):
            words = [self._words[(Table.ENTRIES + ENTRY_SIZE * at + word) // 8] for word in _COUNTERS]
            yield each.id, words[0], words[1], words[2]

    def close(self) -> None:
        """Withdraw the table from natives under Python."""
        memory.unregister(self.address)


_COUNTERS: Final = (Entry.RUNS, Entry.DENIED, Entry.REDIRECTED)


@final
class SocketPolicy:
    """Implements netdev.interpose.Policy. In `observe` mode everything is allowed, and Event.OBSERVED says what would not be.

    Programs may be attached and detached while it is in use, for calls that were wanted when supervision began. What was
    attached once must stay loaded until `close`.
    """

    def __init__(
        self,
        attachments: Attachments,
        *,
        mode: Literal["enforce", "observe"] = "enforce",
        engine: str = "jit",
        cpus: int | None = None,
        seed: int = 0,
    ) -> None:
        from runtime.maps import possible_cpus

        self._attachments = attachments
        self._observe = mode == "observe"
        self._engine = engine
        self._cpus = cpus or possible_cpus()
        self._lock = Lock()
        self._template = Environment(seed=seed, clock=ClockMode.WALL)
        self._template[Env.PRINTK] = 0
        memory.store(self._template.address + Word.OBSERVE, 8, int(self._observe))
        self._after = Environment(seed=seed, clock=ClockMode.WALL)
        memory.store(self._after.address + Word.OBSERVE, 8, int(self._observe))
        self._tables: list[_Made] = []
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
        found = {call for each in self._attachments.attached for call in each.calls}
        if SocketCall.CONNECT_AUTHORIZATION in found:
            found = found - {SocketCall.CONNECT_AUTHORIZATION} | {SocketCall.CONNECT}
        return frozenset(found)

    @property
    def needs(self) -> Fact:
        """What the attached programs can see beyond the usual facts."""
        found = Fact(0)
        for each in self._attachments.attached:
            found |= _needs(each)
        return found

    @property
    def native(self) -> NativePolicy | None:
        """The chain as machine code; None under the interpreter."""
        if self._engine != "jit":
            return None
        function = _library().address(decide)
        return NativePolicy(function=function, env=ctypes.addressof(self._current), wants=self.wants - _HAPPENED)

    def decide(self, event: SocketEvent) -> Decision:
        """Ask the attached programs; the addresses stand in the event as they left them."""
        if event.call in _HAPPENED or event.call is SocketCall.CONNECT_AUTHORIZATION:
            return Decision.of(0)
        if self._engine == "jit":
            word = _library()[decide](event.record, ctypes.addressof(self._current))
        else:
            with self._lock, memory.registered(event.record, EVENT_ROOM, event):
                word = self._interpreted(event)
        return Decision.of(word & 0xFFFF_FFFF)

    def _interpreted(self, event: SocketEvent) -> int:
        made = self._tables[-1]
        env = begin(event.record, made.address)
        if env == 0:
            return 0
        call = event.call
        self._through(event, made, call, env)
        if call is SocketCall.CONNECT and memory.load(event.record + Room.RETVAL, 8) == 0:
            event[Event.CALL] = SocketCall.CONNECT_AUTHORIZATION
            self._through(event, made, SocketCall.CONNECT_AUTHORIZATION, env)
            event[Event.CALL] = call
        return answer(event.record, made.address)

    def _through(self, event: SocketEvent, made: _Made, call: SocketCall, env: int) -> None:
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
        for each in self._attachments.of(event.call):
            if _is_elsewhere(event, each):
                continue
            with self._lock, memory.registered(event.record, EVENT_ROOM, event):
                each.program.executable(self._engine).drive(event.record, self._after.address)

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
        made = _Made(self._attachments.attached, self._template, observe=self._observe, cpus=self._cpus)
        if self._engine == "jit":
            for at, (_, each) in enumerate(made.rows):
                made.enter(at, _entry(each.program))
        else:
            for _, each in made.rows:
                each.program.executable(self._engine)
        self._tables.append(made)
        self._current[0] = made.address

    def close(self) -> None:
        """Let go of everything; no supervisor may use the policy any more."""
        self._unwatch()
        for made in self._tables:
            made.close()
        self._template.close()
        self._after.close()

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


def _is_elsewhere(event: SocketEvent, attached: Attached) -> bool:
    match attached.parameter.scope:
        case Scope.EVERYBODY:
            return False
        case Scope.NETNS:
            return attached.parameter.value != event.netns_cookie
        case Scope.CGROUP:
            return attached.parameter.value != event.cgroup_id


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
