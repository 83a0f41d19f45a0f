"""`xdpsim net top`: packets and bytes a second by verdict, drops by cause and line, what the rings lost, CPU; live.

Not here: counting (xdp.live).
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from typing import Any, final

from runtime.errors import DeviceError
from xdp.cli.exits import Exit
from xdp.cli.net import reach
from xdp.cli.net_words import phrase
from xdp.cli.output import Output
from xdp.live.control import KeeperError, ask
from xdp.live.registry import Attachment, State

__all__ = ["rates", "run"]

_ASKED_FOR = ("drop", "aborted")
_MOST_LINES = 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Counts of one attachment, taken at `at` (seconds on the monotonic clock)."""

    record: Attachment
    at: float
    stats: Mapping[str, Any]


def run(arguments: Namespace, output: Output) -> int:
    """Show rates until --count views were shown, Ctrl-C, or nothing is attached any more."""
    state = State()
    name = phrase(arguments).interface
    views = _views(state, name, arguments.interval, arguments.count)
    with suppress(KeyboardInterrupt):  # the way to end it
        if sys.stdout.isatty() and not output.json:
            _watch(views)
        for view in views:
            print(json.dumps(view, indent=2 if output.pretty else None) if output.json else _plain(view), flush=True)
        if arguments.count is None:
            output.note(f"xdpsim: nothing is attached{f' to {name}' if name else ''} any more")
    return Exit.OK


def _views(state: State, name: str, interval: float, count: int | None) -> Iterator[list[dict[str, Any]]]:
    before = _samples(state, reach(state, name))
    due = time.monotonic()
    for number in numbers(1):
        due += interval
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            after = _samples(state, reach(state, name))
        except DeviceError:
            return
        yield [rates(before.get(key), sample) for key, sample in after.items()]
        before = after
        if number == count:
            return


def _samples(state: State, records: tuple[Attachment, ...]) -> dict[int, _Sample]:
    found = {}
    for record in records:
        try:
            stats = ask(state.attachments / f"{record.id}.sock", "stats")
        except (DeviceError, KeeperError):  # it went in this moment
            continue
        found[record.id] = _Sample(record=record, at=time.monotonic(), stats=stats)
    return found


def rates(before: _Sample | None, after: _Sample) -> dict[str, Any]:
    """Differences a second between two samples, and the totals; all zero where there is no sample before."""
    old: Mapping[str, Any] = before.stats if before else after.stats
    span = after.at - before.at if before and after.at > before.at else 1.0
    new, record = after.stats, after.record

    def per_second(group: str) -> dict[str, float]:
        return {key: round((value - old[group].get(key, value)) / span, 3) for key, value in new[group].items()}

    return {
        "devname": record.interface,
        "ifindex": record.ifindex,
        "mode": record.mode,
        "id": record.program_id,
        "state": new.get("state", record.state),
        "interval": round(span, 6),
        "packets_per_second": per_second("packets"),
        "bytes_per_second": per_second("bytes"),
        "drops_per_second": per_second("drops"),
        "ring_lost_per_second": round((new["lost"] - old["lost"]) / span, 3),
        "cpu": round((new["cpu_seconds"] - old["cpu_seconds"]) / span, 4),
        "totals": {key: new[key] for key in ("packets", "bytes", "drops", "lost", "cpu_seconds")},
        "programs": new.get("programs", []),
        "reasons": _reasons(old.get("reasons", ()), new.get("reasons", ()), span),
    }


def _reasons(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], span: float) -> list[dict[str, Any]]:
    """Lines after which frames were dropped or aborted, with packets and bytes a second, most of them first."""
    known = {_place(each): each for each in old}
    rows = []
    for each in new:
        before = known.get(_place(each), {"packets": 0, "bytes": 0})
        rates = {f"{key}_per_second": round((each[key] - before[key]) / span, 3) for key in ("packets", "bytes")}
        rows.append({**each, **rates})
    return sorted(rows, key=lambda each: -each["packets_per_second"])


def _place(reason: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(reason[key] for key in ("program", "verdict", "file", "line", "text", "pc"))


def _plain(view: list[dict[str, Any]]) -> str:
    return "\n".join(line for each in view for line in (_sentence(each), *_reason_lines(each)))


def _reason_lines(each: Mapping[str, Any]) -> list[str]:
    return [
        f"  {row['packets_per_second']:,.0f}/s ({row['packets']:,}) {_whence(row)}"
        for row in each["reasons"][:_MOST_LINES]
    ]


def _sentence(each: Mapping[str, Any]) -> str:
    words = [f"{each['devname']} {each['mode']} {each['state']}:"]
    moved = [
        f"{verdict.removeprefix('XDP_')} {rate:,.0f} packets/s {each['bytes_per_second'][verdict]:,.0f} bytes/s"
        for verdict, rate in each["packets_per_second"].items()
        if each["totals"]["packets"][verdict]
    ]
    words.append(", ".join(moved) or "no packets yet")
    return " ".join(words) + f"; {_losses(each) or 'no losses'}; CPU {each['cpu']:.0%}"


def _losses(each: Mapping[str, Any]) -> str:
    """Drops that no program asked for, by cause."""
    return ", ".join(
        f"{cause.replace('_', ' ')} {each['drops_per_second'][cause]:,.0f}/s ({total:,})"
        for cause, total in each["totals"]["drops"].items()
        if total and cause not in _ASKED_FOR
    )


def _whence(reason: Mapping[str, Any]) -> str:
    """A reason's verdict and line, or its instruction."""
    verdict = reason["verdict"].removeprefix("XDP_")
    if reason["line"]:
        return f"{verdict} {Path(reason['file']).name}:{reason['line']} {reason['text']}"
    if reason["program"]:
        return f"{verdict} {reason['program']}, instruction {reason['pc']}"
    return f"{verdict} elsewhere"


def _watch(views: Iterator[list[dict[str, Any]]]) -> None:
    from rich.live import Live
    from rich.text import Text

    with Live(Text("measuring …"), auto_refresh=False, screen=False) as live:
        for view in views:
            live.update(_table(view), refresh=True)


def _table(view: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("interface", "mode", "state", "verdict"):
        table.add_column(heading)
    for heading in ("packets/s", "bytes/s", "packets", "CPU"):
        table.add_column(heading, justify="right")
    table.add_column("losses by cause")
    ends = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("dropped/s", "packets"):
        ends.add_column(heading, justify="right")
    ends.add_column("after")
    for each in view:
        first = [each["devname"], each["mode"], each["state"]]
        last = [f"{each['cpu']:.0%}", _losses(each)]
        for verdict, rate in each["packets_per_second"].items():
            total = each["totals"]["packets"][verdict]
            moved = [f"{rate:,.0f}", f"{each['bytes_per_second'][verdict]:,.0f}", f"{total:,}"]
            table.add_row(*first, verdict.removeprefix("XDP_"), *moved, *last)
            first, last = ["", "", ""], ["", ""]
        for row in each["reasons"][:_MOST_LINES]:
            ends.add_row(f"{row['packets_per_second']:,.0f}", f"{row['packets']:,}", Text(_whence(row)))
    return Group(table, Text(), ends) if ends.row_count else table
