"""ELF64 little-endian relocatable objects as small frozen records; the only module that uses pyelftools.

Not here: what sections mean to BPF (sections.py). Nothing is trusted: counts are bounded before anything is
read, contents are checked against the file, and whatever pyelftools makes of bad bytes leaves as ObjectError.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, final

from runtime.errors import ObjectError, UnsupportedError
from runtime.object.strings import StringTable

__all__ = ["Binding", "ElfFile", "ElfRelocation", "ElfSection", "ElfSymbol", "SectionType", "SymbolType", "read_elf"]

_SHF_EXECINSTR: Final = 0x4
_SHF_COMPRESSED: Final = 0x800

_MAX_SECTIONS: Final = 1 << 14
_MAX_SYMBOLS: Final = 1 << 17
_MAX_RELOCATIONS: Final = 1 << 18

_HEADER_SIZE: Final = 64


class SectionType(Enum):
    """The section types that matter to an eBPF object."""

    PROGBITS = "SHT_PROGBITS"
    NOBITS = "SHT_NOBITS"
    SYMTAB = "SHT_SYMTAB"
    STRTAB = "SHT_STRTAB"
    REL = "SHT_REL"
    RELA = "SHT_RELA"
    OTHER = ""


class SymbolType(Enum):
    """What a symbol stands for."""

    NOTYPE = "STT_NOTYPE"
    OBJECT = "STT_OBJECT"
    FUNC = "STT_FUNC"
    SECTION = "STT_SECTION"
    OTHER = ""


class Binding(Enum):
    """How far a symbol is seen."""

    LOCAL = "STB_LOCAL"
    GLOBAL = "STB_GLOBAL"
    WEAK = "STB_WEAK"
    OTHER = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSection:
    """A section header; `offset` and `size` in bytes of the file, `info` and `link` as the type defines them."""

    index: int
    name: str
    type: SectionType
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int

    @property
    def executable(self) -> bool:
        """Whether the section holds instructions."""
        return self.type is SectionType.PROGBITS and bool(self.flags & _SHF_EXECINSTR)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSymbol:
    """A symbol. `section` is the index of its section, 0 when undefined, -1 for absolute and common symbols."""

    name: str
    type: SymbolType
    binding: Binding
    hidden: bool
    section: int
    value: int
    size: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ElfRelocation:
    """A relocation of type `type` at byte `offset` of the section it applies to; the addend lies in the section."""

    offset: int
    type: int
    symbol: ElfSymbol


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFile:
    """Sections and symbols by index; relocations by the index of the section that they apply to."""

    sections: tuple[ElfSection, ...]
    symbols: tuple[ElfSymbol, ...]
    relocations: Mapping[int, tuple[ElfRelocation, ...]]
    data: bytes = field(repr=False)

    def content(self, section: ElfSection) -> bytes:
        """The bytes of a section; raises ObjectError when they are not all in the file."""
        return _content(self.data, section)


def read_elf(data: bytes, *, relocated: Callable[[ElfSection], bool]) -> ElfFile:
    """Read headers, symbols and the relocations of those sections for which `relocated` holds.

    Raises ObjectError with what is wrong, for a file of another kind with what to do about it.
    """
    _check_identity(data)
    from elftools.common.exceptions import ELFError  # paid by who reads an object

    try:
        return _Reader(data).read(relocated)
    except ELFError as error:
        raise ObjectError(f"damaged ELF file: {error}") from error


def _check_identity(data: bytes) -> None:
    if data[:4] != b"\x7fELF":
        raise ObjectError("not an ELF object: compile the program with `clang -O2 -g -target bpf -c`")
    if len(data) < _HEADER_SIZE:
        raise ObjectError(f"damaged ELF file: {len(data)} bytes, which is less than its header")
    if data[4] == 1:
        raise ObjectError("a 32-bit ELF object: compile for BPF, which is 64-bit, with `clang -target bpf`")
    if data[5] == 2:
        raise ObjectError("a big-endian BPF object: compile with `clang -target bpfel`")


@final
class _Reader:
    def __init__(self, data: bytes) -> None:
        from elftools.common.utils import struct_parse
        from elftools.elf.structs import ELFStructs  # the shapes alone: ELFFile would load DWARF and more

        self._data = data
        self._stream = io.BytesIO(data)
        self._structs: Any = ELFStructs(little_endian=True, elfclass=64)
        self._structs.create_basic_structs()
        self._header: Any = struct_parse(self._structs.Elf_Ehdr, self._stream, stream_pos=0)
        self._structs.create_advanced_structs(self._header["e_type"], self._header["e_machine"])

    def read(self, relocated: Callable[[ElfSection], bool]) -> ElfFile:
        self._check_header()
        sections = tuple(self._sections())
        symbols = self._symbols(sections)
        relocations: dict[int, list[ElfRelocation]] = {}
        budget = _MAX_RELOCATIONS
        for section in sections:
            if section.type not in {SectionType.REL, SectionType.RELA} or not 0 < section.info < len(sections):
                continue
            target = sections[section.info]
            if not relocated(target):
                continue
            found = self._relocations(section, target, symbols, budget)
            budget -= len(found)
            relocations.setdefault(target.index, []).extend(found)
        by_target = {index: tuple(found) for index, found in relocations.items()}
        return ElfFile(sections=sections, symbols=symbols, relocations=by_target, data=self._data)

    def _check_header(self) -> None:
        machine, kind = self._header["e_machine"], self._header["e_type"]
        if machine not in {"EM_BPF", "EM_NONE"}:
            raise ObjectError(f"an ELF file for {machine}, not for BPF: compile with `clang -target bpf`")
        if kind != "ET_REL":
            raise ObjectError(f"an ELF file of type {kind}, not a relocatable object: compile with `clang -c`")

    def _parse(self, shape: Any, offset: int, count: int, stride: int) -> Iterator[Any]:
        """`count` records, `stride` bytes apart; the caller has checked that they lie in the file."""
        from elftools.common.utils import struct_parse

        for number in range(count):
            yield struct_parse(shape, self._stream, stream_pos=offset + number * stride)

    def _sections(self) -> Iterator[ElfSection]:
        shape = self._structs.Elf_Shdr
        count, offset, stride = self._header["e_shnum"], self._header["e_shoff"], self._header["e_shentsize"]
        if not offset or not count:
            raise ObjectError("an ELF file without sections: there is no program in it")
        if count > _MAX_SECTIONS:
            raise ObjectError(f"{count} sections, more than the {_MAX_SECTIONS} that are read")
        if stride < shape.sizeof() or offset + count * stride > len(self._data):
            raise ObjectError("damaged ELF file: the table of sections is not all in the file (is it cut?)")
        headers = list(self._parse(shape, offset, count, stride))
        names = self._section_names(headers)
        for index, header in enumerate(headers):
            yield ElfSection(
                index=index,
                name=names.at(header["sh_name"]) if index else "",
                type=_member(SectionType, header["sh_type"]),
                flags=header["sh_flags"],
                offset=header["sh_offset"],
                size=header["sh_size"],
                link=header["sh_link"],
                info=header["sh_info"],
                entry_size=header["sh_entsize"],
            )

    def _section_names(self, headers: list[Any]) -> StringTable:
        index = self._header["e_shstrndx"]
        if not 0 < index < len(headers):
            raise ObjectError("damaged ELF file: no table of section names")
        start, size = headers[index]["sh_offset"], headers[index]["sh_size"]
        return StringTable(self._data[start : start + size], what="section names")

    def _symbols(self, sections: tuple[ElfSection, ...]) -> tuple[ElfSymbol, ...]:
        tables = [s for s in sections if s.type is SectionType.SYMTAB]
        if not tables:
            return ()
        if len(tables) > 1:
            raise ObjectError("more than one symbol table")
        table = tables[0]
        shape = self._structs.Elf_Sym
        count = _entries(table, shape.sizeof(), _MAX_SYMBOLS, self._data)
        if not 0 < table.link < len(sections) or sections[table.link].type is not SectionType.STRTAB:
            raise ObjectError("damaged ELF file: the symbol table names no table of strings")
        names = StringTable(_content(self._data, sections[table.link]), what="symbol names")
        return tuple(
            ElfSymbol(
                name=names.at(entry["st_name"]),
                type=_member(SymbolType, entry["st_info"]["type"]),
                binding=_member(Binding, entry["st_info"]["bind"]),
                hidden=entry["st_other"]["visibility"] in {"STV_HIDDEN", "STV_INTERNAL"},
                section=_section_index(entry["st_shndx"]),
                value=entry["st_value"],
                size=entry["st_size"],
            )
            for entry in self._parse(shape, table.offset, count, shape.sizeof())
        )

    def _relocations(
        self, section: ElfSection, target: ElfSection, symbols: tuple[ElfSymbol, ...], budget: int
    ) -> list[ElfRelocation]:
        if section.type is SectionType.RELA:
            raise UnsupportedError(f"section {section.name!r}: relocations with addends; clang writes them without")
        shape = self._structs.Elf_Rel
        count = _entries(section, shape.sizeof(), budget, self._data)
        found = []
        for entry in self._parse(shape, section.offset, count, shape.sizeof()):
            offset, symbol = entry["r_offset"], entry["r_info_sym"]
            if symbol >= len(symbols):
                raise ObjectError(f"section {section.name!r}: a relocation against symbol {symbol} of {len(symbols)}")
            if offset >= target.size:
                raise ObjectError(f"section {section.name!r}: a relocation at byte {offset}, outside {target.name!r}")
            found.append(ElfRelocation(offset=offset, type=entry["r_info_type"], symbol=symbols[symbol]))
        return found


def _content(data: bytes, section: ElfSection) -> bytes:
    if section.flags & _SHF_COMPRESSED:
        raise UnsupportedError(
            f"section {section.name!r} is compressed: use `llvm-objcopy --decompress-debug-sections`"
        )
    if section.type is SectionType.NOBITS:
        raise ObjectError(f"section {section.name!r} has no bytes in the file")
    if section.offset + section.size > len(data):
        raise ObjectError(f"section {section.name!r}: {section.size} bytes that are not all in the file (is it cut?)")
    return data[section.offset : section.offset + section.size]


def _entries(table: ElfSection, stride: int, limit: int, data: bytes) -> int:
    """How many entries a table has, checked against its own claims, the file and `limit`."""
    if table.entry_size != stride or table.size % stride:
        raise ObjectError(f"section {table.name!r}: {table.size} bytes in entries of {table.entry_size}, not {stride}")
    if table.offset + table.size > len(data):
        raise ObjectError(f"section {table.name!r}: not all of it is in the file (is it cut?)")
    count = table.size // stride
    if count > limit:
        raise ObjectError(f"section {table.name!r}: {count} entries, more than the {limit} that are read")
    return count


def _section_index(value: int | str) -> int:
    """Reserved indices other than 'undefined' are no section of this file."""
    if isinstance(value, int):
        return value
    return 0 if value == "SHN_UNDEF" else -1


def _member(kind: Any, value: int | str) -> Any:
    """The enum's member of that pyelftools name; OTHER for names and numbers that do not matter here."""
    try:
        return kind(value)
    except ValueError:
        return kind.OTHER
