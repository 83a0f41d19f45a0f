"""The hook of programs about addresses: one call in, the verdict and the address as the program left it out.

Not here: several programs, and calls of live processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, final

from netdev.interpose import SocketCall, SocketEvent
from runtime.errors import UnsupportedError
from xdp.hooks.sockets import SocketCallDescription, SocketHook, host_and_port
from xdp.sockets import Room, Verdict

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["CALLS", "SockAddrProgram", "SockAddrResult"]

CALLS: Final = {
    "bind": SocketCall.BIND,
    "connect": SocketCall.CONNECT,
    "sendmsg": SocketCall.SENDMSG,
    "recvmsg": SocketCall.RECVMSG,
    "getpeername": SocketCall.GETPEERNAME,
    "getsockname": SocketCall.GETSOCKNAME,
    "recv_accept": SocketCall.ACCEPTED,
    "listen": SocketCall.LISTEN,
    "connect_authorization": SocketCall.CONNECT_AUTHORIZATION,
}
"""By the last part of the names of attach types."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SockAddrResult:
    """What became of a call. `returned` is the program's number; of a bind in Linux only its lowest bit is the verdict.

    `retval` is what set_retval said. `redirect_context` is what the program left for whoever deals with the connection.
    """

    verdict: Verdict
    returned: int
    address: str
    port: int
    source: str = ""
    retval: int = 0
    redirected: bool = False
    redirect_context: bytes = field(default=b"", repr=False)


@final
class SockAddrProgram:
    """What `obj.programs[name]` gives for a program about addresses."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._hooks: dict[str, SocketHook] = {}

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def id(self) -> int:
        """The process-wide id, as program arrays hold it."""
        return self.program.id

    @property
    def call(self) -> SocketCall:
        """What the program is about; raises UnsupportedError for a way that no call leads to (AF_UNIX)."""
        attach = self.program.type.attach
        name = attach.name if attach else ""
        found = next((each for end, each in CALLS.items() if name.endswith(f"_{end}") and "unix" not in name), None)
        if "connect_authorization" in name:
            found = SocketCall.CONNECT_AUTHORIZATION
        if found is None:
            raise UnsupportedError(f"program {self.name!r} is attached to {name}: it is verified, and no call leads there")
        return found

    def run(
        self, description: SocketCallDescription | None = None, *, engine: str | None = None, **words: Any
    ) -> SockAddrResult:
        """Run over a call, given as a description, or by its words (address=…, port=…, pid=…), or both."""
        made = replace(description or SocketCallDescription(), **words)
        return self.run_event(made.event(self.call), engine=engine)

    def run_event(self, event: SocketEvent, *, engine: str | None = None) -> SockAddrResult:
        """Run over an event with its room; what the program wrote stands in it."""
        wanted = engine or self.program.owner.engine
        if wanted not in self._hooks:
            self._hooks[wanted] = SocketHook(self.program, engine=wanted)
        before = event.address, event.source
        for word in (Room.RETVAL, Room.REDIRECT_SIZE):
            _store(event, word, 0)
        returned = self._hooks[wanted].run(event)
        linux = self.program.type.attach is not None and self.program.type.attach.returns != (0, 2)
        address, port = host_and_port(event.address)
        size = _load(event, Room.REDIRECT_SIZE)
        return SockAddrResult(
            verdict=Verdict(returned & 1) if linux else Verdict(returned),
            returned=returned,
            address=address,
            port=port,
            source=host_and_port(event.source)[0],
            retval=_load(event, Room.RETVAL),
            redirected=before != (event.address, event.source),
            redirect_context=bytes(event.memory[Room.REDIRECT : Room.REDIRECT + size]),
        )

    def __repr__(self) -> str:
        return f"<{self.program.type.name} program {self.name!r} of {self.program.owner.spec.name!r}>"


def _load(event: SocketEvent, word: Room) -> int:
    return int.from_bytes(event.memory[word : word + 8], "little", signed=True)


def _store(event: SocketEvent, word: Room, value: int) -> None:
    event.memory[word : word + 8] = value.to_bytes(8, "little")
