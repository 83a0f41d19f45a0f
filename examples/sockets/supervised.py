"""What the scripts of this folder share: an object's programs attached to the socket calls of commands that run under supervision.

    with supervised("port_quota.o") as session:
        session.obj.maps["quota"].update(key, value)
        code = session.run(["python", "server.py"])

Not here: what the programs decide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import runtime
import xdp
from netdev.errors import InterfaceError
from netdev.interpose import Supervisor
from runtime.errors import XdpsimError
from xdp.natives import INTERPOSE
from xdp.sockets import Attachments, SocketPolicy

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Session:
    """A loaded object whose programs are attached, and the supervisor of what runs."""

    obj: runtime.LoadedObject
    supervisor: Supervisor

    def run(self, command: Sequence[str]) -> int:
        """Run a command and all that it starts; its exit code. Programs of sock_ops have seen all of it."""
        sys.stdout.flush()
        code = self.supervisor.run(command, env=dict(os.environ)).wait()
        self.supervisor.wait_for_all()
        return code


@contextmanager
def supervised(name: str, *, observe: bool = False) -> Iterator[Session]:
    """Every program of an object of this folder, attached; with `observe` nothing is enforced."""
    try:
        with ExitStack() as stack:
            obj = stack.enter_context(runtime.load(HERE / name, registry=xdp.default_registry()))
            attachments = Attachments()
            for program in obj.bare_programs.values():
                attachments.attach(program)
            policy = stack.enter_context(SocketPolicy(attachments, mode="observe" if observe else "enforce"))
            yield Session(obj, stack.enter_context(Supervisor(policy, loops=INTERPOSE)))
    except (XdpsimError, InterfaceError) as error:
        sys.exit(f"{name}: {error}")
