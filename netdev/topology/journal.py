"""The journal: what must be undone, on disk before it is done.

One file a journal, rewritten whole (a new file, fsync, rename, fsync of the folder), so that it is always one that was
written to its end. A process killed between any two of its system calls leaves a journal whose undoing, newest first,
ends where the first change began.
Not here: the changes themselves (operations, block, edge), and who notices that a process died (guard).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, final

from netdev.errors import InterfaceError
from netdev.topology.block import IngressBlock, NftablesBlock
from netdev.topology.edge import HostEdge
from netdev.topology.links import LinkGoneError, namespace_inode
from netdev.topology.operations import LinkFlag, Offloads, Operation, Sysctl
from netdev.topology.processes import boot, start_time

__all__ = ["Journal", "Reversal", "journals", "recover"]

_KINDS: Final[dict[str, type[Any]]] = {
    "host-edge": HostEdge,
    "ingress-block": IngressBlock,
    "link-flag": LinkFlag,
    "nftables-block": NftablesBlock,
    "offloads": Offloads,
    "sysctl": Sysctl,
}
_VERSION: Final = 1
_SUFFIX: Final = ".journal"


def _decode(kind: Any, value: Any) -> Any:
    """A value of JSON as the type that a record's field declares."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _decode(hints[field.name], value[field.name]) for field in dataclasses.fields(kind)})
    if typing.get_origin(kind) is tuple:
        arguments = typing.get_args(kind)
        if arguments[-1] is Ellipsis:
            return tuple(_decode(arguments[0], item) for item in value)
        return tuple(_decode(each, item) for each, item in zip(arguments, value, strict=True))
    plain = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if not isinstance(value, plain):
        raise TypeError(f"{value!r} is not {kind}")
    return value


def _encode(operation: Operation) -> dict[str, Any]:
    name = next(name for name, kind in _KINDS.items() if isinstance(operation, kind))
    return {"kind": name, "record": dataclasses.asdict(typing.cast("Any", operation))}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """What an undoing did: a sentence for each change taken back, and one for each that could not be."""

    restored: tuple[str, ...]
    problems: tuple[str, ...]


