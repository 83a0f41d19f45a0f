"""The maps that an object asks for: BTF definitions in .maps, global data, and legacy `struct bpf_map_def`.

Not here: the legacy form (legacymaps.py) and any memory. Names, order, sizes and flags are what libbpf
hands to the kernel for the same object.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from runtime.errors import ObjectError, UnsupportedError
from runtime.object.btf import Btf, BtfMember, BtfVariable, Kind
from runtime.object.elf import Binding, ElfRelocation, ElfSection
from runtime.object.legacymaps import legacy_maps
from runtime.object.sections import SLOT, DataKind, DataSection, Layout
from runtime.object.special import special_fields
from runtime.spec import MapFlag, MapSpec, SpecialField

__all__ = ["MapTable", "read_maps"]

_MAX_SIZE: Final = (1 << 31) - 1
_MAP_NAME: Final = re.compile(r"[A-Za-z0-9_.]+")
_MAX_KERNEL_NAME: Final = 15
_SUFFIX_ROOM: Final = 7

_ARRAY: Final = 2
_PROG_ARRAY: Final = 3
_MAPS_OF_MAPS: Final = frozenset({12, 13})
_PIN_BY_NAME: Final = 1

_NUMBERS: Final = frozenset(
    {"type", "max_entries", "map_flags", "key_size", "value_size", "numa_node", "pinning", "map_extra"}
)
_MAX_ATTRIBUTES: Final = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MapTable:
    """The maps of an object; `places` finds a definition by (section, byte offset), `data` global data by section."""

    specs: tuple[MapSpec, ...]
    places: Mapping[tuple[int, int], int]
    data: Mapping[int, int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Definition:
    """A map as its BTF struct describes it; `values` is the byte offset of its initialisers, -1 without any."""

    spec: MapSpec
    values: int = -1


def read_maps(layout: Layout, btf: Btf | None, *, object_name: str) -> MapTable:
    """The maps of an object: legacy ones, those of .maps by offset, then global data by section.

    Raises ObjectError for definitions that do not hold together and UnsupportedError for unknown attributes.
    """
    specs: list[MapSpec] = []
    places: dict[tuple[int, int], int] = {}
    data: dict[int, int] = {}
    for section, offset, spec in (*legacy_maps(layout, btf), *_btf_maps(layout, btf)):
        places[section.index, offset] = len(specs)
        specs.append(spec)
    names = {spec.name for spec in specs}
    for each in layout.data:
        data[each.section.index] = len(specs)
        specs.append(_data_map(layout, each, btf, object_name, names))
        names.add(specs[-1].name)
    _check_names(specs)
    return MapTable(specs=tuple(specs), places=places, data=data)


def _check_names(specs: list[MapSpec]) -> None:
    seen: set[str] = set()
    for spec in specs:
        if not _MAP_NAME.fullmatch(spec.name):
            raise ObjectError(f"map {spec.name!r}: a name of other characters than letters, digits, '_' and '.'")
        if spec.name in seen:
            raise ObjectError(f"two maps are called {spec.name!r}")
        seen.add(spec.name)


def _btf_maps(layout: Layout, btf: Btf | None) -> Iterator[tuple[ElfSection, int, MapSpec]]:
    section = layout.btf_maps
    if section is None:
        return
    number = btf.section(section.name) if btf else 0
    if btf is None or not number:
        raise ObjectError("section '.maps' needs type information: compile with `clang -g`, and do not strip .BTF")
    variables = sorted(_placed(layout, btf, number, section), key=lambda v: v.offset)
    definitions = [_definition(btf, v.name, btf.type(v.type).value) for v in variables]
    filled = _initialised(layout, section, variables, definitions)
    for variable, spec in zip(variables, filled, strict=True):
        yield section, variable.offset, spec


def _placed(layout: Layout, btf: Btf, number: int, section: ElfSection) -> Iterator[BtfVariable]:
    """The variables of .maps, where the ELF file puts them."""
    offsets = {s.name: s.value for s in layout.symbols.get(section.index, ())}
    for variable in btf.variables(number):
        offset = variable.offset if variable.static else offsets.get(variable.name, variable.offset)
        if offset + variable.size > section.size:
            raise ObjectError(f"map {variable.name!r}: its definition reaches past the end of section '.maps'")
        yield replace(variable, offset=offset)


def _definition(btf: Btf, name: str, number: int, *, inner: bool = False) -> _Definition:
    """Read the struct that defines a map; `inner` for the template of a map of maps."""
    described = btf.type(btf.resolve(number))
    if described.kind is not Kind.STRUCT:
        raise ObjectError(f"map {name!r}: defined by a {described.kind.name}, not a struct")
    if described.count > _MAX_ATTRIBUTES:
        raise ObjectError(f"map {name!r}: {described.count} attributes, which no map has")
    members = tuple(btf.members(described))
    numbers = {m.name: _number(btf, name, m) for m in members if m.name in _NUMBERS}
    types = {m.name: _pointee(btf, name, m) for m in members if m.name in {"key", "value"}}
    unknown = next((m.name for m in members if m.name not in _NUMBERS | {"key", "value", "values"}), None)
    if unknown is not None:
        raise UnsupportedError(f"map {name!r}: attribute {unknown!r} is not known")
    if "type" not in numbers:
        raise ObjectError(f"map {name!r}: no type; write __uint(type, BPF_MAP_TYPE_…)")
    pinning = numbers.get("pinning", 0)
    if pinning > _PIN_BY_NAME or (pinning and inner):
        raise ObjectError(f"map {name!r}: pinning {pinning} is not known")
    spec = MapSpec(
        name=name,
        kind=numbers["type"],
        key_size=_width(btf, name, "key", numbers, types),
        value_size=_width(btf, name, "value", numbers, types),
        max_entries=numbers.get("max_entries", 0),
        flags=numbers.get("map_flags", 0),
        btf_key=types.get("key", 0),
        btf_value=types.get("value", 0),
        special=special_fields(btf, types["value"]) if "value" in types else (),
        pinning=pinning,
    )
    values = next((m for m in members if m.name == "values"), None)
    if values is None:
        return _Definition(spec=spec)
    if inner or values is not members[-1]:
        raise ObjectError(f"map {name!r}: 'values' must be the last member of an outer map")
    return _with_values(btf, spec, values)


def _number(btf: Btf, name: str, member: BtfMember) -> int:
    """A number as __uint writes it, int (*attribute)[NUMBER], or as __ulong does, a pointer to an enum of one value."""
    target = btf.type(_pointee(btf, name, member))
    match target.kind:
        case Kind.ARRAY:
            return target.words[2]
        case Kind.ENUM if target.count == 1:
            return target.words[1]
        case Kind.ENUM64 if target.count == 1:
            return target.words[1] | target.words[2] << 32
        case _:
            raise ObjectError(f"map {name!r}: attribute {member.name!r} is no number; write __uint({member.name}, …)")


def _pointee(btf: Btf, name: str, member: BtfMember) -> int:
    pointer = btf.type(btf.resolve(member.type))
    if pointer.kind is not Kind.PTR:
        raise ObjectError(f"map {name!r}: attribute {member.name!r} is no pointer; write __type or __uint")
    return pointer.value if member.name in {"key", "value"} else btf.resolve(pointer.value)


def _width(btf: Btf, name: str, which: str, numbers: Mapping[str, int], types: Mapping[str, int]) -> int:
    """The size of keys or values, from the type, the number, or both when they agree."""
    stated = numbers.get(which + "_size")
    if which not in types:
        return stated or 0
    try:
        width = btf.size(types[which])
    except ObjectError as error:
        raise ObjectError(f"map {name!r}: the type of its {which}: {error}") from error
    if stated is not None and stated != width:
        raise ObjectError(f"map {name!r}: {which}_size {stated} contradicts a {which} type of {width} bytes")
    if width > _MAX_SIZE:
        raise ObjectError(f"map {name!r}: a {which} of {width} bytes")
    return width


def _with_values(btf: Btf, spec: MapSpec, values: BtfMember) -> _Definition:
    """A map whose definition ends in __array(values, …): maps of maps and program arrays."""
    array = btf.type(btf.resolve(values.type))
    element = btf.type(btf.resolve(array.words[0])) if array.kind is Kind.ARRAY else array
    if array.kind is not Kind.ARRAY or array.words[2] or element.kind is not Kind.PTR:
        raise ObjectError(f"map {spec.name!r}: 'values' must be an open array of pointers; write __array(values, …)")
    if spec.value_size not in {0, 4}:
        raise ObjectError(f"map {spec.name!r}: a value_size of {spec.value_size} with 'values', which are 4 bytes each")
    target = btf.resolve(element.value)
    offset = values.bit_offset // 8
    if spec.kind in _MAPS_OF_MAPS:
        inner = _definition(btf, f"{spec.name}.inner", target, inner=True).spec
        return _Definition(spec=replace(spec, value_size=4, inner=inner), values=offset)
    if spec.kind == _PROG_ARRAY:
        if btf.type(target).kind is not Kind.FUNC_PROTO:
            raise ObjectError(f"map {spec.name!r}: 'values' of a program array must be functions")
        return _Definition(spec=replace(spec, value_size=4), values=offset)
    raise ObjectError(f"map {spec.name!r}: 'values' for map type {spec.kind}, which holds neither maps nor programs")


def _initialised(
    layout: Layout, section: ElfSection, variables: list[BtfVariable], definitions: list[_Definition]
) -> list[MapSpec]:
    """The definitions with what `.values = { … }` puts in: relocations inside .maps."""
    starts = [v.offset for v in variables]
    programs: dict[int, list[tuple[int, str]]] = {}
    maps: dict[int, list[tuple[int, str]]] = {}
    content = layout.elf.content(section)
    names = {v.offset: v.name for v in variables}
    for relocation in layout.elf.relocations.get(section.index, ()):
        which = bisect_right(starts, relocation.offset) - 1
        index = _slot(relocation, variables, definitions, which)
        spec = definitions[which].spec
        addend = int.from_bytes(content[relocation.offset : relocation.offset + 8], "little")
        if spec.kind == _PROG_ARRAY:
            programs.setdefault(which, []).append((index, _program(layout, relocation, addend, spec)))
        elif relocation.symbol.section == section.index and relocation.symbol.value + addend in names:
            maps.setdefault(which, []).append((index, names[relocation.symbol.value + addend]))
        else:
            raise ObjectError(f"map {spec.name!r}: value {index} is {relocation.symbol.name!r}, which is no map")
    return [
        replace(d.spec, programs=tuple(sorted(programs.get(i, ()))), inner_maps=tuple(sorted(maps.get(i, ()))))
        for i, d in enumerate(definitions)
    ]


def _slot(relocation: ElfRelocation, variables: list[BtfVariable], definitions: list[_Definition], which: int) -> int:
    """The index in `values` that a relocation of .maps fills."""
    if which < 0 or relocation.offset >= variables[which].offset + variables[which].size:
        raise ObjectError(f"section '.maps': a relocation at byte {relocation.offset}, outside every map")
    spec, values = definitions[which].spec, definitions[which].values
    distance = relocation.offset - variables[which].offset - values
    if values < 0 or distance < 0 or distance % 8:
        raise ObjectError(f"map {spec.name!r}: an initialiser that is not in 'values'")
    index = distance // 8
    if index >= spec.max_entries:
        raise ObjectError(f"map {spec.name!r}: an initialiser for index {index} of {spec.max_entries} entries")
    return index


def _program(layout: Layout, relocation: ElfRelocation, addend: int, spec: MapSpec) -> str:
    symbol = relocation.symbol
    slot, rest = divmod(symbol.value + addend, SLOT)
    function = None if rest else layout.starts.get((symbol.section, slot))
    if function is not None and function.is_program:
        return function.name
    raise ObjectError(f"map {spec.name!r}: {symbol.name!r} is no program of this object that can be called")


def _data_map(layout: Layout, data: DataSection, btf: Btf | None, object_name: str, taken: set[str]) -> MapSpec:
    section = data.section
    if section.size > _MAX_SIZE:
        raise ObjectError(f"section {section.name!r}: {section.size} bytes of global data")
    number = btf.section(section.name) if btf else 0
    flags = MapFlag.RDONLY_PROG if data.kind is DataKind.RODATA else MapFlag(0)
    if btf and number and _has_exposed(layout, section, btf, number):
        flags |= MapFlag.MMAPABLE
    name = _data_name(object_name, section.name)
    return MapSpec(
        name=section.name if name in taken else name,
        kind=_ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=int(flags),
        frozen=data.kind is DataKind.RODATA,
        btf_value=number,
        special=_special_variables(layout, section, btf, number) if btf and number else (),
        initial=() if data.kind is DataKind.BSS else ((bytes(4), layout.elf.content(section)),),
    )


def _special_variables(layout: Layout, section: ElfSection, btf: Btf, number: int) -> tuple[SpecialField, ...]:
    """The locks and the like among the variables of a section, where the ELF file puts them."""
    offsets = {s.name: s.value for s in layout.symbols.get(section.index, ())}
    found = [
        replace(
            each,
            offset=each.offset + (variable.offset if variable.static else offsets.get(variable.name, variable.offset)),
        )
        for variable in btf.variables(number)
        for each in special_fields(btf, btf.type(variable.type).value)
    ]
    return tuple(sorted(found, key=lambda each: each.offset))


def _has_exposed(layout: Layout, section: ElfSection, btf: Btf, number: int) -> bool:
    """Whether a variable of the section is visible outside: only then libbpf lets user space map the memory."""
    symbols = layout.symbols.get(section.index, ())
    exposed = {s.name for s in symbols if s.binding is not Binding.LOCAL and not s.hidden}
    return any(v.name in exposed for v in btf.variables(number))


def _data_name(object_name: str, section: str) -> str:
    """The name that libbpf gives to the map of a section: 15 characters, of the object's name what there is room for."""
    suffix = section[:_MAX_KERNEL_NAME]
    custom = "." in section[1:]
    room = 0 if custom else _MAX_KERNEL_NAME - max(_SUFFIX_ROOM, len(suffix))
    name = object_name.rpartition("/")[2].partition(".")[0][:room] + suffix
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)
