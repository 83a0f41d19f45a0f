"""What a supervision enforces and what it does not, as rows to be shown.

Not here: what happened (Supervisor.events), and which processes could not be judged (Supervisor.failures).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from netdev.interpose.calls import CALLS, MACHINE, number
from netdev.interpose.program import REFUSED_FAMILIES
from netdev.interpose.record import SocketCall

__all__ = ["Coverage", "coverage"]


@final
@dataclass(frozen=True, slots=True)
class Coverage:
    """A row. `status`: enforced (a policy's no holds), told (seen, cannot be denied), refused (fails for everybody), open."""

    what: str
    status: str
    how: str


_TOLD: Final = (SocketCall.ESTABLISHED_ACTIVE, SocketCall.ESTABLISHED_PASSIVE, SocketCall.CLOSED)

_ALWAYS: Final = (
    Coverage("io_uring", "refused", "ENOSYS"),
    Coverage(f"socket calls through the 32-bit entry ({MACHINE.compat_column})", "refused", "ENOSYS"),
    Coverage("clone3", "refused", "ENOSYS: libraries fall back to clone"),
    Coverage("processes that share a table of descriptors", "refused", "EPERM: threads may, processes may not"),
    Coverage("SCTP's bind and connect by socket option or control message", "refused", "EOPNOTSUPP"),
    Coverage(", ".join(sorted(REFUSED_FAMILIES)), "refused", "EAFNOSUPPORT: they speak TCP or UDP underneath"),
    Coverage("further subflows of MPTCP", "open", "the kernel's path manager makes them"),
    Coverage(
        "AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK and other families", "open", "passed through; the kernel makes them"
    ),
    Coverage("sockets handed over by processes that are not supervised", "open", "what they did before is not seen"),
    Coverage("other processes that a command traces or asks to act", "open", "they are not supervised"),
    Coverage(
        "rules that a process set for itself (Landlock), or a security module for it",
        "open",
        "calls that are made for it come from the supervisor",
    ),
    Coverage(
        "packets with addresses of their own (source routes, raw headers)", "open", "the call's address is judged"
    ),
    Coverage("data on connected sockets", "open", "a connection is judged when it is made"),
)


def coverage(wants: frozenset[SocketCall], *, privileged: bool, closings: bool = True) -> tuple[Coverage, ...]:
    """The rows for a policy that wants these."""
    rows = []
    for call in SocketCall:
        names = ", ".join(c.name for c in CALLS if call in c.events and number(c, MACHINE.column) >= 0)
        name = call.name.lower()
        if call not in wants:
            rows.append(Coverage(name, "open", "nobody asks for it"))
        elif call is SocketCall.CLOSED and not closings:
            rows.append(Coverage(name, "open", "the kernel tells it only to CAP_NET_ADMIN"))
        else:
            rows.append(Coverage(name, "told" if call in _TOLD else "enforced", names))
    if MACHINE.x32:
        rows.append(Coverage("x32", "refused", "ENOSYS for every call"))
    if privileged:
        rows.append(Coverage("setuid programs", "enforced", "they gain their privileges and stay supervised"))
        rows.append(Coverage("processes that are not dumpable", "enforced", "looked into with CAP_SYS_PTRACE"))
        rows.append(
            Coverage("commands with CAP_SYS_PTRACE", "open", "they can trace whom they like, the supervisor too")
        )
    else:
        rows.append(Coverage("setuid programs", "enforced", "no_new_privs: they run without their privileges"))
        rows.append(Coverage("processes that are not dumpable", "refused", "cannot be looked into: see on_error"))
        rows.append(
            Coverage("tracing the supervisor", "refused", "it is not dumpable; to end it ends all socket calls")
        )
    return (*rows, *_ALWAYS)
