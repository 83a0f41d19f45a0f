"""A replay as a picture: frames that pass and frames that do not, over the capture's time, as SVG.

Not here: counting (xdp.offline.Timeline).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from netdev.capture import AtomicFile
from xdp.offline import Report, Timeline
from xdp.verdict import Verdict

__all__ = ["draw"]

_WIDTH, _HEIGHT = 900, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 30, 64, 52
_SECOND: Final = 10**9
_UNITS: Final = ((_SECOND, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))
_MOST_TICKS: Final = 10
_INK: Final = "#222222"
_GRID: Final = "#dddddd"
# Two hues that colour-blind readers tell apart (Okabe and Ito), and that differ in print as dark and light.
_DROPPED: Final = "#d55e00"
_PASSED: Final = "#56b4e9"


def draw(report: Report, path: Path) -> None:
    """Write the picture; the report must have been made with `timeline`. Raises OSError."""
    timeline = report.timeline
    assert timeline is not None
    counts = timeline.counts
    dropped = counts[Verdict.XDP_DROP] + counts[Verdict.XDP_ABORTED]
    passed = counts.sum(axis=0) - dropped
    # Over less than a second a rate would be made up: the picture counts instead.
    per = timeline.width_ns / _SECOND if timeline.span_ns >= _SECOND else 1.0
    text = _svg(report, timeline, [float(x) / per for x in passed], [float(x) / per for x in dropped])
    with AtomicFile(path) as file:
        file.write(text.encode())


def _svg(report: Report, timeline: Timeline, passed: Sequence[float], dropped: Sequence[float]) -> str:
    total = [a + b for a, b in zip(passed, dropped, strict=True)]
    top = _nice(max(total, default=1.0) or 1.0)
    refused = report.verdicts["XDP_DROP"] + report.verdicts["XDP_ABORTED"]
    factor, unit = _unit(timeline.span_ns)
    width, bin_unit = _unit(timeline.width_ns)
    height = "packets/s" if timeline.span_ns >= _SECOND else f"packets in {timeline.width_ns / width:.3g} {bin_unit}"
    below = f"time since the first packet, {unit}"
    if not timeline.span_ns:
        height, below = "packets", "all packets have the same timestamp"
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
            f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}">'
        ),
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        (
            f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">{escape(report.program)}: '
            f"{report.packets:,} packets, {refused:,} dropped</text>"
        ),
        _legend(),
        *_rows(top),
        *(_columns(timeline.width_ns * len(total) / factor) if timeline.span_ns else ()),
        f'<path d="{_area(total, passed, top)}" fill="{_DROPPED}"/>',
        f'<path d="{_area(passed, [0.0] * len(passed), top)}" fill="{_PASSED}"/>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">{below}</text>',
        (
            f'<text transform="translate(16 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
            f"{height}</text>"
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _unit(span_ns: int) -> tuple[int, str]:
    """Nanoseconds in the unit that suits a span of time, and its name."""
    return next((each for each in _UNITS if span_ns >= each[0]), _UNITS[-1])


def _legend() -> str:
    x = _LEFT
    return (
        f'<rect x="{x}" y="36" width="12" height="12" fill="{_DROPPED}"/><text x="{x + 18}" y="46">dropped or aborted'
        f'</text><rect x="{x + 150}" y="36" width="12" height="12" fill="{_PASSED}"/>'
        f'<text x="{x + 168}" y="46">passed, sent back or redirected</text>'
    )


def _nice(value: float) -> float:
    """The next number of the form 1, 2, 5 times a power of ten."""
    power = 10.0 ** (len(str(int(value))) - 1)
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _rows(top: float) -> list[str]:
    parts = []
    for i in range(6):
        y = _y(i / 5)
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{top * i / 5:,.6g}</text>')
    return parts


def _columns(span: float) -> list[str]:
    """Round numbers below the picture."""
    power = 10.0 ** math.floor(math.log10(span))
    step = next(step * power for step in (0.1, 0.2, 0.5, 1, 2) if span / (step * power) <= _MOST_TICKS)
    return [
        f'<text x="{_x(i * step / span)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{i * step:.6g}</text>'
        for i in range(int(span / step + 1e-9) + 1)
    ]


def _area(upper: Sequence[float], lower: Sequence[float], top: float) -> str:
    """Steps: a bin is as wide as its time."""
    count = len(upper)
    there = [f"{_x(i / count)},{_y(v / top)} {_x((i + 1) / count)},{_y(v / top)}" for i, v in enumerate(upper)]
    back = [f"{_x((i + 1) / count)},{_y(v / top)} {_x(i / count)},{_y(v / top)}" for i, v in enumerate(lower)][::-1]
    return f"M{' L'.join(there + back)} Z"
