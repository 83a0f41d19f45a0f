"""Maps defined before BTF: `struct bpf_map_def` in section `maps`, and iproute2's longer `struct bpf_elf_map`.

Not here: maps defined through BTF (mapdefs.py).

    struct bpf_map_def:  type, key_size, value_size, max_entries, map_flags          5 words, the last may be missing
    struct bpf_elf_map:  the same · id, pinning, inner_id, inner_idx                 9 words
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from runtime.errors import ObjectError, UnsupportedError
from runtime.object.btf import Btf, Kind
from runtime.object.elf import ElfSection, ElfSymbol, SymbolType
from runtime.object.sections import Layout
from runtime.spec import MapSpec

__all__ = ["legacy_maps"]

_SHORTEST: Final = 16
_KNOWN: Final = 20
_IPROUTE2: Final = 36
_TYPES_PREFIX: Final = "____btf_map_"


def legacy_maps(layout: Layout, btf: Btf | None) -> list[tuple[ElfSection, int, MapSpec]]:
    """The section, byte offset and definition of each legacy map.

    The size of a definition is that of its symbol, else what the section has for each.
    Raises ObjectError for definitions that do not fit and UnsupportedError for fields that are not known.
    """
    found: list[tuple[ElfSection, int, MapSpec]] = []
    by_id: dict[int, MapSpec] = {}
    inner: dict[str, int] = {}
    types = _annotations(btf) if layout.legacy_maps and btf else {}
    for section in layout.legacy_maps:
        for symbol, words in _definitions(layout, section):
            spec = _typed(_spec(symbol.name, words), types)
            if len(words) * 4 == _IPROUTE2:
                by_id[words[5]] = spec
                inner[spec.name] = words[7]
            found.append((section, symbol.value, spec))
    return [(section, offset, _with_inner(spec, inner.get(spec.name, 0), by_id)) for section, offset, spec in found]


def _definitions(layout: Layout, section: ElfSection) -> Iterator[tuple[ElfSymbol, tuple[int, ...]]]:
    symbols = sorted(
        (
            s
            for s in layout.symbols.get(section.index, ())
            if s.name and s.type in {SymbolType.OBJECT, SymbolType.NOTYPE}
        ),
        key=lambda s: s.value,
    )
    content = layout.elf.content(section)
    for symbol in symbols:
        size = symbol.size or section.size // len(symbols)
        if size < _SHORTEST or size % 4 or symbol.value + size > len(content):
            raise ObjectError(f"map {symbol.name!r}: a definition of {size} bytes in section {section.name!r}")
        if size > _KNOWN and size != _IPROUTE2 and any(content[symbol.value + _KNOWN : symbol.value + size]):
            raise UnsupportedError(
                f"map {symbol.name!r}: a definition of {size} bytes with fields that are not known; use .maps"
            )
        words = min(size, _IPROUTE2) // 4
        yield symbol, struct.unpack_from(f"<{words}I", content, symbol.value)


def _spec(name: str, words: tuple[int, ...]) -> MapSpec:
    pinned = len(words) * 4 == _IPROUTE2 and words[6] != 0
    return MapSpec(
        name=name,
        kind=words[0],
        key_size=words[1],
        value_size=words[2],
        max_entries=words[3],
        flags=words[4] if len(words) > 4 else 0,
        pinning=int(pinned),
    )


def _with_inner(spec: MapSpec, number: int, by_id: dict[int, MapSpec]) -> MapSpec:
    if not number:
        return spec
    if number not in by_id:
        raise ObjectError(f"map {spec.name!r}: its inner map has id {number}, which no map has")
    return replace(spec, inner=replace(by_id[number], inner=None))


def _annotations(btf: Btf) -> dict[str, dict[str, int]]:
    """What BPF_ANNOTATE_KV_PAIR left: for each map a struct with a key and a value."""
    found: dict[str, dict[str, int]] = {}
    for number in range(1, len(btf)):
        each = btf.type(number)
        if each.kind is Kind.STRUCT and each.name.startswith(_TYPES_PREFIX):
            found[each.name.removeprefix(_TYPES_PREFIX)] = {m.name: m.type for m in btf.members(each)}
    return found


def _typed(spec: MapSpec, types: dict[str, dict[str, int]]) -> MapSpec:
    known = types.get(spec.name, {})
    return replace(spec, btf_key=known.get("key", 0), btf_value=known.get("value", 0))
