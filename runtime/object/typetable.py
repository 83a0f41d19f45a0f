"""BTF as the runtime reads it: ids to C types, with qualifiers resolved and global data laid out.

Not here: the format (btf.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from runtime.errors import ObjectError
from runtime.object.btf import MODIFIERS, Btf, BtfType, Kind
from runtime.spec import (
    ArrayType,
    CType,
    EnumType,
    FloatType,
    IntType,
    Member,
    OpaqueType,
    PointerType,
    StructType,
)

__all__ = ["BtfTypes", "SectionShape"]

_MAX_DEPTH: Final = 32
_MAX_PARTS: Final = 1 << 20

_SIGNED: Final = 1
_CHAR: Final = 2
_BOOL: Final = 4
_SIGN_BIT: Final = 1 << 31


@final
@dataclass(frozen=True, slots=True)
class SectionShape:
    """A section of global data as the ELF file has it: its size, and where its symbols are."""

    size: int
    offsets: Mapping[str, int]


@final
class BtfTypes:
    """A `TypeTable` over the BTF of an object; types are built when first asked for."""

    __slots__ = ("_btf", "_parts", "_sections", "_types")

    def __init__(self, btf: Btf, sections: Mapping[str, SectionShape]) -> None:
        self._btf = btf
        self._sections = sections
        self._types: dict[int, CType | None] = {0: None}
        self._parts: dict[int, int] = {0: 1}

    def ctype(self, type_id: int) -> CType | None:
        """The type with that id; None for void, 0 and ids out of range.

        A section of global data is a struct of its variables. Raises ObjectError for types that contain themselves,
        that do not fit where they stand, or that are larger than any program needs.
        """
        if not 0 <= type_id < len(self._btf):
            return None
        return self._get(type_id, 0)

    def _get(self, number: int, depth: int) -> CType | None:
        if number not in self._types:
            if depth > _MAX_DEPTH:
                raise ObjectError(f".BTF: type {number} is nested more than {_MAX_DEPTH} deep")
            built, parts = self._build(number, depth)
            if parts > _MAX_PARTS:
                raise ObjectError(f".BTF: type {number} has more than {_MAX_PARTS} parts")
            self._types[number] = built
            self._parts[number] = parts
        return self._types[number]

    def _build(self, number: int, depth: int) -> tuple[CType | None, int]:
        found = self._btf.type(number)
        match found.kind:
            case Kind.VOID:
                return None, 1
            case Kind.VOLATILE | Kind.CONST | Kind.RESTRICT | Kind.TYPE_TAG | Kind.TYPEDEF:
                return self._named(number, depth)
            case Kind.VAR:
                return self._get(found.value, depth + 1), self._parts[found.value]
            case Kind.INT:
                return _integer(number, found), 1
            case Kind.FLOAT:
                return _float(number, found), 1
            case Kind.PTR:
                return PointerType(), 1
            case Kind.ENUM | Kind.ENUM64:
                return self._enum(number, found), 1
            case Kind.ARRAY:
                element = self._sized(found.words[0], depth + 1)
                count = found.words[2] if element.size else 0
                return ArrayType(element=element, count=count), 1 + self._parts[found.words[0]]
            case Kind.STRUCT | Kind.UNION:
                return self._struct(number, found, depth)
            case Kind.DATASEC:
                return self._section(number, found, depth)
            case Kind.FWD | Kind.FUNC | Kind.FUNC_PROTO | Kind.DECL_TAG:
                return OpaqueType(0, found.name), 1

    def _sized(self, number: int, depth: int) -> CType:
        return self._get(number, depth) or OpaqueType(0)

    def _named(self, number: int, depth: int) -> tuple[CType | None, int]:
        """The type behind qualifiers and typedefs; an integer remembers the outermost typedef."""
        outer = self._btf.type(self._btf.resolve(number, through=MODIFIERS))
        base = self._btf.resolve(number)
        built = self._get(base, depth + 1)
        if isinstance(built, IntType) and outer.kind is Kind.TYPEDEF:
            built = replace(built, typedef=outer.name)
        return built, self._parts[base]

    def _enum(self, number: int, found: BtfType) -> EnumType:
        if found.value not in {1, 2, 4, 8}:
            raise ObjectError(f".BTF: type {number}: an enumeration of {found.value} bytes")
        words, values = found.words, []
        step = 2 if found.kind is Kind.ENUM else 3
        width = 32 if found.kind is Kind.ENUM else 64
        for at in range(0, len(words), step):
            value = words[at + 1] | (words[at + 2] << 32 if width == 64 else 0)
            if found.flag and value >> (width - 1):
                value -= 1 << width
            values.append((self._btf.string(words[at]), value))
        return EnumType(size=found.value, signed=found.flag, name=found.name, values=tuple(values))

    def _struct(self, number: int, found: BtfType, depth: int) -> tuple[StructType, int]:
        members, parts = [], 1
        for each in self._btf.members(found):
            ctype = self._sized(each.type, depth + 1)
            bit_offset, bits = each.bit_offset, each.bits or self._old_bits(each.type)
            if bits == 0 and bit_offset % 8:
                raise ObjectError(f".BTF: member {each.name!r} of type {number} starts inside a byte")
            if bit_offset + (bits or ctype.size * 8) > found.value * 8:
                raise ObjectError(f".BTF: member {each.name!r} of type {number} reaches past its end")
            members.append(Member(name=each.name, type=ctype, bit_offset=bit_offset, bits=bits))
            parts += self._parts[each.type]
        union = found.kind is Kind.UNION
        return StructType(name=found.name, size=found.value, members=tuple(members), union=union), parts

    def _old_bits(self, number: int) -> int:
        """The width of a bit field in the old form, where the INT itself is narrower than its bytes."""
        base = self._btf.type(self._btf.resolve(number))
        if base.kind is not Kind.INT:
            return 0
        bits = base.words[0] & 0xFF
        return bits if bits < base.value * 8 else 0

    def _section(self, number: int, found: BtfType, depth: int) -> tuple[StructType, int]:
        shape = self._sections.get(found.name, SectionShape(found.value, {}))
        members, parts = [], 1
        for each in self._btf.variables(number):
            ctype = self._sized(each.type, depth + 1)
            offset = each.offset if each.static else shape.offsets.get(each.name, each.offset)
            if offset + ctype.size > shape.size:
                raise ObjectError(f".BTF: variable {each.name!r} reaches past the end of section {found.name!r}")
            members.append(Member(name=each.name, type=ctype, bit_offset=offset * 8))
            parts += self._parts[each.type]
        members.sort(key=lambda member: member.bit_offset)
        return StructType(name=found.name, size=shape.size, members=tuple(members)), parts


def _integer(number: int, found: BtfType) -> IntType:
    encoding = found.words[0] >> 24 & 0xF
    if found.value not in {1, 2, 4, 8, 16}:
        raise ObjectError(f".BTF: type {number}: an integer of {found.value} bytes")
    return IntType(
        size=found.value,
        signed=bool(encoding & _SIGNED),
        boolean=bool(encoding & _BOOL),
        char=bool(encoding & _CHAR) or found.name == "char",
        name=found.name,
    )


def _float(number: int, found: BtfType) -> FloatType:
    if found.value not in {2, 4, 8, 12, 16}:
        raise ObjectError(f".BTF: type {number}: a floating-point number of {found.value} bytes")
    return FloatType(found.value)
