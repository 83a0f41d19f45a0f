"""The hook of programs about what has happened to connections: an end of one in, what the program returned out.

Not here: several programs, and connections of live processes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from netdev.interpose import SocketCall
from xdp.hooks.sockets import SocketCallDescription, SocketHook

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["SockOpsProgram", "SockOpsResult"]


@final
@dataclass(frozen=True, slots=True)
class SockOpsResult:
    """What the program returned; nothing depends on it."""

    returned: int


@final
class SockOpsProgram:
    """What `obj.programs[name]` gives for a sock_ops program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._hooks: dict[str, SocketHook] = {}

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    def run(
        self,
        call: SocketCall = SocketCall.ESTABLISHED_ACTIVE,
        description: SocketCallDescription | None = None,
        *,
        engine: str | None = None,
        **words: Any,
    ) -> SockOpsResult:
        """Run over ESTABLISHED_ACTIVE, ESTABLISHED_PASSIVE or CLOSED (local=…, local_port=…, remote=…, remote_port=…)."""
        event = replace(description or SocketCallDescription(), **words).event(call)
        wanted = engine or self.program.owner.engine
        if wanted not in self._hooks:
            self._hooks[wanted] = SocketHook(self.program, engine=wanted)
        return SockOpsResult(self._hooks[wanted].run(event))
