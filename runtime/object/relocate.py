"""Relocation of one function: references to maps and global data become indices, references to code are listed.

Not here: where functions end up (link.py). Everything works on raw slots, as clang left them in the section.

    R_BPF_64_64   a 64-bit immediate load of a map, of a global variable, of a function
    R_BPF_64_32   a call of a function
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from runtime.errors import ObjectError, RelocationError, UnsupportedError
from runtime.isa import CallKind, PseudoLoad
from runtime.object.btf import Btf
from runtime.object.btf_ext import CoreRecord, InstructionInfo, between
from runtime.object.elf import ElfRelocation, ElfSymbol
from runtime.object.mapdefs import MapTable
from runtime.object.sections import SLOT, Function, Layout

__all__ = ["Piece", "Reference", "Relocator"]

_LDDW: Final = 0x18
_CALL: Final = 0x85
_R_BPF_64_64: Final = 1
_R_BPF_64_32: Final = 10

_INSTRUCTION: Final = struct.Struct("<BBhi")
_IMM: Final = struct.Struct("<i")
_IMM_AT: Final = 4

# CO-RE kinds whose answer belongs to a running kernel, whatever the program was compiled with.
_CORE_TARGET_TYPE: Final = 7
_CORE_KINDS: Final = 13
_FLAVOUR: Final = "___"


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """The instruction at `slot` of a function wants the distance to slot `target` of section `section`."""

    slot: int
    section: int
    target: int


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """The relocated slots of one function, and what they still refer to."""

    code: bytes
    references: tuple[Reference, ...]


@final
@dataclass(frozen=True, slots=True)
class _Site:
    """An instruction under relocation: its slot in the function, and its fields."""

    slot: int
    opcode: int
    registers: int
    imm: int

    @property
    def source(self) -> int:
        """The source register field, which tells pseudo loads and kinds of calls apart."""
        return self.registers >> 4


@final
class Relocator:
    """Relocates the functions of one object, each once."""

    def __init__(self, layout: Layout, maps: MapTable, btf: Btf | None, info: InstructionInfo | None) -> None:
        self._layout = layout
        self._maps = maps
        self._btf = btf
        self._info = info
        self._pieces: dict[Function, Piece] = {}
        self._contents: dict[int, bytes] = {}
        self._relocations: dict[int, tuple[ElfRelocation, ...]] = {}

    def piece(self, function: Function) -> Piece:
        """The function, relocated; raises RelocationError that names the symbol, or UnsupportedError."""
        found = self._pieces.get(function)
        if found is None:
            found = self._pieces[function] = self._relocate(function)
        return found

    def _relocate(self, function: Function) -> Piece:
        code = bytearray(self._content(function)[function.start * SLOT : function.end * SLOT])
        wanted = {r.offset: r for r in self._within(function)}
        references = []
        for site in _sites(code):
            relocation = wanted.pop((function.start + site.slot) * SLOT, None)
            if relocation is None:
                reference = _unrelocated(function, site)
            elif site.opcode == _CALL:
                reference = self._call(function, site, relocation)
            else:
                reference = self._load(function, site, relocation, code)
            if reference is not None:
                references.append(reference)
        for relocation in wanted.values():
            raise RelocationError(
                f"{function.name}: a reference to {self._named(relocation.symbol)} from an instruction that takes none"
            )
        self._check_core(function)
        return Piece(bytes(code), tuple(references))

    def _content(self, function: Function) -> bytes:
        index = function.section.index
        if index not in self._contents:
            self._contents[index] = self._layout.elf.content(function.section)
        return self._contents[index]

    def _within(self, function: Function) -> tuple[ElfRelocation, ...]:
        index = function.section.index
        if index not in self._relocations:
            self._relocations[index] = tuple(
                sorted(self._layout.elf.relocations.get(index, ()), key=lambda r: r.offset)
            )
        ordered = self._relocations[index]
        first = bisect_left(ordered, function.start * SLOT, key=lambda r: r.offset)
        return ordered[first : bisect_left(ordered, function.end * SLOT, key=lambda r: r.offset)]

    def _call(self, function: Function, site: _Site, relocation: ElfRelocation) -> Reference:
        symbol = relocation.symbol
        if relocation.type != _R_BPF_64_32 or site.source != CallKind.LOCAL:
            raise RelocationError(f"{function.name}: the call of {self._named(symbol)} is not a call of a function")
        if symbol.section not in self._layout.functions:
            raise self._unresolved(function, symbol)
        # A call of a section's symbol counts its slots from the section's start; of a function's, imm is -1.
        start, rest = divmod(symbol.value, SLOT)
        if rest:
            raise RelocationError(f"{function.name}: {self._named(symbol)} starts inside an instruction")
        return Reference(site.slot, symbol.section, start + site.imm + 1)

    def _load(self, function: Function, site: _Site, relocation: ElfRelocation, code: bytearray) -> Reference | None:
        symbol, at = relocation.symbol, relocation.symbol.value + site.imm
        if relocation.type != _R_BPF_64_64:
            raise RelocationError(
                f"{function.name}: a load of {self._named(symbol)} by relocation type {relocation.type}"
            )
        data = self._maps.data.get(symbol.section)
        if data is not None:
            if not 0 <= at < self._maps.specs[data].value_size:
                raise RelocationError(f"{function.name}: byte {at} of {self._named(symbol)} is outside its section")
            _write(code, site, PseudoLoad.MAP_VALUE, data, at)
            return None
        place = self._maps.places.get((symbol.section, at))
        if place is not None:
            _write(code, site, PseudoLoad.MAP_FD, place, 0)
            return None
        if symbol.section in self._layout.functions:
            slot, rest = divmod(at, SLOT)
            if rest:
                raise RelocationError(f"{function.name}: {self._named(symbol)} starts inside an instruction")
            _write(code, site, PseudoLoad.FUNCTION, 0, 0)
            return Reference(site.slot, symbol.section, slot)
        raise self._unresolved(function, symbol)

    def _unresolved(self, function: Function, symbol: ElfSymbol) -> RelocationError | UnsupportedError:
        """Why a symbol leads nowhere."""
        who, what = function.name, self._named(symbol)
        if symbol.section > 0:
            section = self._section_name(symbol.section)
            return RelocationError(
                f"{who}: {what} is in section {section!r}, which holds neither functions, maps nor global data"
            )
        if symbol.section < 0:
            return RelocationError(f"{who}: {what} has no section: give it an initial value, or -fno-common")
        if self._btf and symbol.name in self._btf.declared(".kconfig"):
            return UnsupportedError(f"{who}: {what} is a setting of the kernel (__kconfig), which is not known here")
        if self._btf and symbol.name in self._btf.declared(".ksyms"):
            return UnsupportedError(f"{who}: {what} belongs to the kernel (__ksym), which is not at hand here")
        return RelocationError(f"{who}: {what} is declared and nowhere defined; link the objects first")

    def _named(self, symbol: ElfSymbol) -> str:
        """A symbol in a message; sections' own symbols have no name."""
        return repr(symbol.name or self._section_name(symbol.section))

    def _section_name(self, index: int) -> str:
        sections = self._layout.elf.sections
        return sections[index].name if 0 < index < len(sections) else "?"

    def _check_core(self, function: Function) -> None:
        """CO-RE relocations keep what clang wrote: the layout that the program was compiled with is the one it runs on.

        There is no kernel whose layout could differ, only frames and records that the headers describe. What asks
        about the kernel itself, or chooses between several layouts, has no answer.
        """
        if self._info is None or self._btf is None:
            return
        for record in between(self._info.core.get(function.section.name, ()), function.start, function.end):
            name = _type_name(self._btf, record)
            if record.kind >= _CORE_KINDS:
                raise ObjectError(f"{function.name}: a CO-RE relocation of kind {record.kind}, which does not exist")
            if record.kind == _CORE_TARGET_TYPE or _FLAVOUR in name:
                raise UnsupportedError(
                    f"{function.name}: asks for type {name!r} of the running kernel (CO-RE), which is not at hand here"
                )


