"""The hook of programs about addresses: one call in, the verdict and the address as the program left it out.

Not here: several programs, and calls of live processes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

from netdev.interpose import SocketCall, SocketEvent
from runtime.errors import UnsupportedError
from xdp.hooks.sockets import SocketCallDescription, SocketHook, host_and_port
from xdp.sockets import NOT_LINUX, Room, Verdict, calls_of, way_of

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["SockAddrProgram", "SockAddrResult"]


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
        calls = calls_of(self.program.type)
        if not calls:
            way = way_of(self.program.type)
            raise UnsupportedError(
                f"program {self.name!r} is attached to {way}: it is verified, and no call leads there"
            )
        return calls[0]

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
        attach = self.program.type.attach
        linux = attach is not None and attach.linux < NOT_LINUX
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
