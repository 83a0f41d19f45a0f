"""The question that a verdict answers, and a digest of all that the answer depends on.

Not here: answers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Final, final

from runtime.errors import UnsupportedError
from runtime.isa import CallHelper, encode
from runtime.spec import Helper, MapKind, MapSpec, ProgramSpec, ProgramType, Registry, described
from runtime.verifier.policy import Policy

__all__ = ["Question", "unedited"]

_ROOT: Final = Path(__file__).parents[1]
_SOURCES: Final = ("verifier", "isa", "spec", "errors.py")
_LOADED: Final = time.time_ns()


@final
@dataclass(frozen=True)  # no slots: the digest is computed once, when asked for
class Question:
    """Whether a program is safe: the arguments of `verify`."""

    spec: ProgramSpec
    program_type: ProgramType
    maps: tuple[MapSpec, ...]
    registry: Registry
    policy: Policy

    @cached_property
    def digest(self) -> str | None:
        """SHA-256 over all that the answer depends on; None where some of it cannot be read or named."""
        version = _version()
        if version is None:
            return None
        found = hashlib.sha256(version.encode())
        numbers = sorted({each.helper for each in self.spec.code if isinstance(each, CallHelper)})
        parts = (
            encode(self.spec.code),
            [(name.name, getattr(self.spec, name.name)) for name in fields(self.spec) if name.name != "code"],
            self.program_type,
            self.maps,
            [self.registry.helper(number) for number in numbers],
            [self._kind(each) for outer in self.maps for each in (outer, outer.inner) if each is not None],
            self.registry.structs,
            self.policy,
        )
        try:
            for each in described(parts):
                found.update(each)
        except AttributeError:  # a row of an extension holds something that has no name
            return None
        return found.hexdigest()

    def helper(self, number: int) -> Helper:
        """The helper as programs of this type have it; raises KeyError."""
        helper = self.registry.helper(number)
        if helper is None:
            raise KeyError(number)
        return self.program_type.own(helper)

    def _kind(self, spec: MapSpec) -> MapKind | None:
        try:
            return self.registry.map_kind(spec.kind)
        except UnsupportedError:
            return None


def unedited() -> bool:
    """Whether no source was written since this process loaded it; else a verdict is not what the source says."""
    try:
        return all(each.stat().st_mtime_ns < _LOADED for each in _sources())
    except OSError:
        return False


def _sources() -> Iterator[Path]:
    for part in _SOURCES:
        path = _ROOT / part
        yield from [path] if path.suffix else sorted(path.rglob("*.py"))


@cache
def _version() -> str | None:
    """A digest of the source that verdicts come out of; None where it is not what this process runs."""
    found = hashlib.sha256()
    try:
        for file in _sources():
            data = file.read_bytes()
            found.update(f"{file.relative_to(_ROOT)} {len(data)} ".encode())
            found.update(data)
    except OSError:
        return None
    return found.hexdigest() if unedited() else None
