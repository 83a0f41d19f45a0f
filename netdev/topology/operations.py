"""Small changes of an interface as records: what is done, and what was before.

An operation is planned (old values are read), written to the journal, then done. `undo` may run at any later time, in
another process, more than once, and whether or not `do` ever began: it compares with what is there now.
Not here: the ingress block (block), the host's addresses and routes (edge), the journal.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self, final, runtime_checkable

from netdev.errors import InterfaceError
from netdev.topology.links import Link, features, find_link, flags, present, set_feature, set_flags

__all__ = ["LinkFlag", "Offloads", "Operation", "Sysctl"]

_UP: Final = 0x1
_PROMISC: Final = 0x100
_NAMES: Final = {_UP: "up", _PROMISC: "promiscuous"}


@runtime_checkable
class Operation(Protocol):
    """A change with its inverse; a frozen dataclass of JSON's types, records of them and tuples of them."""

    def do(self) -> None:
        """Make the change; InterfaceError with one line when it cannot be made."""
        ...

    def undo(self) -> str:
        """Take it back as far as it was made and say so in one sentence; LinkGoneError when the interface is gone."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFlag:
    """An interface flag (IFF_UP or IFF_PROMISC) set to `value`; it was `before`."""

    link: Link
    flag: int
    value: bool
    before: bool

    @classmethod
    def promiscuous(cls, name: str) -> Self:
        """Take in frames for other stations too."""
        return cls._plan(name, _PROMISC, value=True)

    @classmethod
    def up(cls, name: str, *, value: bool = True) -> Self:
        """Set the link up or down; what the kernel forgets of a link that goes down (IPv6, routes) stays forgotten."""
        return cls._plan(name, _UP, value=value)

    @classmethod
    def _plan(cls, name: str, flag: int, *, value: bool) -> Self:
        return cls(link=find_link(name), flag=flag, value=value, before=bool(flags(name) & flag))

    def do(self) -> None:
        """Set the flag."""
        set_flags(present(self.link).name, self.flag, self.flag if self.value else 0)

    def undo(self) -> str:
        """Set it to what it was."""
        name = present(self.link).name
        set_flags(name, self.flag, self.flag if self.before else 0)
        return f"{name} is {'' if self.before else 'not '}{_NAMES.get(self.flag, hex(self.flag))} as before"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Offloads:
    """Offloads switched off; `before` are all that the interface knows, as switching one off may take others along."""

    link: Link
    off: tuple[str, ...]
    before: tuple[tuple[str, bool], ...]

    @classmethod
    def plan(cls, name: str, off: tuple[str, ...]) -> Self:
        """Switch off those of `off` that the interface knows."""
        return cls(link=find_link(name), off=off, before=tuple(features(name).items()))

    def do(self) -> None:
        """Switch them off; a device that keeps one on is not an error (a driver may fix it)."""
        name = present(self.link).name
        # in reverse, as segmentation must go before what it needs
        for feature, on in reversed(self.before):
            if on and feature in self.off:
                with contextlib.suppress(InterfaceError):
                    set_feature(name, feature, on=False)

    def undo(self) -> str:
        """Set every offload to what it was."""
        name = present(self.link).name
        now = features(name)
        for feature, on in self.before:
            if now.get(feature) != on:
                set_feature(name, feature, on=on)
        return f"{name} has its offloads as before"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """A setting of an interface: `group` is net/…/conf or net/…/neigh, `key` its name."""

    link: Link
    group: str
    key: str
    value: str
    before: str

    @classmethod
    def plan(cls, name: str, group: str, key: str, value: str) -> Self:
        """Set `key` to `value`; InterfaceError when the kernel has no such setting."""
        link = find_link(name)
        return cls(link=link, group=group, key=key, value=value, before=read_sysctl(group, name, key))

    def do(self) -> None:
        """Write the value."""
        write_sysctl(self.group, present(self.link).name, self.key, self.value)

    def undo(self) -> str:
        """Write the old value, where it differs."""
        name = present(self.link).name
        if read_sysctl(self.group, name, self.key) != self.before:
            write_sysctl(self.group, name, self.key, self.before)
        return f"{name} has {self.key} = {self.before} as before"


def _path(group: str, name: str, key: str) -> Path:
    return Path("/proc/sys", group, name, key)


def read_sysctl(group: str, name: str, key: str) -> str:
    """The text of an interface's setting in this thread's namespace."""
    try:
        return _path(group, name, key).read_text().strip()
    except OSError as error:
        raise InterfaceError(f"{name}: {group}/{key} cannot be read: {error.strerror}") from None


def write_sysctl(group: str, name: str, key: str, value: str) -> None:
    """Write an interface's setting in this thread's namespace."""
    try:
        _path(group, name, key).write_text(value)
    except OSError as error:
        raise InterfaceError(f"{name}: {group}/{key} cannot be set to {value}: {error.strerror}") from None
