"""BTF, the compact type format of BPF objects: its type table, indexed once and decoded on demand.

Not here: types as the rest of the runtime sees them (typetable.py) and what belongs to instructions (btf_ext.py).
The format is that of the kernel's Documentation/bpf/btf.rst; the limits are the kernel's.

    header: magic u16 · version u8 · flags u8 · header length u32 · (offset, length) of types · of strings
    type:   name u32 · flag 1 bit, kind 5 bits, count 16 bits · size or type u32 · words that the kind asks for
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

from runtime.errors import ObjectError
from runtime.object.strings import StringTable

__all__ = ["MODIFIERS", "Btf", "BtfMember", "BtfType", "BtfVariable", "Kind", "header"]

_MAGIC: Final = 0xEB9F
_MAX_SIZE: Final = 16 << 20
_MAX_DEPTH: Final = 32
_HEAD: Final = struct.Struct("<HBBI")
_TYPE: Final = struct.Struct("<III")
_POINTER_SIZE: Final = 8


class Kind(IntEnum):
    """The kinds of types."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


MODIFIERS: Final = frozenset({Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})

# Words behind the head of a type: fixed, and for each of its `count` parts.
_WORDS: Final[dict[int, tuple[int, int]]] = {
    Kind.INT: (1, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),
    Kind.STRUCT: (0, 3),
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 2),
    Kind.VAR: (1, 0),
    Kind.DATASEC: (0, 3),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BtfType:
    """A type as stored: `value` is its size or the id that it refers to, `count` its parts (a FUNC's linkage)."""

    kind: Kind
    name: str
    value: int
    flag: bool
    count: int
    words: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BtfMember:
    """A member of a struct or union; `bits` is 0 unless the flag of the struct says that it is a bit field."""

    name: str
    type: int
    bit_offset: int
    bits: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BtfVariable:
    """A variable of a section; `type` is the id of the VAR. clang leaves the offsets of global ones to the linker: 0."""

    name: str
    type: int
    offset: int
    size: int
    static: bool


