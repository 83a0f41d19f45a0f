"""Socket calls of other processes as events, and decisions back: a supervisor over seccomp user notifications.

Not here: programs that decide. A policy is handed in. What supervises is imported when first asked for: records and decisions are
asked for by those who only describe programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from netdev.interpose.calls import Own
from netdev.interpose.decisions import ALLOW, Action, Decision, Fact, NativePolicy, Policy
from netdev.interpose.loops import DATA_ROOM, JOB_SIZE, LOG_SLOTS, SPARE, InterposeLoops, Job, Outcome, Shared
from netdev.interpose.record import EVENT_ROOM, EVENT_SIZE, SOCKADDR_SIZE, Event, SocketCall, SocketEvent

if TYPE_CHECKING:
    from netdev.interpose.child import Child
    from netdev.interpose.coverage import Coverage
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
    "SPARE",
    "Action",
    "Child",
    "Coverage",
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

_HOMES: Final = {
    "Child": "child",
    "Coverage": "coverage",
    "REFERENCE": "reference",
    "Supervisor": "supervisor",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(f"netdev.interpose.{_HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'netdev.interpose' has no attribute {name!r}")
