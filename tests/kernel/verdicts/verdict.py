"""A verdict on one program, ours or the kernel's, and the two side by side.

Not here: how either is reached (ours.py, libbpf.py), and which differences are accepted (policies.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from runtime.spec import MapSpec, ProgramSpec, ProgramType

__all__ = ["Pair", "Verdict"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a program.

    `accepted` is None where nothing was judged: the object could not be read, or a map could not be made. `message` is
    the first line of the reason, `code` our failure's code; `steps` are instructions visited and `seconds` CPU time.
    `tolerant`: with leaks and the like only warned of, the program would be accepted.
    """

    accepted: bool | None
    message: str = ""
    code: str = ""
    steps: int = 0
    seconds: float = 0.0
    tolerant: bool = False

    @property
    def word(self) -> str:
        """The verdict in six letters."""
        return {True: "accept", False: "reject", None: "none"}[self.accepted]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A program with both verdicts; `maps` are those of the object. `kind` and `spec` are None where the object could not be read or the type is unknown."""

    name: str
    section: str
    ours: Verdict
    kernel: Verdict
    kind: ProgramType | None = None
    spec: ProgramSpec | None = None
    maps: tuple[MapSpec, ...] = ()

    @property
    def type_name(self) -> str:
        """The program type, or `-`."""
        return self.kind.name if self.kind else "-"

    @property
    def agree(self) -> bool:
        """Whether both judged, and judged alike."""
        return self.ours.accepted is not None and self.ours.accepted == self.kernel.accepted
