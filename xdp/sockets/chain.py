"""Who is attached to socket calls, how many may be, and in which order they are asked.

A program is attached for everybody, for a network namespace or for a cgroup with all that lie in it. Those of one place are asked
before those of all, those of a cgroup before those of the cgroups around it, as in Linux, and among them those that were attached first.

Not here: what their answers come to (decide), and calls (policy).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from threading import RLock
from typing import TYPE_CHECKING, Final, final

from netdev.interpose import SocketCall
from runtime.errors import InputError, UnsupportedError, XdpsimError
from xdp.sockets.decide import MOST_CGROUPS, Rule, Scope
from xdp.sockets.places import cgroup_number, depth_of, netns_cookie
from xdp.sockets.programs import NOT_LINUX
from xdp.sockets.ways import calls_of, way_of

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["MOST", "Attached", "Attachments", "Capability", "Parameter", "Rules"]

MOST: Final = 16
"""So many programs may be attached in one way."""


class Capability(StrEnum):
    """How many programs may be attached in a way: one, one for each parameter, or MOST of any."""

    SINGLE = "single"
    SINGLE_PER_PARAMETER = "single per parameter"
    MULTIPLE = "multiple"


class Rules(StrEnum):
    """Whose rules hold where Linux and eBPF for Windows have the same way."""

    LINUX = "linux"
    WINDOWS = "windows"


@final
@dataclass(frozen=True, slots=True)
class Parameter:
    """Whose calls lead to a program: those of a network namespace, by its cookie, or of a cgroup, by its id."""

    scope: Scope = Scope.EVERYBODY
    value: int = 0

    @classmethod
    def netns(cls, cookie: int) -> Parameter:
        """A network namespace (SO_NETNS_COOKIE)."""
        return cls(Scope.NETNS, cookie)

    @classmethod
    def cgroup(cls, number: int) -> Parameter:
        """A cgroup (the inode of its folder), and all that lie in it."""
        return cls(Scope.CGROUP, number)

    @classmethod
    def netns_of(cls, place: str | int | os.PathLike[str]) -> Parameter:
        """A network namespace by its inode number, its name (`ip netns`), or a path as /proc/PID/ns/net. Raises InputError."""
        return cls.netns(netns_cookie(place))

    @classmethod
    def cgroup_of(cls, place: str | int | os.PathLike[str]) -> Parameter:
        """A cgroup by its id, its folder, or its path in the hierarchy. Raises InputError."""
        return cls.cgroup(cgroup_number(place))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A program in its place. `turn` counts attachments: a program that replaces another has its turn.

    `depth` is how deep the cgroup lies, 0 for other places and for cgroups that are not known.
    """

    id: int
    program: Program
    way: str
    calls: tuple[SocketCall, ...]
    parameter: Parameter
    rule: Rule
    turn: int
    depth: int = 0

    @property
    def order(self) -> tuple[int, bool, int, int]:
        """Bind programs first, then those of one place, of cgroups from the inside out, then by turn."""
        return (self.rule is not Rule.BIND, self.parameter.scope is Scope.EVERYBODY, -self.depth, self.turn)


_CAPABILITIES: Final = {"bind": Capability.SINGLE_PER_PARAMETER, "sock_ops": Capability.SINGLE_PER_PARAMETER}


@final
class Attachments:
    """The programs at socket calls. Several threads may use it."""

    def __init__(self, *, rules: Rules = Rules.LINUX) -> None:
        self.rules = rules
        self._attached: tuple[Attached, ...] = ()
        self._numbers = count(1)
        self._lock = RLock()
        self._watchers: list[Callable[[], None]] = []

    @property
    def attached(self) -> tuple[Attached, ...]:
        """All, in the order in which they are asked."""
        return self._attached

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call a function after each change; what is returned ends that. What it raises takes the change back."""
        with self._lock:
            self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def capability(self, program: Program) -> Capability:
        """How many programs may be attached in the way of this one."""
        return _CAPABILITIES.get(program.type.name, Capability.MULTIPLE)

    def attach(
        self, program: Program, *, parameter: Parameter | None = None, replace: Attached | None = None
    ) -> Attached:
        """Verify a program and put it into its place; `replace` is one of the same way and parameter that goes.

        Raises UnsupportedError for programs that no call leads to, InputError when there is no room, and what
        verification raises.
        """
        calls = calls_of(program.type)
        way = way_of(program.type)
        if not calls:
            raise UnsupportedError(f"program {program.name!r} is attached to {way}: no socket call leads there")
        program.require_driver()
        _ = program.verified
        with self._lock:
            rest = self._without(replace) if replace is not None else self._attached
            place = parameter or Parameter()
            if replace is not None and (replace.way, replace.parameter) != (way, place):
                raise InputError(
                    f"program {program.name!r} is not attached as {replace.program.name!r} is: it cannot replace it"
                )
            self._require_room(program, way, place, rest)
            number = next(self._numbers)
            made = Attached(
                id=number,
                program=program,
                way=way,
                calls=calls,
                parameter=place,
                rule=self._rule(program),
                turn=replace.turn if replace is not None else number,
                depth=depth_of(place.value) if place.scope is Scope.CGROUP else 0,
            )
            self._become((*rest, made))
            return made

    def detach(self, attached: Attached) -> None:
        """Take a program away; raises InputError when it is not there."""
        with self._lock:
            self._become(self._without(attached))

    def of(self, call: SocketCall) -> tuple[Attached, ...]:
        """Those that a call may lead to, in order."""
        return tuple(each for each in self._attached if call in each.calls)

    def _without(self, attached: Attached) -> tuple[Attached, ...]:
        rest = tuple(each for each in self._attached if each.id != attached.id)
        if len(rest) == len(self._attached):
            raise InputError(f"program {attached.program.name!r} is not attached")
        return rest

    def _require_room(self, program: Program, way: str, place: Parameter, rest: tuple[Attached, ...]) -> None:
        same = [each for each in rest if each.way == way]
        match self.capability(program):
            case Capability.SINGLE:
                taken = same
            case Capability.SINGLE_PER_PARAMETER:
                taken = [each for each in same if each.parameter == place]
            case Capability.MULTIPLE:
                taken = []
        if taken:
            raise InputError(
                f"program {taken[0].program.name!r} is attached to {way} already: replace it, or detach it first"
            )
        if len(same) >= MOST:
            raise InputError(f"{MOST} programs are attached to {way}: there is no room for {program.name!r}")
        cgroups = {each.parameter for each in rest if each.parameter.scope is Scope.CGROUP}
        if place.scope is Scope.CGROUP and len(cgroups | {place}) > MOST_CGROUPS:
            raise InputError(f"{MOST_CGROUPS} cgroups have programs: there is no room for {program.name!r} at another")

    def _rule(self, program: Program) -> Rule:
        if program.type.name == "bind":
            return Rule.BIND
        attach = program.type.attach
        added = attach is not None and attach.linux >= NOT_LINUX
        return Rule.WINDOWS if added or self.rules is Rules.WINDOWS else Rule.LINUX

    def _become(self, attached: tuple[Attached, ...]) -> None:
        before = self._attached
        self._attached = tuple(sorted(attached, key=lambda each: each.order))
        told = []
        try:
            for changed in tuple(self._watchers):
                told.append(changed)
                changed()
        except XdpsimError:
            self._attached = before
            for changed in told:
                changed()
            raise
