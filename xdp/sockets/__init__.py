"""What the engine is taught of socket calls: program types, contexts, helpers, and chains of programs that decide.

Not here: the calls themselves (netdev.interpose), and running one program over one event (xdp.hooks). Chains and policies are
imported when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from xdp.sockets.contexts import BIND_CONTEXT, SOCK_ADDR_CONTEXT, SOCK_OPS_CONTEXT, BindMd, SockAddr, SockOps
from xdp.sockets.decide import Rule, Scope
from xdp.sockets.helpers import REDIRECT_HELPERS
from xdp.sockets.layout import Room, Word
from xdp.sockets.programs import NOT_LINUX, SOCKET_PROGRAM_TYPES, SOCKET_SECTIONS
from xdp.sockets.verdicts import BindAction, Outcome, SockOp, Verdict
from xdp.sockets.ways import calls_of, family_of, way_of

if TYPE_CHECKING:
    from xdp.sockets.chain import MOST, Attached, Attachments, Capability, Parameter, Rules
    from xdp.sockets.policy import Count, SocketPolicy

__all__ = [
    "BIND_CONTEXT",
    "MOST",
    "NOT_LINUX",
    "REDIRECT_HELPERS",
    "SOCKET_PROGRAM_TYPES",
    "SOCKET_SECTIONS",
    "SOCK_ADDR_CONTEXT",
    "SOCK_OPS_CONTEXT",
    "Attached",
    "Attachments",
    "BindAction",
    "BindMd",
    "Capability",
    "Count",
    "Outcome",
    "Parameter",
    "Room",
    "Rule",
    "Rules",
    "Scope",
    "SockAddr",
    "SockOp",
    "SockOps",
    "SocketPolicy",
    "Verdict",
    "Word",
    "calls_of",
    "family_of",
    "way_of",
]

_HOMES: Final = {
    **dict.fromkeys(("MOST", "Attached", "Attachments", "Capability", "Parameter", "Rules"), "chain"),
    **dict.fromkeys(("Count", "SocketPolicy"), "policy"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(f"xdp.sockets.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'xdp.sockets' has no attribute {name!r}")
