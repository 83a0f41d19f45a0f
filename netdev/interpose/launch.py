"""The first thing that a supervised process is: it puts the filter over itself and becomes the command.

    python -I -S launch.py ORDER ANSWER GO

reads what to do from the descriptor ORDER, writes the number of the listener to ANSWER, waits until the supervisor has
fetched it and says so on GO, and executes. It only uses the standard library, and nothing of this package.
Not here: the other end (child).
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import resource
import signal
import sys
from typing import Any, Final

_FLAGS: Final = ((1 << 3) | (1 << 5), 1 << 3)
"""NEW_LISTENER, with WAIT_KILLABLE_RECV where the kernel has it."""
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install(number: int, code: bytes, *, privileged: bool) -> int:
    """The descriptor of the listener, or an errno with a minus."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not privileged and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return -ctypes.get_errno()
    program = _Program(len(code) // 8, code)
    for flags in _FLAGS:
        listener: int = libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(program))
        if listener >= 0:
            return listener
        if ctypes.get_errno() != errno.EINVAL:
            break
    return -ctypes.get_errno()


def _read(control: int) -> bytes:
    parts = []
    while part := os.read(control, 65536):
        parts.append(part)
    return b"".join(parts)


def _as_it_was(order: dict[str, Any]) -> None:
    """What the command inherits is what our caller had, not what the supervisor or the interpreter made of it."""
    resource.setrlimit(resource.RLIMIT_NOFILE, order["files"])
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if order["mask"] is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, order["mask"])


def main() -> int:
    """Become the command; the exit status of a shell when that fails."""
    control = int(sys.argv[1])
    order = marshal.loads(_read(control))  # noqa: S302 - from our own parent
    listener = _install(order["number"], order["filter"], privileged=order["privileged"])
    answer = int(sys.argv[2])
    os.write(answer, b"%d\n" % listener)
    if listener < 0:
        return 125
    if os.read(int(sys.argv[3]), 1) != b"g":
        return 125
    for each in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores these
        signal.signal(each, signal.SIG_DFL)
    for descriptor in sys.argv[1:]:
        os.close(int(descriptor))
    _as_it_was(order)
    arguments, environment = order["arguments"], order["environment"]
    try:
        os.execvpe(arguments[0], arguments, environment)  # noqa: S606 - that is what it is for
    except OSError as error:
        name = arguments[0].decode("utf-8", "replace")
        os.write(2, f"xdpsim: cannot run {name}: {error.strerror}\n".encode())
        return 127 if error.errno in {errno.ENOENT, errno.ENOTDIR} else 126


if __name__ == "__main__":
    sys.exit(main())