@final
class Journal:
    """The changes that one process made in one network namespace, oldest first."""

    def __init__(
        self, path: Path, *, pid: int, started: int, boot_id: str, namespace: int, operations: list[Operation]
    ) -> None:
        self.path = path
        self.pid = pid
        self.started = started
        self.boot = boot_id
        self.namespace = namespace
        self._operations = operations

    @classmethod
    def begin(cls, folder: Path, name: str) -> Self:
        """A new, empty journal of this process for this thread's namespace.

        InterfaceError when there is one of this name already (recover it first) or the folder cannot be written.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,100}", name) or name.startswith("."):
            raise InterfaceError(f"{name!r} cannot be the name of a journal: letters, digits, _ . @ - only")
        path = folder / (name + _SUFFIX)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InterfaceError(f"{folder} cannot be made: {error.strerror}") from None
        pid = os.getpid()
        journal = cls(
            path, pid=pid, started=start_time(pid), boot_id=boot(), namespace=namespace_inode(), operations=[]
        )
        with _locked(folder):
            if path.exists():
                raise InterfaceError(f"{path} is there already: what it holds must be restored first (net repair)")
            journal._store()
        return journal

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """The journal that another process wrote; InterfaceError when there is none, or it cannot be read."""
        path = folder / (name + _SUFFIX)
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InterfaceError(f"{path} cannot be read: {error.strerror}") from None
        try:
            said = json.loads(text)
            if said["version"] != _VERSION:
                raise InterfaceError(f"{path} is of version {said['version']}; this xdpsim reads version {_VERSION}")
            return cls(
                path,
                pid=_decode(int, said["pid"]),
                started=_decode(int, said["started"]),
                boot_id=_decode(str, said["boot"]),
                namespace=_decode(int, said["namespace"]),
                operations=[_decode(_KINDS[entry["kind"]], entry["record"]) for entry in said["operations"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InterfaceError(f"{path} is damaged: {error}") from None

    @property
    def name(self) -> str:
        """What `begin` was told."""
        return self.path.name.removesuffix(_SUFFIX)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What is to be undone, oldest first."""
        return tuple(self._operations)

    def owner_lives(self) -> bool:
        """Whether the process that began the journal is still there."""
        return self.boot == boot() and self.started != 0 and start_time(self.pid) == self.started

    def perform(self, operation: Operation) -> None:
        """Write the operation down, then do it; when it fails it is undone, struck out, and the failure raised."""
        if namespace_inode() != self.namespace:
            raise InterfaceError(f"{self.path} belongs to another network namespace than this thread's")
        self._operations.append(operation)
        self._store()
        try:
            operation.do()
        except (InterfaceError, OSError) as error:
            with contextlib.suppress(InterfaceError, OSError):
                operation.undo()
                self._operations.remove(operation)
                self._store()
            if isinstance(error, OSError):
                raise InterfaceError(f"{self.name}: {error}") from error
            raise

    def revert(self) -> Reversal:
        """Undo everything, newest first, and remove the journal when nothing is left to undo.

        What fails stays in the journal and does not hold up the rest. Run by two processes at once, one waits.
        """
        if namespace_inode() != self.namespace:
            raise InterfaceError(f"{self.path} belongs to another network namespace than this thread's")
        restored: list[str] = []
        problems: list[str] = []
        with _locked(self.path.parent):
            if not self.path.exists():
                self._operations.clear()
                return Reversal(restored=(), problems=())
            for operation in reversed(self.operations):
                try:
                    restored.append(operation.undo())
                except LinkGoneError as gone:
                    restored.append(str(gone))
                except (InterfaceError, OSError) as error:
                    problems.append(str(error))
                    continue
                self._operations.remove(operation)
                with contextlib.suppress(InterfaceError):  # a full disk: undoing it once more would change nothing
                    self._store()
            if not self._operations:
                self._remove()
        return Reversal(restored=tuple(dict.fromkeys(restored)), problems=tuple(problems))

    def forget(self) -> None:
        """Remove the journal without undoing anything: the machine or the namespace it is about is no more."""
        with _locked(self.path.parent):
            self._operations.clear()
            self._remove()

    def _store(self) -> None:
        said = {
            "version": _VERSION,
            "pid": self.pid,
            "started": self.started,
            "boot": self.boot,
            "namespace": self.namespace,
            "operations": [_encode(operation) for operation in self._operations],
        }
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(said, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise InterfaceError(f"{self.path} cannot be written: {error.strerror}") from None

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        _sync_folder(self.path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One undoing at a time in a folder; the kernel releases the lock of a process that dies."""
    try:
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InterfaceError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def journals(folder: Path) -> tuple[str, ...]:
    """The names of the journals in a folder."""
    return tuple(sorted(path.name.removesuffix(_SUFFIX) for path in folder.glob(f"[!.]*{_SUFFIX}")))


def recover(folder: Path, *, alive: Callable[[Journal], bool] = Journal.owner_lives) -> list[str]:
    """Restore what dead processes left changed; a sentence for each thing that was done or could not be.

    `alive` says of which journals the process still works; they are left alone. A journal of another network
    namespace is undone there where the namespace still exists.
    """
    from netdev.topology.namespaces import inside

    sentences: list[str] = []
    for name in journals(folder):
        try:
            journal = Journal.open(folder, name)
        except InterfaceError as error:
            sentences.append(str(error))
            continue
        if alive(journal):
            continue
        if journal.boot != boot():
            journal.forget()
            sentences.append(f"{name}: the machine was started anew since, nothing of it is left to restore")
            continue
        reversal = inside(journal.namespace, journal.revert)
        if reversal is None:
            journal.forget()
            sentences.append(f"{name}: its network namespace is gone, nothing of it is left to restore")
            continue
        sentences += [f"{name}: {sentence}" for sentence in reversal.restored]
        sentences += [f"{name}: not restored: {sentence}" for sentence in reversal.problems]
    return sentences
