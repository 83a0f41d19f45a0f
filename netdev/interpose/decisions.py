"""What may be said about a socket call, and the shape of those who say it.

Not here: policies. They are whoever's who asks for the supervision.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final, Protocol, final

from netdev.interpose.record import SocketCall, SocketEvent

__all__ = ["ALLOW", "Action", "Decision", "Fact", "NativePolicy", "Policy"]


_MOST: Final = 4095
_RESTARTS: Final = range(512, 517)
"""ERESTARTSYS and its like, which make the kernel call again."""


class Action(IntEnum):
    """What to do with a call.

    ALLOW: make it with the addresses that now stand in the record. DENY: fail it. ASK: a native policy does not know;
    `decide` in Python is asked instead, with the record as the native one left it.
    """

    ALLOW = 0
    DENY = 1
    ASK = 2


class Fact(IntFlag):
    """What has to be read for a record beyond the process, thread, user, group, the socket and its addresses."""

    NONE = 0
    COMM = 1
    CGROUP_ID = 2
    COOKIE = 4
    NETNS_COOKIE = 8
    OPTIONS = 16  # BOUND_IF, MARK, PRIORITY, STATE
    ENDS = 32  # LOCAL, REMOTE


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """What is to become of a call. `errno` is what a denied one fails with; `redirected`: it goes elsewhere now.

    `free_port`, of a bind: the caller needs no privilege for the port, as with CAP_NET_BIND_SERVICE.
    """

    action: Action
    errno: int = errno.EPERM
    redirected: bool = False
    free_port: bool = False

    def __post_init__(self) -> None:
        """Numbers that are no errno, and those that mean something to the kernel alone, become EPERM."""
        if not 0 < self.errno <= _MOST or self.errno in _RESTARTS:
            object.__setattr__(self, "errno", errno.EPERM)

    @property
    def word(self) -> int:
        """The decision as native policies return it: action | errno << 8 | redirected << 24 | free_port << 25."""
        denied = self.errno << 8 if self.action is Action.DENY else 0
        return self.action | denied | self.redirected << 24 | self.free_port << 25

    @classmethod
    def of(cls, word: int) -> Decision:
        """The decision that a word says; a denial without an errno is EPERM. Unknown actions are denials."""
        action = Action(word & 0xFF) if word & 0xFF in tuple(Action) else Action.DENY
        return cls(
            action, word >> 8 & 0xFFFF or errno.EPERM, redirected=bool(word >> 24 & 1), free_port=bool(word >> 25 & 1)
        )


ALLOW = Decision(Action.ALLOW)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NativePolicy:
    """A policy as machine code.

    `function` is the address of `word function(record, env)` in the C convention of 64-bit words, where record has
    EVENT_ROOM bytes, and returns Decision.word. It is called by several threads at once, each with a record of its own.
    `env` is handed to it. `wants`: the calls that it answers for; others go to `Policy.decide`. `happened`: a function of the same
    kind that is told of ESTABLISHED_ACTIVE instead of `Policy.done`, where that is known before the call returns; `done` is told
    after all when it returns 0, and always where there is none (0).
    """

    function: int
    env: int
    wants: frozenset[SocketCall]
    happened: int = 0


class Policy(Protocol):
    """Who decides. Called by several threads at once, which have no capabilities but CAP_KILL and CAP_SYS_PTRACE.

    The attributes are read when supervision begins.

    `wants`: calls that are of interest; others are not even seen. `needs`: facts that records are to have.
    `native`: the same policy as machine code, or None.
    """

    @property
    def wants(self) -> frozenset[SocketCall]:
        """Calls that are of interest."""
        ...

    @property
    def needs(self) -> Fact:
        """Facts beyond the usual ones."""
        ...

    @property
    def native(self) -> NativePolicy | None:
        """The policy as machine code."""
        ...

    def decide(self, event: SocketEvent) -> Decision:
        """Decide about a call; `address` (of SENDMSG `source` too) may be rewritten. The record is gone when this returns."""
        ...

    def done(self, event: SocketEvent, result: int) -> None:
        """Told after a call that `decide` was asked about, with what it returned (or minus its errno); then the caller goes on.

        Also told of ESTABLISHED_… and CLOSED, and of ACCEPTED, when the caller may have gone on already. Calls that the
        native policy decided are in the supervisor's log only.
        """
        ...
