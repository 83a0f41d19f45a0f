"""What the engine is taught of socket calls: program types, contexts, helpers, and chains of programs that decide.

Not here: the calls themselves (netdev.interpose), and running one program over one event (xdp.hooks).
"""

from xdp.sockets.contexts import BIND_CONTEXT, SOCK_ADDR_CONTEXT, SOCK_OPS_CONTEXT, BindMd, SockAddr, SockOps
from xdp.sockets.helpers import REDIRECT_HELPERS
from xdp.sockets.layout import Room, Word
from xdp.sockets.programs import NOT_LINUX, SOCKET_PROGRAM_TYPES, SOCKET_SECTIONS
from xdp.sockets.verdicts import BindAction, Outcome, SockOp, Verdict

__all__ = [
    "BIND_CONTEXT",
    "NOT_LINUX",
    "REDIRECT_HELPERS",
    "SOCKET_PROGRAM_TYPES",
    "SOCKET_SECTIONS",
    "SOCK_ADDR_CONTEXT",
    "SOCK_OPS_CONTEXT",
    "BindAction",
    "BindMd",
    "Outcome",
    "Room",
    "SockAddr",
    "SockOp",
    "SockOps",
    "Verdict",
    "Word",
]
