"""What is supported, as rows: program types, map types and helpers, by extension, and whether they run here or are only verified.

Not here: printing (xdp.cli.feature). Everything is read from a registry, so an extension that is registered is listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from runtime.spec import Helper, ProgramType, Registry

__all__ = ["Features", "HelperRow", "MapRow", "TypeRow", "features"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRow:
    """A program type. `runs`: some hook here runs it. `helpers` are names, each with whether something carries it out.

    `attach_types` are in order of declaration, `sections` the names that stand for the type, with "/…" where more may follow.
    """

    name: str
    extension: str
    context: str
    sections: tuple[str, ...]
    attach_types: tuple[str, ...]
    runs: bool
    helpers: tuple[tuple[str, bool], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """A type of map; `made`: such maps can be made here."""

    number: int
    name: str
    extension: str
    made: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HelperRow:
    """A helper, named with `bpf_`; `runs`: something carries it out."""

    number: int
    name: str
    extension: str
    runs: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """All rows: program types in order of registration, the others by number."""

    program_types: tuple[TypeRow, ...]
    map_types: tuple[MapRow, ...]
    helpers: tuple[HelperRow, ...]


def features(registry: Registry) -> Features:
    """What the extensions of a registry support."""
    maps = (
        MapRow(number=each.id, name=each.name, extension=registry.owner(each).name, made=not each.verified_only)
        for each in registry.map_kinds
    )
    helpers = (
        HelperRow(number=each.id, name=f"bpf_{each.name}", extension=registry.owner(each).name, runs=_runs(each))
        for each in registry.helpers
    )
    return Features(
        program_types=tuple(_type(each, registry) for each in registry.program_types),
        map_types=tuple(sorted(maps, key=lambda each: each.number)),
        helpers=tuple(sorted(helpers, key=lambda each: each.number)),
    )


def _runs(helper: Helper) -> bool:
    return bool(helper.native or helper.map_op or helper.builtin)


def _type(row: ProgramType, registry: Registry) -> TypeRow:
    numbers = set(row.helpers).union(*(each.helpers for each in row.attach_types))
    known = (registry.helper(number) for number in sorted(numbers))
    extension = registry.owner(row)
    sections = (each for bundle in registry.extensions for each in bundle.sections if each.program_type == row.name)
    return TypeRow(
        name=row.name,
        extension=extension.name,
        context=row.context.name,
        sections=tuple(f"{each.prefix}/…" if each.parameter else each.prefix for each in sections),
        attach_types=tuple(each.name for each in row.attach_types),
        runs=row.driver is not None,
        helpers=tuple((f"bpf_{each.name}", _runs(row.own(each))) for each in known if each is not None),
    )
