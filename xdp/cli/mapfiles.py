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
from runtime.maps import Map, dump, fill

__all__ = ["dump_maps", "fill_maps"]


def fill_maps(maps: Mapping[str, Map], assignments: Iterable[tuple[str, str]]) -> None:
    """Store what each file lists; raises InputError that names the file and the map."""
    for name, path in assignments:
        found = maps.get(name)
        if found is None:
            raise InputError(
                f"--map {name}={path}: the object has no map {name!r}; there is {', '.join(maps) or 'none'}"
            )
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
    """Write every map as one object {name: dump}, in the shape of `bpftool map dump -j`."""
    text = json.dumps({name: dump(each) for name, each in maps.items()})
    if path == "-":
        print(text)
    else:
        with AtomicFile(path) as file:
            file.write(f"{text}\n".encode())
