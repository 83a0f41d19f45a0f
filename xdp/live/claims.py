"""Interfaces that this machine's attachments hold: one lock file each in the state folder, which only its owner may open.

    claims/<network namespace>-<ifindex>

The kernel lets go of a lock when the process ends, however it ends; a file without a lock means nothing.

Not here: records of attachments (registry.py). Who names another state folder has other claims; the ingress block still tells.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

from runtime.errors import DeviceError, InputError
from xdp.live.registry import State, namespace

__all__ = ["claim"]


def claim(name: str, folder: Path, restore: ExitStack) -> int:
    """Hold an interface of this thread's namespace until `restore` is closed; returns its index.

    `folder` is the state folder. Raises InputError when somebody else holds it, DeviceError when there is no such interface.
    """
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        raise DeviceError(f"there is no interface {name!r} here (ip link shows them)") from None
    State(folder).prepare()
    path = folder / "claims" / f"{namespace()}-{index}"
    try:
        held = _locked(path)
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}") from error
    if held is None:
        raise InputError(
            f"{name} has an attachment already: detach it first, or insert the program into its chain"
        ) from None
    restore.callback(_release, path, held)
    return index


def _locked(path: Path) -> int | None:
    """A descriptor of the file with its lock, None when somebody else has that."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)  # who had it removed it meanwhile


def _release(path: Path, held: int) -> None:
    """Remove the file while it is ours; a process that was forked meanwhile may still have the descriptor."""
    path.unlink(missing_ok=True)
    fcntl.flock(held, fcntl.LOCK_UN)
    os.close(held)
