"""The state folder: which attachments live, who holds them, what they run, as one JSON file each.

    attachments/<id>.json    a record (Attachment), written whole or not at all
    attachments/<id>.sock    where its keeper answers (control.py)
    attachments/<id>.log     what its keeper said
    claims/                  who has which interface (claims.py)
    journal/                 how to undo what was changed (netdev.topology)
    objects/, numbers        what is loaded, and the numbers that were given out

Records of keepers that are gone are known by process id and start time; whoever looks removes them.

Not here: talking to a keeper (control.py) and holding an attachment (keeper.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from runtime.errors import DeviceError, InputError

__all__ = [
    "Attachment",
    "LiveMap",
    "LiveProgram",
    "State",
    "bound_log",
    "namespace",
    "process_lives",
    "start_time",
    "state_folder",
]

_FOLDERS: Final = ("attachments", "claims", "journal", "objects")
_DIGITS: Final = 20
_KEPT_LOGS: Final = 32
_LONGEST_LOG: Final = 1 << 20  # bytes, after which it goes on in a new file and the one before is kept beside it


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveProgram:
    """A program of a chain: `id` is one of the machine, `tag` 16 hex digits, `object` what was named on the command line.

    `chain_on` are the verdicts on which the next one is asked; `backward`: it judges what comes from the peer.
    """

    id: int
    name: str
    tag: str
    priority: int
    object: str = ""
    maps: tuple[int, ...] = ()
    loaded_at: float = 0.0
    chain_on: tuple[str, ...] = ("pass",)
    backward: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMap:
    """A map of a live program: its arena can be opened at `path`, which is /proc/PID/fd/N of the keeper.

    `types` is a file of what BTF says of keys and values, or empty.
    """

    id: int
    name: str
    kind: str
    path: str
    types: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One interface and what filters it.

    `started` is the keeper's start time in clock ticks since boot, `netns` the inode of the network namespace,
    `attached_at` seconds since the epoch, `deadline` when it ends unless it is confirmed (seconds since the epoch).
    """

    id: int
    pid: int
    started: str
    netns: int
    interface: str
    ifindex: int
    mode: str
    peer: str | None = None
    peer_ifindex: int | None = None
    backend: str = "auto"
    queues: int = 1
    dry_run: bool = False
    state: str = "up"
    attached_at: float = 0.0
    deadline: float | None = None
    programs: tuple[LiveProgram, ...] = ()
    maps: tuple[LiveMap, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the keeper still runs."""
        return process_lives(self.pid, self.started)

    @property
    def program_id(self) -> int:
        """The number that stands for the attachment: of the first program of the chain; 0 without one."""
        return self.programs[0].id if self.programs else 0


@final
class State:
    """A state folder.

    Raises DeviceError where the folder cannot be made, read or trusted.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_folder()
        self.attachments = self.folder / "attachments"
        self.journals = self.folder / "journal"
        self.objects = self.folder / "objects"

    def prepare(self) -> None:
        """Make the folder, for its owner only; a folder of somebody else is refused."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.folder.stat()
            if found.st_uid != os.geteuid():
                raise DeviceError(f"{self.folder} belongs to user {found.st_uid}: name another folder in XDPSIM_RUN")
            if found.st_mode & 0o077:
                self.folder.chmod(0o700)
            for name in _FOLDERS:
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        except FileExistsError as error:
            raise DeviceError(f"{error.filename} is no folder: name another one in XDPSIM_RUN") from error
        except OSError as error:
            raise DeviceError(f"{self.folder}: {error.strerror}") from error

    def new_id(self, count: int = 1) -> int:
        """The first of `count` numbers that no attachment, program or map of this folder had before."""
        file = os.open(self.folder / "numbers", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = os.pread(file, _DIGITS, 0)
            first = int(text) if text.isdigit() else 1
            os.pwrite(file, f"{first + count:0{_DIGITS}}".encode(), 0)  # always as long, so never half there
        finally:
            os.close(file)
        return first

    def tidy(self) -> None:
        """Of the logs of attachments that have ended, keep the newest; those of the living stay."""
        living = {str(each.id) for each in self.all()}
        ended = [each for each in self.attachments.glob("*.log*") if each.name.partition(".")[0] not in living]
        ended.sort(key=lambda each: int(each.name.partition(".")[0]) if each.name[0].isdigit() else 0)
        for each in ended[:-_KEPT_LOGS]:
            each.unlink(missing_ok=True)

    def write(self, record: Attachment) -> None:
        """Put a record down, replacing the one of the same id."""
        target = self.attachments / f"{record.id}.json"
        fresh = target.with_suffix(f".{os.getpid()}.new")
        try:
            with fresh.open("w") as file:
                json.dump(asdict(record), file)
                file.write("\n")
            fresh.rename(target)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise

    def remove(self, number: int) -> None:
        """Forget an attachment: record, socket, objects. The log stays for whoever asks what happened."""
        for suffix in (".json", ".sock"):
            (self.attachments / f"{number}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(self.objects / str(number), ignore_errors=True)

    def all(self) -> tuple[Attachment, ...]:
        """Every attachment whose keeper lives, by id; records of dead keepers are removed."""
        return self._sorted_out()[0]

    def bury(self) -> tuple[Attachment, ...]:
        """Remove the records of dead keepers; returns them."""
        return self._sorted_out()[1]

    def _sorted_out(self) -> tuple[tuple[Attachment, ...], tuple[Attachment, ...]]:
        living: list[Attachment] = []
        dead: list[Attachment] = []
        for record in self._records():
            (living if record.alive else dead).append(record)
        for record in dead:
            self.remove(record.id)
        living.sort(key=lambda each: each.id)
        return tuple(living), tuple(dead)

    def _records(self) -> Iterator[Attachment]:
        try:
            paths = sorted(self.attachments.glob("*.json"))
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
            record = _record(document)
            if record is not None:
                yield record

    def find(self, interface: str, netns: int | None = None) -> Attachment | None:
        """The attachment of an interface of this network namespace (or of that one); inline holds both its interfaces."""
        wanted = namespace() if netns is None else netns
        here = [each for each in self.all() if each.netns == wanted]
        ends = [each for each in here if each.interface == interface]
        return next(iter(ends or [each for each in here if each.peer == interface]), None)

    def get(self, interface: str) -> Attachment:
        """The attachment of an interface of this namespace; raises InputError."""
        found = self.find(interface)
        if found is None:
            others = [each.interface for each in self.all() if each.netns == namespace()]
            hint = f"; attached: {', '.join(others)}" if others else ""
            raise InputError(f"nothing is attached to {interface}{hint}")
        return found


def bound_log(path: Path) -> None:
    """Let standard output and error go on in a new file at `path` when they go there and it has become long."""
    try:
        now = os.fstat(2)
        if now.st_size < _LONGEST_LOG or not os.path.samestat(now, path.stat()):
            return
        path.replace(path.with_suffix(".log.1"))
        fresh = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:  # it goes on where it is
        return
    for standard in (1, 2):
        os.dup2(fresh, standard)
    os.close(fresh)


def state_folder() -> Path:
    """Where state lies: $XDPSIM_RUN; /run/xdpsim for root; a folder of the user's own otherwise."""
    if chosen := os.environ.get("XDPSIM_RUN"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/run/xdpsim")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "xdpsim"
    return Path(f"/tmp/xdpsim-{os.geteuid()}")  # noqa: S108  prepare() refuses it when it is somebody else's


def namespace() -> int:
    """The inode of this thread's network namespace: the same number means the same namespace."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty when it is no more (a zombie is no more)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def process_lives(pid: int, started: str) -> bool:
    """Whether that very process still runs: numbers are used again, start times are not."""
    return bool(started) and start_time(pid) == started


def _record(document: object) -> Attachment | None:
    """The record that a file holds; None for what is not one of ours."""
    if not isinstance(document, dict):
        return None
    try:
        known = _known(Attachment, document)
        known["programs"] = tuple(
            LiveProgram(**{name: _frozen(value) for name, value in _known(LiveProgram, each).items()})
            for each in document.get("programs", ())
        )
        known["maps"] = tuple(LiveMap(**_known(LiveMap, each)) for each in document.get("maps", ()))
        return Attachment(**known)
    except (TypeError, AttributeError):
        return None


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _known(record: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What the record has a place for: a newer keeper may have written more."""
    return {name: document[name] for name in record.__dataclass_fields__ if name in document}
