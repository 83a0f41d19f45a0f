"""`xdpsim map event_pipe MAP [cpu N index M]`: the events of a map as they come, until the user stops it.

Not here: rings and readers (xdp.events), and the words of MAP (map_words.py).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import InputError
from runtime.maps import Map, format_value
from xdp.cli.exits import Exit
from xdp.cli.map_text import rows, tree
from xdp.cli.map_words import Words
from xdp.cli.output import Output
from xdp.events import events_of

if TYPE_CHECKING:
    from xdp.events import Event, Events

__all__ = ["pipe"]

_SAMPLE: Final = 9
_LOST: Final = 2
_POLL: Final = 0.2
_SECOND: Final = 1_000_000_000
_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
_MOST: Final = 1 << 20


def pipe(words: Words, opened: Map, output: Output) -> int:
    """Print events as they come; with JSON, one document each. A signal ends it well, as in bpftool."""
    per_cpu = opened.spec.key_size > 0
    cpu, index = _slot(words)
    events = events_of(opened)
    if index is not None and not per_cpu:
        raise InputError(f"map {opened.name!r} is one ring for all CPUs: leave 'cpu' and 'index' away")
    if index is not None and index >= opened.spec.max_entries:
        raise InputError(f"index {index} is out of range: the map has {opened.spec.max_entries} entries")
    chosen = None if index is None else (index,)
    if index is not None:
        events.assign(index, cpu)
    try:
        with _signalled() as stopped:
            while not stopped:
                for event in events.wait(_POLL, indices=chosen):
                    output.emit(*(_of_cpu if per_cpu else _of_ring)(events, event))
                sys.stdout.flush()
    finally:
        if index is not None:
            events.assign(index, None)
    output.note("Stopping...")
    return Exit.OK


def _slot(words: Words) -> tuple[int | None, int | None]:
    """The numbers after `cpu` and `index`, which go together; raises InputError."""
    found: dict[str, int] = {}
    while words.next is not None:
        word = words.take("cpu or index")
        if word not in ("cpu", "index"):
            raise InputError(f"what is {word!r}?")
        number = words.take(f"the number after {word!r}")
        if not (number.isascii() and number.isdigit() and int(number) < _MOST):
            raise InputError(f"can't parse {number!r} as {'CPU' if word == 'cpu' else 'index'}")
        found[word] = int(number)
    if len(found) == 1:
        raise InputError("cpu and index must be specified together")
    return found.get("cpu"), found.get("index")


def _of_cpu(events: Events, event: Event) -> tuple[dict[str, Any], str]:
    """An event of a perf event array, as JSON and as text."""
    record: dict[str, Any] = {"type": _LOST if event.lost else _SAMPLE, "cpu": event.cpu, "index": event.index}
    if event.lost:
        return {**record, "lost": {"id": 0, "count": event.lost}}, f"lost {event.lost} events"
    seconds, rest = divmod(event.time, _SECOND)
    title = f"== @{seconds}.{rest:09} CPU: {event.cpu} index: {event.index} ====="
    record["timestamp"] = event.time
    return _with_data(events, event, record, title)


def _of_ring(events: Events, event: Event) -> tuple[dict[str, Any], str]:
    """A record of a ring buffer, which has neither a time nor a CPU."""
    title = f"== +{event.position} size: {len(event.data)} ====="
    return _with_data(events, event, {"type": _SAMPLE, "position": event.position}, title)


def _with_data(events: Events, event: Event, record: dict[str, Any], title: str) -> tuple[dict[str, Any], str]:
    record["data"] = list(event.data)
    typed = events.typed(event)
    if typed is None or events.type is None:
        return record, f"{title}\n{rows(event.data)}"
    record["formatted"] = format_value(events.type, typed)
    return record, f"{title}\n{tree(format_value(events.type, typed, plain=True))}"


@contextmanager
def _signalled() -> Iterator[list[int]]:
    """The signals that asked to stop within the block; they do nothing else."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    before = {each: signal.signal(each, note) for each in _SIGNALS}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
