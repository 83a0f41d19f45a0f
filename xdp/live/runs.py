"""Commands under supervision, as other terminals see them: one JSON file each beside the records of live attachments.

    runs/<id>.json    a record (Run), written whole or not at all

Records of supervisors that are gone are known by process id and start time; whoever looks removes them.

Not here: the supervision, and records of interfaces (registry.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from runtime.errors import DeviceError
from xdp.live.registry import LiveMap, LiveProgram, State, process_lives

__all__ = ["Hooked", "Run", "Runs", "cgroup_folder", "cgroup_of"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """A program of a run at its place: what bpftool calls a link.

    `way` is the attach type, `flags` "multi" where others may stand beside it, `cgroup_id` and `netns` what it is confined
    to (0: it is for all).
    """

    id: int
    program: int
    type: str
    way: str
    flags: str = ""
    cgroup_id: int = 0
    netns: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A command under supervision.

    `pid` and `started` are the supervisor's (start time in clock ticks since boot), `child` the command's process, `cgroup`
    the folder of the command's cgroup, as seen when it began, `begun_at` seconds since the epoch.
    """

    id: int
    pid: int
    started: str
    command: tuple[str, ...]
    child: int = 0
    policy: str = "enforce"
    on_error: str = "deny"
    cgroup: str = ""
    cgroup_id: int = 0
    begun_at: float = 0.0
    programs: tuple[LiveProgram, ...] = ()
    maps: tuple[LiveMap, ...] = ()
    links: tuple[Hooked, ...] = ()

    @property
    def interface(self) -> str:
        """None: a run belongs to no interface."""
        return ""

    @property
    def alive(self) -> bool:
        """Whether the supervisor still runs."""
        return process_lives(self.pid, self.started)

    def program(self, number: int) -> LiveProgram | None:
        """The program of that number."""
        return next((each for each in self.programs if each.id == number), None)


@final
class Runs:
    """The runs of a state folder. Raises DeviceError where the folder cannot be read or written."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.folder = self.state.folder / "runs"

    def write(self, run: Run) -> None:
        """Put a record down, replacing the one of the same id."""
        target = self.folder / f"{run.id}.json"
        fresh = target.with_suffix(f".{os.getpid()}.new")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            fresh.write_text(json.dumps(asdict(run)) + "\n")
            fresh.rename(target)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise DeviceError(f"{target}: {error.strerror}") from error

    def remove(self, number: int) -> None:
        """Forget a run."""
        (self.folder / f"{number}.json").unlink(missing_ok=True)

    def all(self) -> tuple[Run, ...]:
        """Every run whose supervisor lives, by id; records of those that are gone are removed."""
        living = []
        for run in self._records():
            if run.alive:
                living.append(run)
            else:
                self.remove(run.id)
        return tuple(sorted(living, key=lambda each: each.id))

    def _records(self) -> Iterator[Run]:
        try:
            paths = sorted(self.folder.glob("*.json"))
        except PermissionError as error:
            raise DeviceError(f"{self.folder} cannot be read: {error.strerror}") from error
        for path in paths:
            try:
                document = json.loads(path.read_bytes())
            except FileNotFoundError:  # it went in this moment
                continue
            except OSError as error:
                raise DeviceError(f"{path}: {error.strerror}") from error
            except ValueError:
                continue
            run = _run(document)
            if run is not None:
                yield run


def _run(document: object) -> Run | None:
    """The record that a file holds; None for what is not one of ours."""
    if not isinstance(document, dict):
        return None
    parts = {"programs": LiveProgram, "maps": LiveMap, "links": Hooked}
    try:
        known = _known(Run, document)
        for name, record in parts.items():
            known[name] = tuple(record(**_known(record, each)) for each in document.get(name, ()))
        return Run(**known)
    except (TypeError, AttributeError):
        return None


def _known(record: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What the record has a place for: a newer supervisor may have written more."""
    return {
        name: tuple(value) if isinstance(value := document[name], list) else value
        for name in record.__dataclass_fields__
        if name in document
    }


def cgroup_of(pid: int | str = "self") -> str:
    """The folder of a process's cgroup (v2), or its path in the hierarchy where that is not mounted; empty when it has none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    folder = cgroup_folder()
    return f"{folder}{path}".rstrip("/") if folder and path else path


def cgroup_folder() -> str:
    """Where the cgroup hierarchy (v2) is mounted; empty when it is not."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return left.split()[4]
    return ""
