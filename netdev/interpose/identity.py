"""A call made with the rights, and in the folders, of another process: by a thread that becomes its like, and ends.

Workers make calls without capabilities; what is refused to them but may be the caller's right is tried again here.
Not here: which calls those are (held).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import threading
from collections.abc import Callable
from typing import Final

from netdev.interpose.calls import Own
from netdev.interpose.facts import Caller, Rights
from netdev.interpose.system import has_capability, keep_capabilities, system

__all__ = ["HANDS", "as_caller", "is_privileged", "take_off_rights"]

_CLONE_FS: Final = 0x200
_PR_SET_KEEPCAPS: Final = 8
_CAP_KILL: Final = 5
_CAP_SYS_PTRACE: Final = 19
_CAP_SYS_ADMIN: Final = 21
_ALL: Final = (1 << 64) - 1
HANDS: Final = 1 << _CAP_KILL | 1 << _CAP_SYS_PTRACE
"""What a worker needs to look into processes of others and to signal them."""


def is_privileged() -> bool:
    """Whether this thread may supervise processes that gain privileges."""
    return has_capability(_CAP_SYS_ADMIN)


def take_off_rights() -> None:
    """Leave this thread only the capabilities that reach other processes."""
    keep_capabilities(HANDS)


def as_caller(
    caller: Caller, act: Callable[[], int], *, waits: Callable[[], bool], folders: bool, lent: int = 0
) -> int:
    """What `act` returns in a thread with the caller's rights; `folders`: also with its root, working folder and umask.

    `waits` says whether the caller still waits: when it does not, its number may be another's, whose rights are not used.
    `lent` is a set of capabilities that it has on top of its own.
    """
    rights = caller.rights()
    if rights is None or not waits():
        return -errno.ESRCH
    results: list[int] = []

    def inside() -> None:
        failed = _become(caller, rights, folders=folders, lent=lent)
        if folders and not waits():
            failed = -errno.ESRCH
        results.append(failed or act())

    thread = threading.Thread(target=inside, name="interpose-caller", daemon=True)
    thread.start()
    thread.join()
    return results[0] if results else -errno.EPERM


def _become(caller: Caller, rights: Rights, *, folders: bool, lent: int) -> int:
    """0, or an errno with a minus; the thread is good for nothing else afterwards."""
    try:
        keep_capabilities(_ALL)
        if folders:
            _enter(caller, rights)
        if os.geteuid() == 0 or rights.uids[1] != os.geteuid():
            _take_on(rights)
        keep_capabilities(rights.capabilities | lent)
    except OSError as error:
        return -(error.errno or errno.EPERM)
    return 0


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def _enter(caller: Caller, rights: Rights) -> None:
    _checked(system(Own.UNSHARE, _CLONE_FS))
    base = f"/proc/{caller.tid}"
    folder = os.open(f"{base}/cwd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not os.path.samestat(os.stat(f"{base}/root"), os.stat("/")):  # noqa: PTH116
            os.chroot(f"{base}/root")
        os.fchdir(folder)
        os.umask(rights.umask)
    finally:
        os.close(folder)


def _take_on(rights: Rights) -> None:
    """Raw calls: those of the C library would change all threads. The capabilities stay permitted, to be cut afterwards."""
    groups = struct.pack(f"={len(rights.groups)}I", *rights.groups)
    _checked(system(Own.SETGROUPS, len(rights.groups), ctypes.create_string_buffer(groups, len(groups) or 1)))
    _checked(system(Own.SETRESGID, rights.gids[0], rights.gids[1], rights.gids[2]))
    ctypes.CDLL(None).prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    _checked(system(Own.SETRESUID, rights.uids[0], rights.uids[1], rights.uids[2]))
