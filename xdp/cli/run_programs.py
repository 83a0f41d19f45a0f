"""The programs of `run`: objects loaded, their programs attached to socket calls, and what others may know of them.

Not here: what a program decides (xdp.sockets), and calls (netdev.interpose).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self, final

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
from xdp.cli.run_report import Coverage
from xdp.live.registry import LiveMap, LiveProgram, State
from xdp.live.runs import Hooked

__all__ = ["Programs", "loops"]

_WATCHED: Final = frozenset(
    {SocketCall.BIND, SocketCall.CONNECT, SocketCall.LISTEN, SocketCall.ACCEPTED, SocketCall.SENDMSG}
)


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


def loops(*, interpreter: bool) -> InterposeLoops:
    """The loop over calls: compiled, or in plain Python."""
    if interpreter:
        return REFERENCE
    from xdp.natives import INTERPOSE

    return INTERPOSE


@final
class Programs:
    """What was attached. Nothing is: calls are only noted."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.programs: tuple[LiveProgram, ...] = ()
        self.maps: tuple[LiveMap, ...] = ()
        self.links: tuple[Hooked, ...] = ()

    @classmethod
    @contextmanager
    def opened(cls, said: Sequence[str], *, policy: str, interpreter: bool) -> Iterator[Self]:
        """Load and attach what the words say; closed at the end. Raises what loading raises, and InputError."""
        del said, policy, interpreter
        yield cls(_Watch())

    def number(self, state: State) -> None:
        """Give programs, maps and attachments numbers of the machine."""

    def coverage(self) -> Coverage:
        """Which calls are decided about."""
        return Coverage(observed=tuple(each.name.lower() for each in sorted(_WATCHED)))


def _named(said: str) -> tuple[str, str | None]:
    """OBJECT[:PROG]."""
    path, colon, name = said.rpartition(":")
    return (said, None) if not colon or Path(said).exists() else (path, name)
