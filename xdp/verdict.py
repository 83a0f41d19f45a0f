"""What an XDP program may answer, and what then becomes of the frame.

Not here: how the answer is carried out.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

__all__ = ["VERDICTS", "Verdict", "verdict_of"]


class Verdict(IntEnum):
    """enum xdp_action of the UAPI."""

    XDP_ABORTED = 0
    XDP_DROP = 1
    XDP_PASS = 2
    XDP_TX = 3
    XDP_REDIRECT = 4


VERDICTS: Final[tuple[tuple[int, str], ...]] = tuple((each.value, each.name) for each in Verdict)


def verdict_of(returned: int) -> Verdict:
    """The verdict for a program's 32-bit return value; what is no action aborts the frame, as in the kernel."""
    return Verdict(returned) if 0 <= returned <= Verdict.XDP_REDIRECT else Verdict.XDP_ABORTED