def _sites(code: bytearray) -> Iterator[_Site]:
    """The calls and 64-bit loads of a function."""
    slot, count = 0, len(code) // SLOT
    while slot < count:
        opcode = code[slot * SLOT]
        if opcode in {_CALL, _LDDW}:
            _, registers, _, imm = _INSTRUCTION.unpack_from(code, slot * SLOT)
            yield _Site(slot, opcode, registers, imm)
        slot += 2 if opcode == _LDDW else 1


def _unrelocated(function: Function, site: _Site) -> Reference | None:
    """What an instruction without a relocation refers to: a call counts from where it stands."""
    if site.opcode == _CALL:
        target = function.start + site.slot + site.imm + 1
        return Reference(site.slot, function.section.index, target) if site.source == CallKind.LOCAL else None
    if site.source != PseudoLoad.IMM:
        raise RelocationError(
            f"{function.name}: instruction {site.slot} loads a map or function by a number that no relocation explains"
        )
    return None


def _write(code: bytearray, site: _Site, kind: PseudoLoad, imm: int, next_imm: int) -> None:
    at = site.slot * SLOT
    if at + 2 * SLOT > len(code):
        raise RelocationError(f"a 64-bit load at slot {site.slot} is cut by the end of its function")
    code[at + 1] = site.registers & 0xF | kind << 4
    _IMM.pack_into(code, at + _IMM_AT, imm)
    _IMM.pack_into(code, at + SLOT + _IMM_AT, next_imm)


def _type_name(btf: Btf, record: CoreRecord) -> str:
    return btf.type(btf.resolve(record.type)).name
