"""What a proof took for granted of extensions: a digest of each prototype, context field and other row that it is about.

Not here: comparing programs, and the rows that a program does not use. What is covered is what verification reads; the code
of natives may be mended without a new proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import final

from runtime.errors import UnsupportedError
from runtime.spec import ContextField, Helper, KernelStruct, MapKind, MapSpec, ProgramType, Registry, digest
from runtime.verifier.verified import Facts, VerifiedProgram

__all__ = ["Difference", "differences", "uses_of"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not what it was when the program was verified: it has gone, or says something else."""

    what: str
    gone: bool

    def __str__(self) -> str:
        return f"{self.what} {'is gone' if self.gone else 'has changed since the program was verified'}"


def uses_of(
    facts: Facts, program_type: ProgramType, maps: tuple[MapSpec, ...], registry: Registry
) -> tuple[tuple[str, str], ...]:
    """What the proof is about, in words, each with the SHA-256 of its row as it is now; "" where there is no such row.

    `maps` are those of the object. The words of a row do not change with what it says.
    """
    rows = list(_rows(facts, program_type, maps, registry))
    return tuple((what, "" if row is None else digest(row)) for what, row in rows)


def differences(verified: VerifiedProgram, program_type: ProgramType, registry: Registry) -> tuple[Difference, ...]:
    """How the rows that a proof took for granted differ from those of a registry; empty where it holds there, too."""
    now = dict(uses_of(verified.facts, program_type, verified.maps, registry))
    return tuple(
        Difference(what=what, gone=not now.get(what))
        for what, before in verified.facts.uses
        if now.get(what, "") != before
    )


def _rows(
    facts: Facts, kind: ProgramType, maps: tuple[MapSpec, ...], registry: Registry
) -> Iterator[tuple[str, object]]:
    context = kind.context
    yield (
        f"program type {kind.name}",
        (
            kind.returns,
            kind.legacy_packet_loads,
            kind.refuses,
            (context.region, context.region_max, context.region_writable, context.region_in_helpers),
        ),
    )
    fields = _fields(facts, kind)
    for name, same in fields.items():
        yield f"context field {context.name}.{name}", same or None
    helpers = [_helper(kind, registry, number) for number in sorted(facts.helpers)]
    for before, helper in zip((facts.helpers[number] for number in sorted(facts.helpers)), helpers, strict=True):
        yield f"helper bpf_{before.name}", None if helper is None else replace(helper, native=None)
    kinds = {each.kind: _kind(registry, each) for each in _named(facts, maps)}
    for number in sorted(kinds):
        found = kinds[number]
        yield f"map type {number}", None if found is None else _promised(found)
    for struct in _reached(registry, chain(*fields.values()), helpers, kinds.values()):
        yield f"struct {struct.name}", struct


def _fields(facts: Facts, kind: ProgramType) -> dict[str, tuple[ContextField, ...]]:
    """The fields that are accessed, by name, as the type has them now; of two that share a name, both."""
    names = sorted({each.name for each in facts.context_fields.values()})
    return {name: tuple(each for each in kind.context.fields if each.name == name) for name in names}


def _helper(kind: ProgramType, registry: Registry, number: int) -> Helper | None:
    """The helper as programs of the type have it."""
    helper = registry.helper(number) if number in kind.helpers else None
    own = dict(kind.prototypes).get(number)
    return helper if helper is None or own is None else replace(helper, prototype=own)


def _kind(registry: Registry, spec: MapSpec) -> MapKind | None:
    try:
        return registry.map_kind(spec.kind)
    except UnsupportedError:
        return None


def _named(facts: Facts, maps: tuple[MapSpec, ...]) -> list[MapSpec]:
    """The maps that the code names, and what those inside them are like."""
    every = (*maps, *(each.inner for each in maps if each.inner is not None))
    return [every[index] for index in sorted(facts.maps)]


def _promised(kind: MapKind) -> tuple[object, ...]:
    """What a map kind promises to programs: all but its code."""
    return (
        (
            kind.id,
            kind.name,
            kind.per_cpu,
            kind.bounded_array,
            kind.value_is,
            kind.fixed_key_size,
            kind.fixed_value_size,
        ),
        (kind.program_writable, kind.verified_only, kind.struct, kind.acquires),
        sorted(each.value for each in kind.ops),
        sorted((op.value, sorted(names)) for op, names in kind.changed_by.items()),
    )


def _reached(
    registry: Registry,
    fields: Iterable[ContextField],
    helpers: Iterable[Helper | None],
    kinds: Iterable[MapKind | None],
) -> list[KernelStruct]:
    """The kernel objects that a program may come by, in order of their names."""
    rows = {each.name: each for each in registry.structs}
    waiting = [each.kind.value.removesuffix("_or_null") for each in fields]
    for helper in helpers:
        if helper is not None:
            waiting += [helper.prototype.struct, helper.prototype.ret.value.removesuffix("_or_null")]
    waiting += [each.struct for each in kinds if each is not None]
    found: dict[str, KernelStruct] = {}
    while waiting:
        name = waiting.pop()
        if name in rows and name not in found:
            found[name] = rows[name]
            waiting += [each.kind.value.removesuffix("_or_null") for each in rows[name].layout.fields]
    return [found[name] for name in sorted(found)]
