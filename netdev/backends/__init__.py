"""Ports: where frames come from and go to.

Not here: what is decided about them. Interfaces are not there yet; memory and capture files are.
"""

from netdev.backends.capture import CapturePort
from netdev.backends.memory import MemoryPort

__all__ = ["CapturePort", "MemoryPort"]
