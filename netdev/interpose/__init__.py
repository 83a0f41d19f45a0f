"""Socket calls of other processes as events, and decisions back: a supervisor over seccomp user notifications.

Not here: programs that decide. A policy is handed in.
"""

from netdev.interpose.decisions import ALLOW, Action, Decision, Fact, NativePolicy, Policy
from netdev.interpose.record import EVENT_ROOM, EVENT_SIZE, SOCKADDR_SIZE, Event, SocketCall, SocketEvent

__all__ = [
    "ALLOW",
    "EVENT_ROOM",
    "EVENT_SIZE",
    "SOCKADDR_SIZE",
    "Action",
    "Decision",
    "Event",
    "Fact",
    "NativePolicy",
    "Policy",
    "SocketCall",
    "SocketEvent",
]