@final
class Btf:
    """The types of one object by id, from 1; id 0 is void."""

    __slots__ = ("_cache", "_sections", "_strings", "_types", "_where")

    def __init__(self, data: bytes) -> None:
        """Index the types of a .BTF section; raises ObjectError."""
        if len(data) > _MAX_SIZE:
            raise ObjectError(f".BTF: {len(data)} bytes, more than the kernel's limit of {_MAX_SIZE}")
        length = header(data, ".BTF", 24)
        type_offset, type_length, string_offset, string_length = struct.unpack_from("<4I", data, 8)
        self._types = _part(data, length + type_offset, type_length, "types")
        self._strings = StringTable(_part(data, length + string_offset, string_length, "strings"), what=".BTF strings")
        self._where = array("I", [0])
        self._cache: dict[int, BtfType] = {0: BtfType(kind=Kind.VOID, name="", value=0, flag=False, count=0, words=())}
        self._index()

    def _index(self) -> None:
        types, end, at = self._types, len(self._types), 0
        sections: list[int] = []
        while at < end:
            if at + 12 > end:
                raise ObjectError(f".BTF: type {len(self._where)} is cut")
            kind, count = types[at + 7] & 0x1F, types[at + 4] | types[at + 5] << 8
            words = _WORDS.get(kind)
            if words is None:
                raise ObjectError(f".BTF: type {len(self._where)} is of kind {kind}, which does not exist")
            if kind == Kind.DATASEC:
                sections.append(len(self._where))
            self._where.append(at)
            at += 12 + 4 * (words[0] + words[1] * count)
        if at > end:
            raise ObjectError(f".BTF: type {len(self._where) - 1} reaches past the end of the types")
        self._sections = {self.type(number).name: number for number in sections}

    def __len__(self) -> int:
        """The number of ids, void included."""
        return len(self._where)

    def string(self, offset: int) -> str:
        """The string at that offset of the string table; raises ObjectError."""
        return self._strings.at(offset)

    def type(self, number: int) -> BtfType:
        """The type with that id; raises ObjectError for ids out of range."""
        found = self._cache.get(number)
        if found is None:
            found = self._cache[number] = self._decode(number)
        return found

    def _decode(self, number: int) -> BtfType:
        if not 0 < number < len(self._where):
            raise ObjectError(f".BTF: no type with id {number}; there are {len(self._where) - 1}")
        at = self._where[number]
        name, info, value = _TYPE.unpack_from(self._types, at)
        kind, count = Kind(info >> 24 & 0x1F), info & 0xFFFF
        fixed, each = _WORDS[kind]
        words = struct.unpack_from(f"<{fixed + each * count}I", self._types, at + 12)
        return BtfType(kind=kind, name=self.string(name), value=value, flag=bool(info >> 31), count=count, words=words)

    def resolve(self, number: int, *, through: frozenset[Kind] = MODIFIERS | {Kind.TYPEDEF}) -> int:
        """The id behind qualifiers and typedefs; raises ObjectError for chains without end."""
        for _ in range(_MAX_DEPTH):
            found = self.type(number)
            if found.kind not in through:
                return number
            number = found.value
        raise ObjectError(f".BTF: type {number} stands behind more than {_MAX_DEPTH} qualifiers and typedefs")

    def members(self, struct_type: BtfType) -> Iterator[BtfMember]:
        """The members of a struct or union."""
        words = struct_type.words
        for at in range(0, len(words), 3):
            name, number, offset = words[at : at + 3]
            bits = offset >> 24 if struct_type.flag else 0
            offset = offset & 0xFFFFFF if struct_type.flag else offset
            yield BtfMember(name=self.string(name), type=number, bit_offset=offset, bits=bits)

    def size(self, number: int) -> int:
        """The width of a type in bytes; raises ObjectError for types that have none."""
        count = 1
        for _ in range(_MAX_DEPTH):
            found = self.type(self.resolve(number))
            match found.kind:
                case Kind.INT | Kind.STRUCT | Kind.UNION | Kind.ENUM | Kind.ENUM64 | Kind.FLOAT | Kind.DATASEC:
                    return found.value * count
                case Kind.PTR:
                    return _POINTER_SIZE * count
                case Kind.ARRAY:
                    number, count = found.words[0], count * found.words[2]
                case Kind.VAR:
                    number = found.value
                case _:
                    raise ObjectError(f".BTF: type {number} ({found.kind.name} {found.name!r}) has no size")
        raise ObjectError(f".BTF: type {number} is nested more than {_MAX_DEPTH} deep")

    def section(self, name: str) -> int:
        """The id of the type that describes the section of that name (DATASEC), or 0."""
        return self._sections.get(name, 0)

    def declared(self, section: str) -> frozenset[str]:
        """The names of the variables and functions that the types place in a section."""
        words = self.type(self.section(section)).words
        return frozenset(self.type(words[at]).name for at in range(0, len(words), 3))

    def variables(self, section: int) -> Iterator[BtfVariable]:
        """The variables of a section; raises ObjectError for what is no variable."""
        words = self.type(section).words
        for at in range(0, len(words), 3):
            number, offset, size = words[at : at + 3]
            found = self.type(number)
            if found.kind is Kind.FUNC:
                continue
            if found.kind is not Kind.VAR:
                raise ObjectError(f".BTF: section {self.type(section).name!r} holds type {number}, not a variable")
            static = found.words[0] == 0
            yield BtfVariable(name=found.name, type=number, offset=offset, size=size, static=static)


def header(data: bytes, what: str, minimum: int) -> int:
    """Check the common head of .BTF and .BTF.ext and return the length of the header; raises ObjectError."""
    if len(data) < minimum:
        raise ObjectError(f"{what}: {len(data)} bytes, which is less than its header")
    length: int
    magic, version, _flags, length = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise ObjectError(f"{what}: magic number {magic:#06x}, not {_MAGIC:#06x}")
    if version != 1 or not minimum <= length <= len(data):
        raise ObjectError(f"{what}: version {version} with a header of {length} bytes is not known")
    return length


def _part(data: bytes, start: int, length: int, what: str) -> bytes:
    if start + length > len(data):
        raise ObjectError(f".BTF: the {what} reach past the end of the section")
    return data[start : start + length]
