"""Socket calls of other processes as events, and decisions back: a supervisor over seccomp user notifications.

Not here: programs that decide. A policy is handed in.
"""

from netdev.interpose.calls import Own
from netdev.interpose.child import Child
from netdev.interpose.decisions import ALLOW, Action, Decision, Fact, NativePolicy, Policy
from netdev.interpose.loops import DATA_ROOM, JOB_SIZE, LOG_SLOTS, InterposeLoops, Job, Outcome, Shared
from netdev.interpose.record import EVENT_ROOM, EVENT_SIZE, SOCKADDR_SIZE, Event, SocketCall, SocketEvent
from netdev.interpose.reference import REFERENCE
from netdev.interpose.supervisor import Supervisor

__all__ = [
    "ALLOW",
    "DATA_ROOM",
    "EVENT_ROOM",
    "EVENT_SIZE",
    "JOB_SIZE",
    "LOG_SLOTS",
    "REFERENCE",
    "SOCKADDR_SIZE",
    "Action",
    "Child",
    "Decision",
    "Event",
    "Fact",
    "InterposeLoops",
    "Job",
    "NativePolicy",
    "Outcome",
    "Own",
    "Policy",
    "Shared",
    "SocketCall",
    "SocketEvent",
    "Supervisor",
]
