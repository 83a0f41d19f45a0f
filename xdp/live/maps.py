"""Maps of live programs from any process: found by number, name or file, and opened where they lie.

Not here: what a map can do (runtime.maps), and records of attachments (registry.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from runtime.errors import InputError, MapError
from runtime.maps import Map, attach
from runtime.spec import MapKind
from xdp.extension import default_registry
from xdp.live.registry import Attachment, LiveMap, State
from xdp.live.runs import Run, Runs

__all__ = ["FoundMap", "arena_folder", "live_maps", "open_found", "open_map"]

_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  files there have no name, or the one that the user gave
_TMPFS: Final = "tmpfs"


@final
@dataclass(frozen=True, slots=True)
class FoundMap:
    """A live map and who holds it, which is several attachments (or runs) when they share it."""

    live: LiveMap
    holders: tuple[Attachment | Run, ...]


def live_maps(state: State | None = None) -> tuple[FoundMap, ...]:
    """Every map of every attachment and run, by number. Raises DeviceError."""
    found: dict[int, FoundMap] = {}
    state = state or State()
    holders: tuple[Attachment | Run, ...] = (*state.all(), *Runs(state).all())
    for holder in holders:
        for live in holder.maps:
            before = found.get(live.id)
            found[live.id] = FoundMap(live, (*before.holders, holder) if before else (holder,))
    return tuple(found[number] for number in sorted(found))


def open_found(found: FoundMap) -> Map:
    """Open a live map; raises InputError when it has gone in this moment, MapError when it may not be opened."""
    try:
        return attach(Path(found.live.path), _kinds())
    except MapError as error:
        if not all(each.alive for each in found.holders):
            raise InputError(f"map {found.live.id} ({found.live.name}) has just gone with its attachment") from error
        raise


def open_map(which: int | str | Path, *, state: State | None = None) -> Map:
    """A map that another process holds: by number, by name, or by the path of a pin or of /proc/PID/fd/N.

    It reads and writes the same memory as the live program. Close it (or use it in a `with` block) when done. Raises
    InputError when there is no such map or several have the name, MapError for a file that is no map.
    """
    if isinstance(which, Path) or (isinstance(which, str) and "/" in which):
        return attach(Path(which), _kinds())
    known = live_maps(state)
    fitting = [each for each in known if which in (each.live.id, each.live.name)]
    if len(fitting) > 1:
        numbers = ", ".join(str(each.live.id) for each in fitting)
        raise InputError(f"several maps are named {which!r}: choose one by number ({numbers})")
    if not fitting:
        names = ", ".join(f"{each.live.id} ({each.live.name})" for each in known)
        raise InputError(
            f"there is no live map {which!r}; " + (f"there is {names}" if names else "nothing is attached")
        )
    return open_found(fitting[0])


def arena_folder(state: State | None = None) -> Path | None:
    """Where arenas can lie that may be given names later: the state folder if it is memory, else /dev/shm, else nowhere."""
    folder = (state or State()).folder
    for each in (folder, _SHARED_MEMORY):
        if _filesystem(each) == _TMPFS and os.access(each, os.W_OK):
            return each
    return None


def _kinds() -> tuple[MapKind, ...]:
    return tuple(default_registry().map_kinds)


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds the folder; empty when the system does not tell."""
    with suppress(OSError):
        device = folder.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        return next((kind for number, kind in _mounts() if number == wanted), "")
    return ""


def _mounts() -> Iterator[tuple[str, str]]:
    """Device number and type of each mount; proc(5) tells the format."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        yield left.split()[2], right.split()[0]
