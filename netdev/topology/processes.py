"""Whether a process of a journal is still the one that wrote it, and which start of the machine this is.

Not here: what is done when it is not (journal, guard).
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["boot", "start_time"]


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since the machine's start; 0 when there is none (or only its body)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {"Z", "X"} else int(fields[19])


def boot() -> str:
    """A name for this start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
