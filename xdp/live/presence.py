"""A link of this process in the sight of others: its record in the state folder, and a socket that answers about it.

What a keeper does for `xdpsim net attach`, done by threads beside the program that called `xdp.attach`: `net show`, `net top` and
`map` find the link, `net detach` ends it, and the record goes with the link or with the process.

Not here: the link (link.py), and the process that holds one for the command line (keeper.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, final

from netdev.errors import InterfaceError, NetdevError
from runtime.errors import DeviceError, InputError, VerificationError, XdpsimError
from xdp.live.control import Server
from xdp.live.held import LinkHeld
from xdp.live.keeper import CHANGES, changed
from xdp.live.registry import Attachment, State, namespace, start_time

if TYPE_CHECKING:
    from xdp.live.keeper import Order
    from xdp.live.link import Link

__all__ = ["Presence"]

_TICK: Final = 0.25  # seconds between two looks at what may have changed


@final
class Presence:
    """The record and the socket of a link that has been started; `close` takes both away. To be made where the link was."""

    def __init__(self, link: Link, order: Order, state: State) -> None:
        state.prepare()
        self._link = link
        self._state = state
        self._held = LinkHeld(link, order, state=state, tell=_quietly)
        self._over = threading.Event()
        self._closing = threading.Lock()
        number = state.new_id()
        fresh = Attachment(
            id=number,
            pid=os.getpid(),
            started=start_time(os.getpid()),
            netns=namespace(),
            interface=order.interface,
            ifindex=order.ifindex,
            mode=order.mode,
            peer=order.peer,
            peer_ifindex=order.peer_ifindex,
            backend=order.backend,
            queues=order.queues,
            dry_run=order.dry_run,
            attached_at=time.time(),
        )
        self._server = Server(state.attachments / f"{number}.sock", self._answer, _described)
        try:
            self._record = self._held.describe(fresh)
            state.write(self._record)
        except (OSError, DeviceError):
            self._server.close()
            state.remove(number)
            raise
        self._thread = threading.Thread(target=self._follow, name="xdpsim-record", daemon=True)
        self._thread.start()

    @property
    def record(self) -> Attachment:
        """The record as it was last written."""
        return self._record

    def _follow(self) -> None:
        """Keep the record and the guard as they should be."""
        while not self._over.wait(_TICK):
            with suppress(InterfaceError, OSError, DeviceError):  # the next round tries again
                self._held.guarded()
                self._refresh()

    def _refresh(self) -> None:
        self._link.while_attached(self._rewrite)

    def _rewrite(self) -> None:
        now = self._held.describe(self._record)
        if now != self._record:
            self._record = now
            self._state.write(now)

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._over.is_set():
            raise DeviceError(f"attachment {self._record.id}: it is ending")
        match request.get("do"):
            case "status":
                return {"id": self._record.id, "state": self._record.state, "log": ""}
            case "stats":
                return self._held.stats()
            case what if what in CHANGES:
                done = changed(self._held, request)
                self._refresh()
                return done
            case "confirm":
                return {"confirmed": self._link.confirm()}
            case "detach":
                return {"reason": "detached by request", **self._held.detach()}
            case other:
                raise InputError(f"a link does not know {other!r}")

    def close(self) -> None:
        """Nobody is told of the link any more. Twice is harmless."""
        with self._closing:
            if self._over.is_set():
                return
            self._over.set()
            self._state.remove(self._record.id)
            # requests under way are answered first, also the one that brought us here: it must not wait for itself;
            # the process must, so this is no daemon
            threading.Thread(target=self._server.close, name="xdpsim-control-end", daemon=False).start()


def _quietly(_message: str) -> None:
    """What happens is told to who asked; the output is the caller's."""


def _described(error: Exception) -> dict[str, Any]:
    """A failure for who asked: the line, and the exit code of the command line that goes with it."""
    match error:
        case VerificationError():
            return {"error": str(error), "code": 1, "fields": {"code": error.code, "pc": error.pc}}
        case DeviceError() | InterfaceError() | OSError():
            return {"error": str(error), "code": 4}
        case XdpsimError() | NetdevError():
            return {"error": str(error), "code": 3}
        case _:
            return {"error": f"internal error: {type(error).__name__}: {error}", "code": 70}
