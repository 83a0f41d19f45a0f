"""Whether an extension holds together: what would only show when a program runs, or never, is said when it is registered.

Not here: conflicts between extensions (runtime.spec.Registry). Each fault is one line that ends in what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from runtime.native import NativeFunction
from runtime.spec import (
    ArgType,
    ContextField,
    ContextLayout,
    Extension,
    FieldKind,
    Helper,
    MapKind,
    MapOp,
    ProgramType,
    Registry,
)

__all__ = ["faults"]

_WORDS: Final[Mapping[MapOp, int]] = {
    MapOp.LOOKUP: 7,
    MapOp.UPDATE: 9,
    MapOp.DELETE: 7,
    MapOp.LOOKUP_PERCPU: 8,
    MapOp.REDIRECT: 8,
}
"""How many words the operations of a map take; the others take six, the map's shape, and what their helper's prototype says."""

_CALLED: Final = "the environment and one for each argument"
_REGIONS: Final = frozenset({FieldKind.REGION, FieldKind.REGION_END, FieldKind.REGION_META})
_WIDTHS: Final = frozenset({1, 2, 4, 8})
_MOST_ARGUMENTS: Final = 5


def faults(extension: Extension, registry: Registry) -> tuple[str, ...]:
    """What is wrong with an extension that `registry` holds already, a line each; empty where nothing is."""
    return tuple(_faults(extension, registry))


def _faults(extension: Extension, registry: Registry) -> Iterator[str]:
    own = {each.id: each for each in extension.helpers}
    for helper in extension.helpers:
        yield from _helper(helper)
    for kind in extension.map_kinds:
        if not kind.verified_only:
            yield from _kind(kind)
    for row in extension.program_types:
        yield from _program_type(row, own, registry)
    for section in extension.sections:
        found = next((each for each in registry.program_types if each.name == section.program_type), None)
        if found is None:
            yield f"section {section.prefix!r} stands for program type {section.program_type!r}, which nobody registers: register it too"
        elif section.attach_type and section.attach_type not in {each.name for each in found.attach_types}:
            yield f"section {section.prefix!r} says attach type {section.attach_type!r}, which {found.name} has not: add the attach type"


def _helper(helper: Helper) -> Iterator[str]:
    what, arguments = f"helper bpf_{helper.name}", helper.prototype.args
    if len(arguments) > _MOST_ARGUMENTS:
        yield f"{what} takes {len(arguments)} arguments: programs pass at most {_MOST_ARGUMENTS}"
    carriers = [bool(helper.native), bool(helper.map_op), bool(helper.builtin)]
    if sum(carriers) > 1:
        yield f"{what} is carried out in {sum(carriers)} ways: leave one of native, map_op and builtin"
    if helper.native is not None:
        yield from _native(what, helper.native, 1 + len(arguments), _CALLED)
    if helper.map_op is not None and (not arguments or arguments[0].type is not ArgType.CONST_MAP):
        yield f"{what} is an operation of a map and does not take one first: make its first argument CONST_MAP"
    if not any(carriers):
        return
    sizes = (ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO)
    for place, arg in enumerate(arguments, 1):
        if arg.type in (ArgType.MEMORY, ArgType.UNINIT_MEMORY) and (
            place == len(arguments) or arguments[place].type not in sizes
        ):
            yield f"argument {place} of {what} is memory of no size: let the next argument be CONST_SIZE, or say FIXED_MEMORY"
        if arg.type is ArgType.FIXED_MEMORY and arg.size <= 0:
            yield f"argument {place} of {what} is memory of {arg.size} bytes: give it a size"


def _native(what: str, native: object, words: int, meaning: str) -> Iterator[str]:
    if not isinstance(native, NativeFunction):
        yield f"the native of {what} was not made by @native: decorate it"
    elif native.arity != words:
        yield f"native {native.python.__name__} of {what} takes {native.arity} words and is called with {words}: {meaning}"


def _kind(kind: MapKind) -> Iterator[str]:
    what = f"map kind {kind.name}"
    fixed = [("size", kind.size, 5), ("init", kind.init, 5), ("next_key", kind.next_key, 7)]
    fixed += [
        (name, native, words)
        for name, native, words in (("fill", kind.fill, 10), ("snapshot", kind.snapshot, 9))
        if native
    ]
    for name, native, words in fixed:
        yield from _native(f"{what}, {name},", native, words, "as MapKind says")
    for op, native in kind.ops.items():
        if op in _WORDS:
            yield from _native(
                f"{what}, {op.value},",
                native,
                _WORDS[op],
                "the map's shape, the environment and the words of the operation",
            )
        elif not isinstance(native, NativeFunction):
            yield f"the native of {what}, {op.value}, was not made by @native: decorate it"


def _program_type(row: ProgramType, own: Mapping[int, Helper], registry: Registry) -> Iterator[str]:
    what = f"program type {row.name}"
    if row.driver is None:
        return
    yield from _context(row.context)
    for driver in (row.driver, row.origin_driver):
        if driver is not None:
            yield from _native(what, driver, 2, "the batch and the environment")
    for number, native in row.natives:
        helper = registry.helper(number)
        if helper is not None:
            yield from _native(
                f"helper bpf_{helper.name} of {what}", native, 1 + len(row.own(helper).prototype.args), _CALLED
            )
    for number in sorted(row.helpers):
        helper = registry.helper(number)
        if helper is None:
            yield f"{what} may call helper {number}, which nobody registers: register it, or take the number out"
        elif number in own and not (helper.native or helper.map_op or helper.builtin):
            yield f"helper bpf_{helper.name} has no native, and programs of type {row.name} run: give it one"
    if row.returns is not None and row.returns[0] > row.returns[1]:
        yield f"{what} returns from {row.returns[0]} to {row.returns[1]}: the smaller bound comes first"


def _context(layout: ContextLayout) -> Iterator[str]:
    for field in layout.fields:
        yield from _field(layout, field)
    for first, second in combinations(layout.fields, 2):
        if _meet(first, second) and not _inside(first, second):
            yield (
                f"fields {first.name} and {second.name} of context {layout.name} share bytes: move one, "
                "or let the smaller one lie in the other and come first"
            )
    kinds = {each.kind for each in layout.fields}
    if len(kinds & {FieldKind.REGION, FieldKind.REGION_END}) == 1:
        yield f"context {layout.name} has one end of a {layout.region} and not the other: add REGION or REGION_END"


def _field(layout: ContextLayout, field: ContextField) -> Iterator[str]:
    what = f"field {field.name} of context {layout.name}"
    if field.size <= 0 or field.offset < 0 or field.offset + field.size > layout.size:
        yield f"{what} lies at bytes {field.offset} to {field.offset + field.size} of {layout.size}: make the context larger, or move it"
    if field.record_offset < 0 or field.record_offset + field.record_size > layout.record_size:
        yield f"{what} lives at bytes {field.record_offset} to {field.record_offset + field.record_size} of a record of {layout.record_size}: make the record larger, or move it"
    if field.kind in _REGIONS:
        if field.record_size != 8:
            yield f"{what} is an address and lives in {field.record_size} bytes: give it 8"
    elif field.record_size < field.size:
        yield f"{what} has {field.size} bytes and lives in {field.record_size}: make record_size larger"
    for width in (*field.reads, *field.writes):
        if width not in _WIDTHS or width > field.size:
            yield f"{what} has {field.size} bytes and is accessed {width} wide: widths are 1, 2, 4 or 8, and at most its size"
    if field.writes and field.kind is not FieldKind.SCALAR:
        yield f"{what} is no number and may be written: take `writes` away"


def _same_places(first: ContextField, second: ContextField) -> bool:
    """Whether programs attached in one way see both fields."""
    return not (first.attach_types and second.attach_types and not set(first.attach_types) & set(second.attach_types))


def _meet(first: ContextField, second: ContextField) -> bool:
    apart = first.offset + first.size <= second.offset or second.offset + second.size <= first.offset
    return not apart and _same_places(first, second)


def _inside(first: ContextField, second: ContextField) -> bool:
    return second.offset <= first.offset and first.offset + first.size <= second.offset + second.size
