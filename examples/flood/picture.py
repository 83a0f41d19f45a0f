"""The run as an SVG: each request of the client a dot, by when and how long; what failed stands at the top.

Not here: the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 900, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 112, 48
_INK: Final = "#222222"
_GRID: Final = "#dddddd"
# Hues that colour-blind readers tell apart (Okabe and Ito), and that differ in print as dark and light.
_FAILED: Final = "#d55e00"
_DONE: Final = "#0072b2"
_FLOOD: Final = "#fbe3d4"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the run: seconds since its beginning, and each request as (second, milliseconds or None)."""

    name: str
    flooded: bool
    filtered: bool
    start: float
    end: float
    requests: Sequence[tuple[float, float | None]]

    @property
    def times(self) -> list[float]:
        """Milliseconds of the requests that were answered, in order of size."""
        return sorted(each for _, each in self.requests if each is not None)

    @property
    def success(self) -> float:
        """The part of the requests that were answered in time."""
        return len(self.times) / len(self.requests) if self.requests else 0.0

    @property
    def median(self) -> float:
        """Milliseconds; not a number where nothing was answered."""
        return self.times[len(self.times) // 2] if self.times else math.nan


def draw(phases: Sequence[Phase], title: str) -> str:
    """The picture as text."""
    end = phases[-1].end
    most = max((each.times[-1] for each in phases if each.times), default=1.0)
    top = 10.0 ** math.ceil(math.log10(max(most, 1.0)))
    bottom = 0.1

    def x(second: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / end

    def y(value: float) -> float:
        part = math.log10(max(value, bottom) / bottom) / math.log10(top / bottom)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * part

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
            f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}">'
        ),
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for phase in phases:
        parts += _band(phase, x(phase.start), x(phase.end))
    value = bottom
    while value <= top:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{_GRID}"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g} ms</text>')
        value *= 10
    for phase in phases:
        for second, took in phase.requests:
            parts.append(_dot(x(second), _TOP - 18 if took is None else y(took), failed=took is None))
    parts.append(f'<text x="{_LEFT - 8}" y="{_TOP - 14}" text-anchor="end" fill="{_FAILED}">no answer</text>')
    parts += [
        f'<text x="{x(each):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{each} s</text>'
        for each in range(0, int(end) + 1, max(1, int(end) // 10))
    ]
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 10}">each dot is a request of the client; shaded: under attack</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _band(phase: Phase, left: float, right: float) -> Iterator[str]:
    if phase.flooded:
        yield (
            f'<rect x="{left:.1f}" y="{_TOP - 28}" width="{right - left:.1f}" '
            f'height="{_HEIGHT - _BOTTOM - _TOP + 28}" fill="{_FLOOD}"/>'
        )
    told = (
        phase.name,
        f"{phase.success:.1%} answered",
        f"median {phase.median:.2f} ms" if phase.times else "",
    )
    for number, line in enumerate(told):
        yield f'<text x="{left + 4:.1f}" y="{44 + 16 * number}">{escape(line)}</text>'


def _dot(x: float, y: float, *, failed: bool) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{_FAILED if failed else _DONE}"/>'
