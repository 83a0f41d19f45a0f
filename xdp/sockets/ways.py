"""Which socket calls lead to which programs, by their types and the ways they are attached.

Not here: who is attached (chain).
"""

from __future__ import annotations

from typing import Final

from netdev.interpose import SocketCall
from runtime.spec import ProgramType

__all__ = ["calls_of", "family_of", "way_of"]

_C = SocketCall
_BY_NAME: Final = {
    "bind": _C.BIND,
    "connect": _C.CONNECT,
    "sendmsg": _C.SENDMSG,
    "recvmsg": _C.RECVMSG,
    "getpeername": _C.GETPEERNAME,
    "getsockname": _C.GETSOCKNAME,
    "recv_accept": _C.ACCEPTED,
    "listen": _C.LISTEN,
    "connect_authorization": _C.CONNECT_AUTHORIZATION,
}
_HAPPENED: Final = (_C.ESTABLISHED_ACTIVE, _C.ESTABLISHED_PASSIVE, _C.CLOSED)


def way_of(kind: ProgramType) -> str:
    """How programs of that type are attached, as a name: that of the attach type, or of the type."""
    return kind.attach.name if kind.attach is not None else kind.name


def calls_of(kind: ProgramType) -> tuple[SocketCall, ...]:
    """The calls that lead to programs of that type, attached in its way; none for AF_UNIX and types of other hooks."""
    match kind.name:
        case "cgroup_sock_addr":
            group, _, name = way_of(kind).removeprefix("cgroup_").partition("_")
            return (_BY_NAME[name],) if group != "unix" else ()
        case "bind":
            return (_C.BIND,)
        case "sock_ops":
            return _HAPPENED
        case _:
            return ()


def family_of(kind: ProgramType) -> int:
    """4 or 6, or 0 where programs of that type see both."""
    if kind.name != "cgroup_sock_addr":
        return 0
    return 6 if "6" in way_of(kind) else 4
