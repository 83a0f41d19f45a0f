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
_MOST_ROWS: Final = 6
_INSTANTS: Final = {0: "no packets", 1: "one packet"}
_INSTANT: Final = (0.4, 0.6)  # no time has no width; its bar is drawn in the middle
_NAME_LENGTH: Final = 60
_SUFFIXES: Final = (("G", 1e9), ("M", 1e6))
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
    per = timeline.width_ns / _SECOND if _has_rate(report, timeline) else 1.0
    text = _svg(report, timeline, [float(x) / per for x in passed], [float(x) / per for x in dropped])
    with AtomicFile(path) as file:
        file.write(text.encode())


def _has_rate(report: Report, timeline: Timeline) -> bool:
    """Over less than a second, or with fewer packets than bins, a rate would be made up: the picture counts instead."""
    return timeline.span_ns >= _SECOND and report.packets >= timeline.counts.shape[1]


def _svg(report: Report, timeline: Timeline, passed: Sequence[float], dropped: Sequence[float]) -> str:
    total = [a + b for a, b in zip(passed, dropped, strict=True)]
    step = _nice(max(total) / _MOST_ROWS)
    top = step * max(math.ceil(max(total) / step), 1)
    refused = report.verdicts["XDP_DROP"] + report.verdicts["XDP_ABORTED"]
    factor, unit = _unit(timeline.span_ns)
    width, bin_unit = _unit(timeline.width_ns)
    height = "packets/s" if _has_rate(report, timeline) else f"packets in {timeline.width_ns / width:.3g} {bin_unit}"
    below = f"time since the first packet, {unit}"
    edges = [i / len(total) for i in range(len(total) + 1)]
    if not timeline.span_ns:
        height, below = "packets", _INSTANTS.get(report.packets, "all packets have the same timestamp")
        total, passed, edges = total[:1], passed[:1], list(_INSTANT)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
            f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12" fill="{_INK}">'
        ),
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        (
            f'<text x="{_LEFT}" y="22" font-size="15" font-weight="bold">{escape(_shown(report.program))}: '
            f"{report.packets:,} packet{'' if report.packets == 1 else 's'}, {refused:,} dropped</text>"
        ),
        _legend(),
        *_rows(step, top),
        *(_columns(timeline.width_ns * len(total) / factor) if timeline.span_ns else ()),
        f'<path d="{_area(edges, total, passed, top)}" fill="{_DROPPED}"/>',
        f'<path d="{_area(edges, passed, [0.0] * len(passed), top)}" fill="{_PASSED}"/>',
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


def _shown(name: str) -> str:
    """A program's name as far as there is room, without what XML has no characters for."""
    plain = "".join(each if each.isprintable() else "?" for each in name)
    return plain if len(plain) <= _NAME_LENGTH else f"{plain[:_NAME_LENGTH]}…"


def _nice(value: float) -> float:
    """The next number of the form 1, 2, 5 times a power of ten, and at least 1: there are no parts of packets."""
    power = 10.0 ** math.floor(math.log10(max(value, 1.0)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _rows(step: float, top: float) -> list[str]:
    parts = []
    for i in range(round(top / step) + 1):
        y = _y(i * step / top)
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{_short(i * step)}</text>')
    return parts


def _short(value: float) -> str:
    """A number of packets in few characters: 1,500, but 15M."""
    suffix, scale = next((each for each in _SUFFIXES if value >= 10 * each[1]), ("", 1.0))
    return f"{value / scale:,.7g}{suffix}"


def _columns(span: float) -> list[str]:
    """Round numbers below the picture."""
    power = 10.0 ** math.floor(math.log10(span))
    step = next(step * power for step in (0.1, 0.2, 0.5, 1, 2) if span / (step * power) <= _MOST_TICKS)
    return [
        f'<text x="{_x(i * step / span)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{i * step:.6g}</text>'
        for i in range(int(span / step + 1e-9) + 1)
    ]


def _area(edges: Sequence[float], upper: Sequence[float], lower: Sequence[float], top: float) -> str:
    """Steps between edges: a bin is as wide as its time."""
    there = [f"{_x(edges[i + k])},{_y(v / top)}" for i, v in enumerate(upper) for k in (0, 1)]
    back = [f"{_x(edges[i + k])},{_y(v / top)}" for i, v in enumerate(lower) for k in (0, 1)][::-1]
    return f"M{' L'.join(there + back)} Z"
