"""The programs of `run`: objects loaded, their programs attached to socket calls, and what others may know of them.

Not here: what a program decides (xdp.sockets), and calls (netdev.interpose).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self, final

from netdev.interpose import (
    ALLOW,
    REFERENCE,
    Decision,
    Fact,
    InterposeLoops,
    NativePolicy,
    Policy,
    SocketCall,
    SocketEvent,
)
from runtime.errors import InputError, UnsupportedError, VerificationError
from runtime.loader import LoadedObject, load
from xdp.cli.mapfiles import fill_maps
from xdp.cli.run_report import Coverage
from xdp.cli.source import blaming, object_bytes
from xdp.extension import default_registry
from xdp.live.maps import arena_folder
from xdp.live.programs import tag
from xdp.live.registry import LiveMap, LiveProgram, State
from xdp.live.runs import Hooked
from xdp.sockets import Attached, Attachments, Rules, Scope, SocketPolicy, calls_of, family_of

if TYPE_CHECKING:
    from runtime.loader import Program
    from runtime.maps import Map

__all__ = ["Programs", "loops"]

_C = SocketCall
_WATCHED: Final = frozenset({_C.BIND, _C.CONNECT, _C.LISTEN, _C.ACCEPTED, _C.SENDMSG})
_JUDGED: Final = (
    *(_C.BIND, _C.CONNECT, _C.CONNECT_AUTHORIZATION, _C.LISTEN, _C.ACCEPTED),
    *(_C.SENDMSG, _C.RECVMSG, _C.GETPEERNAME, _C.GETSOCKNAME),
)
_SPOKEN: Final = {_C.ACCEPTED: "recv_accept"}
_REFUSED: Final = ("io_uring", "32-bit socket calls")


@final
class _Watch:
    """Nobody decides; calls are only noted. Implements Policy."""

    wants: frozenset[SocketCall] = _WATCHED
    needs = Fact.COMM
    native: NativePolicy | None = None

    def decide(self, _event: SocketEvent) -> Decision:
        """Everything is allowed."""
        return ALLOW

    def done(self, event: SocketEvent, result: int) -> None:
        """The supervisor's log has it."""


@final
class _Named:
    """A policy whose records have the names of the callers, for the account. Implements Policy."""

    def __init__(self, policy: SocketPolicy) -> None:
        self._policy = policy
        self.wants = policy.wants
        self.needs = policy.needs | Fact.COMM
        self.native = policy.native

    def decide(self, event: SocketEvent) -> Decision:
        """The programs decide."""
        return self._policy.decide(event)

    def done(self, event: SocketEvent, result: int) -> None:
        """The programs are told."""
        self._policy.done(event, result)


def loops(*, interpreter: bool) -> InterposeLoops:
    """The loop over calls: compiled, or in plain Python."""
    if interpreter:
        return REFERENCE
    from xdp.natives import INTERPOSE

    return INTERPOSE


@final
class Programs:
    """What was attached; without anything, calls are only noted."""

    def __init__(self, policy: Policy, attached: tuple[Attached, ...] = (), *, observe: bool = False) -> None:
        self.policy = policy
        self._attached = attached
        self._observe = observe or not attached
        self._labels: dict[int, str] = {}
        self._printed: Callable[[], bytes] = bytes
        self.programs: tuple[LiveProgram, ...] = ()
        self.maps: tuple[LiveMap, ...] = ()
        self.links: tuple[Hooked, ...] = ()

    @classmethod
    @contextmanager
    def opened(
        cls,
        said: Sequence[str],
        *,
        policy: Literal["enforce", "observe"],
        rules: str,
        maps: Sequence[tuple[str, str]],
        interpreter: bool,
    ) -> Iterator[Self]:
        """Load and attach what the words say; closed at the end. Raises what loading and attaching raise."""
        engine = "interpreter" if interpreter else "jit"
        with ExitStack() as stack:
            attachments = Attachments(rules=Rules(rules))
            objects: dict[str, LoadedObject] = {}
            labels = {}
            for each in said:
                path, name = _named(each)
                if path not in objects:
                    objects[path] = stack.enter_context(_loaded(path, engine))
                with blaming(path):
                    for program in _chosen(objects[path], name):
                        labels[_attached(attachments, program, path).id] = path
            fill_maps({name: found for each in objects.values() for name, found in each.maps.items()}, maps)
            if not said:
                yield cls(_Watch())
                return
            made = stack.enter_context(SocketPolicy(attachments, mode=policy, engine=engine))
            found = cls(_Named(made), attachments.attached, observe=policy == "observe")
            found._labels = labels
            found._printed = made.printed
            yield found

    def printed(self) -> list[str]:
        """Lines that programs have printed since this was asked last."""
        return self._printed().decode("utf-8", "replace").splitlines()

    def number(self, state: State) -> None:
        """Give programs, maps and attachments numbers of the machine."""
        numbers = _Numbers(state)
        unique = {each.program.id: each for each in self._attached}
        owned = {id(each): each for each in self._attached_maps()}
        self.maps = tuple(_live_map(each, numbers) for each in owned.values())
        self.programs = tuple(_live_program(each, self._labels.get(each.id, ""), numbers) for each in unique.values())
        self.links = tuple(_hooked(each, numbers) for each in self._attached)

    def _attached_maps(self) -> Iterator[Map]:
        for each in self._attached:
            yield from each.program.owner.maps.values()

    def coverage(self) -> Coverage:
        """Which calls are decided about, by the last word of their sections."""
        if not self._attached:
            words = tuple(_word(call, family) for call in _JUDGED if call in _WATCHED for family in (4, 6))
        else:
            words = tuple(
                word for word in _every_word() if any(word in _words(each.program) for each in self._attached)
            )
        rest = tuple(word for word in _every_word() if word not in words)
        enforced, observed = ((), words) if self._observe else (words, ())
        return Coverage(enforced=enforced, observed=observed, untouched=rest, refused=_REFUSED)


