"""Map files on the command line: `--map NAME=FILE` in, `--dump-maps FILE` out.

Not here: the shapes of keys and values (runtime.maps).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from netdev.capture import AtomicFile
from runtime.errors import InputError, MapError
from runtime.maps import Map, dump, fill, format_value
from xdp.events import events_of

__all__ = ["dump_maps", "fill_maps"]


def fill_maps(maps: Mapping[str, Map], assignments: Iterable[tuple[str, str]]) -> None:
    """Store what each file lists; raises InputError that names the file and the map."""
    for name, path in assignments:
        found = maps.get(name)
        if found is None:
            raise InputError(
                f"--map {name}={path}: the object has no map {name!r}; there is {', '.join(maps) or 'none'}"
            )
        if found.kind.value_is == "event":
            raise InputError(f"--map {name}={path}: map {name!r} holds events, which only programs write")
        entries = _read(path)
        if not isinstance(entries, list):
            raise InputError(f'{path}: expected an array of {{"key": …, "value": …}}')
        try:
            fill(found, entries)
        except (InputError, MapError) as error:
            raise InputError(f"{path}: map {name!r}: {error}") from error


def _read(path: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if path == "-" else Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from error


def dump_maps(maps: Mapping[str, Map], path: str) -> None:
    """Write every map as one object {name: dump}, in the shape of `bpftool map dump -j`; of events those that nobody read."""
    text = json.dumps(
        {name: _events(each) if each.kind.value_is == "event" else dump(each) for name, each in maps.items()}
    )
    if path == "-":
        print(text)
    else:
        with AtomicFile(path) as file:
            file.write(f"{text}\n".encode())


def _events(raw: Map) -> list[dict[str, Any]]:
    """Events that are in a map, and stay there: bytes, and what BTF says of them; of perf event arrays also where and when."""
    events = events_of(raw)
    found = []
    for event in events.peek():
        entry: dict[str, Any] = {"value": [f"0x{byte:02x}" for byte in event.data]}
        if raw.spec.key_size:
            entry |= {"cpu": event.cpu, "index": event.index, "timestamp": event.time}
        if event.lost:
            entry["lost"] = event.lost
        typed = events.typed(event)
        if typed is not None and events.type is not None:
            entry["formatted"] = {"value": format_value(events.type, typed)}
        found.append(entry)
    return found
