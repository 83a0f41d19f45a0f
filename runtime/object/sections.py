"""What the sections of an ELF object mean to BPF: functions, maps, global data, license, type information.

Not here: the contents of any of them. The names are those of libbpf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final, final

from runtime.errors import ObjectError
from runtime.object.elf import Binding, ElfFile, ElfSection, ElfSymbol, SectionType, SymbolType

__all__ = ["SLOT", "DataKind", "DataSection", "Function", "Layout", "survey", "takes_relocations"]

SLOT: Final = 8
_TEXT: Final = ".text"

_BTF_MAPS: Final = ".maps"
_LEGACY_MAPS: Final = "maps"
_LICENSE: Final = "license"
_MAX_LICENSE: Final = 128


class DataKind(Enum):
    """Global data by what a program may do with it; the value is the section's first name."""

    DATA = ".data"
    RODATA = ".rodata"
    BSS = ".bss"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    """A section of global variables."""

    section: ElfSection
    kind: DataKind


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: the slots [start, end) of its section.

    `static` when no other file can refer to it, `hidden` when other files of the same object can and programs loaded
    later cannot, which makes the kernel verify it together with its callers.
    """

    name: str
    section: ElfSection
    start: int
    end: int
    static: bool
    hidden: bool = False

    @property
    def is_program(self) -> bool:
        """Whether it can be loaded by itself: what stands outside .text and is not static."""
        return self.section.name != _TEXT and not self.static


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The sections that matter, in the order of the file.

    `symbols` and `functions` are by section index, functions in order of start; `starts` finds a function by section
    index and first slot, the first of several names for one.
    """

    elf: ElfFile
    symbols: Mapping[int, tuple[ElfSymbol, ...]]
    functions: Mapping[int, tuple[Function, ...]]
    starts: Mapping[tuple[int, int], Function]
    legacy_maps: tuple[ElfSection, ...]
    btf_maps: ElfSection | None
    data: tuple[DataSection, ...]
    license: str
    btf: bytes | None
    btf_ext: bytes | None

    def programs(self) -> tuple[Function, ...]:
        """The functions that are programs."""
        return tuple(f for each in self.functions.values() for f in each if f.is_program)


def takes_relocations(section: ElfSection) -> bool:
    """Whether relocations that apply to the section change anything here: those of code and map definitions do."""
    return section.executable or section.name == _BTF_MAPS


def survey(elf: ElfFile) -> Layout:
    """Tell the sections of an object apart; raises ObjectError for functions that do not fit their sections."""
    symbols: dict[int, list[ElfSymbol]] = {}
    for symbol in elf.symbols:
        if symbol.section > 0:
            symbols.setdefault(symbol.section, []).append(symbol)
    sections = [s for s in elf.sections if s.size]
    _check_sizes(elf, sections)
    functions = {s.index: _functions(s, symbols.get(s.index, [])) for s in sections if s.executable}
    return Layout(
        elf=elf,
        symbols={index: tuple(each) for index, each in symbols.items()},
        functions=functions,
        starts={(f.section.index, f.start): f for each in functions.values() for f in reversed(each)},
        legacy_maps=tuple(s for s in sections if s.name == _LEGACY_MAPS or s.name.startswith(_LEGACY_MAPS + "/")),
        btf_maps=_single(sections, _BTF_MAPS),
        data=_data(sections),
        license=_license(elf, _single(sections, _LICENSE)),
        btf=_bytes(elf, _single(sections, ".BTF")),
        btf_ext=_bytes(elf, _single(sections, ".BTF.ext")),
    )


def _check_sizes(elf: ElfFile, sections: list[ElfSection]) -> None:
    """Sections lie beside each other; if they overlapped, a small file could fill any memory."""
    held = sum(s.size for s in sections if s.executable or (_data_kind(s) and s.type is not SectionType.NOBITS))
    if held > len(elf.data):
        raise ObjectError(f"sections of {held} bytes of code and data in a file of {len(elf.data)} (is it cut?)")


def _single(sections: list[ElfSection], name: str) -> ElfSection | None:
    found = [s for s in sections if s.name == name and s.type is SectionType.PROGBITS]
    if len(found) > 1:
        raise ObjectError(f"{len(found)} sections are called {name!r}")
    return found[0] if found else None


def _bytes(elf: ElfFile, section: ElfSection | None) -> bytes | None:
    return None if section is None else elf.content(section)


def _license(elf: ElfFile, section: ElfSection | None) -> str:
    if section is None:
        return ""
    text = elf.content(section).partition(b"\0")[0][:_MAX_LICENSE]
    return text.decode("ascii", "backslashreplace")


def _data(sections: list[ElfSection]) -> tuple[DataSection, ...]:
    """Global data as libbpf sees it: .data and .rodata with bytes in the file, .bss without, each also as `.name.*`."""
    found: dict[str, DataSection] = {}
    for section in sections:
        kind = _data_kind(section)
        if kind is None:
            continue
        if section.name in found:
            raise ObjectError(f"two sections of global data are called {section.name!r}")
        found[section.name] = DataSection(section=section, kind=kind)
    return tuple(found.values())


def _data_kind(section: ElfSection) -> DataKind | None:
    for kind in DataKind:
        wanted = SectionType.NOBITS if kind is DataKind.BSS else SectionType.PROGBITS
        named = section.name == kind.value or section.name.startswith(kind.value + ".")
        if named and section.type is wanted and not section.executable:
            return kind
    return None


def _functions(section: ElfSection, symbols: list[ElfSymbol]) -> tuple[Function, ...]:
    """The functions of a section: its FUNC symbols, else its global labels (assembly), else the section as one.

    What lies between them are static functions that lost their symbols to a strip.
    """
    if section.size % SLOT:
        raise ObjectError(f"section {section.name!r}: {section.size} bytes are no whole number of instructions")
    chosen = [s for s in symbols if s.type is SymbolType.FUNC] or [
        s for s in symbols if s.type is SymbolType.NOTYPE and s.binding is not Binding.LOCAL and s.name
    ]
    chosen = sorted(chosen, key=lambda s: s.value)
    slots = section.size // SLOT
    if not chosen:
        return (Function(name=section.name, section=section, start=0, end=slots, static=False),)
    starts = sorted({s.value for s in chosen} | {section.size})
    following = dict(pairwise(starts))
    named = [_function(section, s, following.get(s.value, section.size)) for s in chosen]
    return tuple(sorted((*named, *_gaps(section, named)), key=lambda f: f.start))


def _gaps(section: ElfSection, named: list[Function]) -> Iterator[Function]:
    """The slots of a section that belong to none of its functions, which are in order of start."""
    at = 0
    for start, end in (*((f.start, f.end) for f in named), (section.size // SLOT, 0)):
        if start > at:
            yield Function(name=f"{section.name}+{at}", section=section, start=at, end=start, static=True)
        at = max(at, end)


def _function(section: ElfSection, symbol: ElfSymbol, following: int) -> Function:
    end = symbol.value + symbol.size if symbol.size else following
    if symbol.value % SLOT or end % SLOT or not symbol.value < end <= section.size:
        raise ObjectError(
            f"function {symbol.name!r}: bytes {symbol.value} to {end} do not fit the {section.size} of {section.name!r}"
        )
    return Function(
        name=symbol.name,
        section=section,
        start=symbol.value // SLOT,
        end=end // SLOT,
        static=symbol.binding is Binding.LOCAL,
        hidden=symbol.hidden,
    )
