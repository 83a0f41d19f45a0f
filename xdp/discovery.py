"""Extensions of installed packages: those that announce one through the entry-point group `xdpsim.extensions`.

Not here: what becomes of them (extension.py). A package that is broken is reported and passed over: it must not stop what does not
need it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from runtime.spec import Extension

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "Found", "installed", "warn"]

GROUP: Final = "xdpsim.extensions"
"""Each entry point of this group names an `Extension`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a package announces: its name and version, and an extension, or why there is none."""

    package: str
    extension: Extension | None = None
    fault: str = ""


def installed() -> Iterator[Found]:
    """What installed packages announce, in order of their names; nothing is imported where none does."""
    if not _announced():
        return
    from importlib.metadata import entry_points  # costs as much as reading a small object

    for point in sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value)):
        yield _loaded(point)


def warn(found: Found, fault: str) -> None:
    """Say in one line, on standard error unless logging is set up, that a package is passed over."""
    from logging import getLogger

    line = " ".join(f"package {found.package}: {fault}".split())
    getLogger("xdpsim").warning("xdpsim: %s (going on without it)", line)


def _loaded(point: EntryPoint) -> Found:
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
    try:
        extension: Any = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  other people's code, run at import, may raise anything
        why = f"{type(error).__name__}: {error}"
        return Found(package=package, fault=f"{point.value} cannot be imported ({why}): install it again, or remove it")
    if not isinstance(extension, Extension):
        what = f"{point.value} is of type {type(extension).__name__}"
        return Found(package=package, fault=f"{what}: let the entry point name a runtime.spec.Extension")
    return Found(package=package, extension=extension)


def _announced() -> bool:
    """Whether an installed package may have entry points for us; True where only importlib.metadata can tell."""
    for place in dict.fromkeys(sys.path):
        folder = Path(place or ".")
        if folder.is_file():  # an archive
            return True
        for file in (*folder.glob("*.dist-info/entry_points.txt"), *folder.glob("*.egg-info/entry_points.txt")):
            try:
                if GROUP.encode() in file.read_bytes():
                    return True
            except OSError:
                return True
    finders = (each for each in sys.meta_path if each is not PathFinder)
    return any(hasattr(each, "find_distributions") for each in finders)
