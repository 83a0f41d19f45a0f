"""What a failure means to who called the command: an exit code, one line, and fields for JSON.

Not here: printing it.
"""

from __future__ import annotations

from typing import Any

from xdp.cli.exits import Exit

__all__ = ["failure"]


def failure(error: Exception) -> tuple[int, str, dict[str, Any]]:
    """The exit code, the line, and what else is known."""
    from netdev.errors import InterfaceError, NetdevError
    from runtime.errors import DeviceError, InputError, InternalError, MapError, VerificationError, XdpsimError
    from xdp.live.control import KeeperError

    match error:
        case VerificationError():
            return Exit.REJECTED, str(error), {"code": error.code, "pc": error.pc, "source": error.source}
        case KeeperError():
            return error.code, str(error), error.fields
        case DeviceError() | InterfaceError():
            return Exit.SYSTEM, str(error), {}
        case InternalError():
            return Exit.INTERNAL, f"internal error, please report it: {error}", {}
        case InputError() | MapError() | XdpsimError() | NetdevError():
            return Exit.INPUT, str(error), {}
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return Exit.SYSTEM, f"{where}{error.strerror or error}", {}
        case MemoryError():
            return Exit.SYSTEM, "out of memory", {}
        case _:
            what = f"{type(error).__name__}: {error}"
            return Exit.INTERNAL, f"internal error, please report it ({what}); XDPSIM_DEBUG=trace shows where", {}
