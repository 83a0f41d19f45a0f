"""Writes the tables of docs/hooks.md: places to attach to, context fields, verdicts, helpers and system calls, from the rows that run.

Not here: the rest of the document, which is written by hand. `python -m tests.xdp.hooks.make_document` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from netdev.interpose.calls import CALLS, Call
from runtime.spec import AttachType, ContextField, Helper, ProgramType, Registry
from xdp.extension import default_registry
from xdp.sockets import calls_of

__all__ = ["DOCUMENT", "document"]

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "hooks.md"
_MARK: Final = "<!-- tables -->\n"
_TYPES: Final = ("cgroup_sock_addr", "bind", "sock_ops")
_OUT_OF_LINUX: Final = 1 << 16


def document() -> str:
    """The document as it should be: what is written by hand, and the tables behind the mark."""
    registry = default_registry()
    types = [each for each in registry.program_types if each.name in _TYPES]
    types.sort(key=lambda each: _TYPES.index(each.name))
    sections = (
        _places(registry, types),
        *(_fields(each) for each in types),
        _verdicts(types),
        _helpers(registry, types),
        _calls(),
    )
    by_hand = DOCUMENT.read_text().partition(_MARK)[0]
    return by_hand + _MARK + "".join("\n".join(("", *lines, "")) for lines in sections)


def _places(registry: Registry, types: list[ProgramType]) -> Iterator[str]:
    yield "### Places"
    yield ""
    yield "| section | type | attach type | number | asked at | returns |"
    yield "| --- | --- | --- | ---: | --- | --- |"
    for kind in types:
        for way in kind.attach_types or (None,):
            cells = (
                _sections(registry, kind, way),
                f"`{kind.name}`",
                f"`{way.name}`" if way else "",
                _number(kind, way),
                _asked_at(kind, way),
                _returns(kind, way),
            )
            yield f"| {' | '.join(cells)} |"


def _sections(registry: Registry, kind: ProgramType, way: AttachType | None) -> str:
    found = (
        each
        for bundle in registry.extensions
        for each in bundle.sections
        if each.program_type == kind.name and (way is None or each.attach_type == way.name)
    )
    return " ".join(f"`{each.prefix}{'/…' if each.parameter else ''}`" for each in found)


def _asked_at(kind: ProgramType, way: AttachType | None) -> str:
    calls = calls_of(kind.attached(way.name) if way is not None else kind)
    return ", ".join(each.name for each in calls) or "nothing: verified only"


def _number(kind: ProgramType, way: AttachType | None) -> str:
    if way is None:
        return "not in Linux" if kind.linux_type is None else ""
    return str(way.linux) if way.linux < _OUT_OF_LINUX else "not in Linux"


def _returns(kind: ProgramType, way: AttachType | None) -> str:
    bounds = way.returns if way is not None and way.returns is not None else kind.returns
    if bounds is None:
        return "anything"
    low, high = bounds
    return str(low) if low == high else f"{low} to {high}"


def _fields(kind: ProgramType) -> Iterator[str]:
    layout = kind.context
    yield f"### struct {layout.name} (`{kind.name}`), {layout.size} bytes"
    yield ""
    yield "| field | offset | bytes | read by | written by | only for |"
    yield "| --- | ---: | ---: | --- | --- | --- |"
    for each in layout.fields:
        cells = (
            f"`{each.name}`",
            str(each.offset),
            str(each.size),
            _widths(each, each.reads),
            _widths(each, each.writes),
            _seen_by(each),
        )
        yield f"| {' | '.join(cells)} |"


def _widths(field: ContextField, widths: tuple[int, ...]) -> str:
    said = ", ".join(map(str, widths))
    return f"{said} from its start" if said and field.from_start else said


def _seen_by(field: ContextField) -> str:
    """Attach types in short: cgroup_inet4_connect and cgroup_inet6_connect become connect4 connect6."""
    return " ".join(dict.fromkeys(map(_short, field.attach_types)))


def _short(name: str) -> str:
    _, family, call = name.split("_", 2)
    digit = family[-1] if family[-1].isdigit() else f"_{family}"
    return f"{call}{digit}"


def _verdicts(types: list[ProgramType]) -> Iterator[str]:
    yield "### Return values by name"
    yield ""
    yield "| type | value | name |"
    yield "| --- | ---: | --- |"
    for kind in types:
        for value, name in kind.verdicts:
            yield f"| `{kind.name}` | {value} | `{name}` |"


def _helpers(registry: Registry, types: list[ProgramType]) -> Iterator[str]:
    yield "### Helpers"
    yield ""
    yield "*Runs*: of programs that call it. *Verified*: such programs are judged, and not attached. Empty: it may not be called."
    yield ""
    yield f"| number | helper | {' | '.join(f'`{each.name}`' for each in types)} |"
    yield f"| ---: | --- | {' | '.join('---' for _ in types)} |"
    numbers = sorted(set().union(*(_allowed(each) for each in types)))
    for number in numbers:
        helper = registry.helper(number)
        if helper is not None:
            cells = (_state(helper, kind) if number in _allowed(kind) else "" for kind in types)
            yield f"| {number} | `bpf_{helper.name}` | {' | '.join(cells)} |"


def _allowed(kind: ProgramType) -> set[int]:
    return set(kind.helpers).union(*(way.helpers for way in kind.attach_types))


def _state(helper: Helper, kind: ProgramType) -> str:
    own = kind.own(helper)
    runs = bool(own.native or own.map_op or own.builtin)
    ways = [way.name for way in kind.attach_types if helper.id in way.helpers]
    some = "" if not ways or len(ways) == len(kind.attach_types) else f" ({' '.join(map(_short, ways))})"
    return ("runs" if runs else "verified") + some


def _calls() -> Iterator[str]:
    yield "### System calls"
    yield ""
    yield "| call | x86-64 | arm64 | is seen as |"
    yield "| --- | ---: | ---: | --- |"
    for call in CALLS:
        if call.events and (call.x86_64 >= 0 or call.aarch64 >= 0):
            events = ", ".join(each.name for each in call.events)
            yield f"| `{call.name}` | {_call_number(call.x86_64)} | {_call_number(call.aarch64)} | {events} |"
    yield ""
    others = [call for call in CALLS if not call.events]
    yield f"Looked at by the filter alone, which refuses some uses of them (above): {_names(others)}."


def _call_number(number: int) -> str:
    return str(number) if number >= 0 else ""


def _names(calls: list[Call]) -> str:
    return ", ".join(f"`{each.name}`" for each in calls)


if __name__ == "__main__":
    DOCUMENT.write_text(document())
