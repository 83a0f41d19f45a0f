"""What can go wrong on the wire, split by whose fault it is.

NetdevError
├── CaptureError     a capture file that cannot be read or written
└── InterfaceError   an interface or the system refused
"""

from __future__ import annotations

from typing import final

__all__ = ["CaptureError", "InterfaceError", "NetdevError"]


class NetdevError(Exception):
    """The root: one line of text that says what, where and what to do."""


@final
class CaptureError(NetdevError):
    """A capture file that cannot be read or written."""


class InterfaceError(NetdevError):
    """An interface or the system refused."""
