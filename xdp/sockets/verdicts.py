"""What programs about socket calls answer, by name, and how answers of several are put together.

Not here: how an answer is carried out (netdev.interpose).
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BindAction", "Outcome", "SockOp", "Verdict"]


class Verdict(IntEnum):
    """What a program about addresses says. Linux has the first two; HARD is that of eBPF for Windows.

    Of a bind on Linux the second bit means something else: no privilege is needed for the port.
    """

    REJECT = 0
    PROCEED = 1
    PROCEED_HARD = 2


class BindAction(IntEnum):
    """bind_action_t of eBPF for Windows."""

    BIND_PERMIT_SOFT = 0
    BIND_DENY = 1
    BIND_REDIRECT = 2
    BIND_PERMIT_HARD = 3


class Outcome(IntEnum):
    """What programs came to; of several the largest holds: REJECT over HARD over SOFT."""

    SOFT = 0
    HARD = 1
    REJECT = 2


class SockOp(IntEnum):
    """BPF_SOCK_OPS_…, those that happen here. A closed socket is a change of state to TCP_CLOSE."""

    ACTIVE_ESTABLISHED = 4
    PASSIVE_ESTABLISHED = 5
    STATE_CHANGE = 10
