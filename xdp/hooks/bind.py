"""The hook of bind programs in the layout of eBPF for Windows: one bind in, the action and the address out.

Not here: several programs, and calls of live processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from netdev.interpose import SocketCall
from xdp.hooks.sockets import SocketCallDescription, SocketHook, host_and_port
from xdp.sockets import BindAction

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["BindProgram", "BindResult"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BindResult:
    """What became of a bind."""

    action: BindAction
    address: str
    port: int


@final
class BindProgram:
    """What `obj.programs[name]` gives for a bind program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._hooks: dict[str, SocketHook] = {}

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def run(
        self, description: SocketCallDescription | None = None, *, engine: str | None = None, **words: Any
    ) -> BindResult:
        """Run over a bind, given as a description, or by its words (address=…, port=…, pid=…), or both."""
        event = replace(description or SocketCallDescription(), **words).event(SocketCall.BIND)
        wanted = engine or self.program.owner.engine
        if wanted not in self._hooks:
            self._hooks[wanted] = SocketHook(self.program, engine=wanted)
        action = BindAction(self._hooks[wanted].run(event))
        address, port = host_and_port(event.address)
        return BindResult(action=action, address=address, port=port)