@contextmanager
def _loaded(path: str, engine: str) -> Iterator[LoadedObject]:
    data = object_bytes(path)
    with blaming(path):
        found = load(data, registry=default_registry(), engine=engine, name=Path(path).stem, folder=arena_folder())
    with found:
        yield found


def _chosen(loaded: LoadedObject, name: str | None) -> list[Program]:
    """The program of that name, or all that socket calls lead to. Raises InputError and UnsupportedError."""
    if name is not None:
        program = loaded.program(name)
        if not calls_of(program.type):
            raise UnsupportedError(
                f"program {name!r} is of type {program.type.name}"
                f"{f' ({program.type.attach.name})' if program.type.attach else ''}: no socket call leads to it"
            )
        return [program]
    every = [loaded.program(each) for each in loaded.programs]
    found = [each for each in every if calls_of(each.type)]
    if not found:
        types = ", ".join(dict.fromkeys(each.type.name for each in every))
        raise InputError(f"no program about socket calls in it; its programs are of type {types or 'none'}")
    return found


def _attached(attachments: Attachments, program: Program, path: str) -> Attached:
    try:
        return attachments.attach(program)
    except VerificationError as error:
        why = f"program {program.name!r} is rejected: {error}; 'xdpsim verify {path}' tells more"
        raise InputError(why) from error


def _named(said: str) -> tuple[str, str | None]:
    """OBJECT[:PROG]."""
    path, colon, name = said.rpartition(":")
    return (said, None) if not colon or not path or Path(said).exists() else (path, name)


def _every_word() -> tuple[str, ...]:
    return tuple(_word(call, family) for call in _JUDGED for family in (4, 6))


def _word(call: SocketCall, family: int) -> str:
    return f"{_SPOKEN.get(call, call.name.lower())}{family}"


def _words(program: Program) -> tuple[str, ...]:
    """The places that a program is asked at."""
    families = (family_of(program.type),) if family_of(program.type) else (4, 6)
    return tuple(_word(call, family) for call in calls_of(program.type) for family in families)


@final
class _Numbers:
    """A number of the machine for each thing, the same for the same thing."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._given: dict[tuple[str, int], int] = {}

    def __call__(self, what: str, own: int) -> int:
        if (what, own) not in self._given:
            self._given[what, own] = self._state.new_id()
        return self._given[what, own]


def _live_map(found: Map, numbers: _Numbers) -> LiveMap:
    path = f"/proc/{os.getpid()}/fd/{found.arena.fd}"
    return LiveMap(id=numbers("map", id(found)), name=found.name, kind=found.kind.name, path=path)


def _live_program(attached: Attached, label: str, numbers: _Numbers) -> LiveProgram:
    program = attached.program
    return LiveProgram(
        id=numbers("program", program.id),
        name=program.name,
        tag=tag(program),
        priority=0,
        object=label,
        maps=tuple(numbers("map", id(each)) for each in program.maps),
        loaded_at=time.time(),
    )


def _hooked(attached: Attached, numbers: _Numbers) -> Hooked:
    program, parameter = attached.program, attached.parameter
    multiple = program.type.name == "cgroup_sock_addr"
    return Hooked(
        id=numbers("link", attached.id),
        program=numbers("program", program.id),
        type=program.type.name,
        way="cgroup_sock_ops" if attached.way == "sock_ops" else attached.way,
        flags="multi" if multiple else "",
        cgroup_id=parameter.value if parameter.scope is Scope.CGROUP else 0,
        netns=parameter.value if parameter.scope is Scope.NETNS else 0,
    )
