"""What an arena says of itself beyond its header: the whole name, and the types of its keys and values, as JSON.

Not here: the header (arena.py), and reading BTF (runtime.object). A description is only ever appended to the file, and a
word of the header says where the newest begins, so who reads it never sees half of one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never, final

from runtime.spec import (
    ArrayType,
    CType,
    EnumType,
    FloatType,
    IntType,
    MapSpec,
    Member,
    OpaqueType,
    PointerType,
    SpecialField,
    StructType,
    TypeTable,
)

__all__ = ["describe", "described"]

_KEY_ID: Final = 1
_VALUE_ID: Final = 2


@final
@dataclass(frozen=True, slots=True)
class _Described:
    """The types that a description holds: 1 is the key's, 2 the value's."""

    key: CType | None
    value: CType | None

    def ctype(self, type_id: int) -> CType | None:
        """The type of that number."""
        return {_KEY_ID: self.key, _VALUE_ID: self.value}.get(type_id)


def describe(spec: MapSpec, types: TypeTable | None) -> bytes:
    """The description of a map."""
    document: dict[str, Any] = {"name": spec.name}
    for name, number in (("key", spec.btf_key), ("value", spec.btf_value)):
        ctype = types.ctype(number) if types is not None and number else None
        if ctype is not None:
            document[name] = _packed(ctype)
    if spec.special:
        document["special"] = [[each.type, each.offset, each.size] for each in spec.special]
    return json.dumps(document, separators=(",", ":")).encode()


def described(spec: MapSpec, text: bytes) -> tuple[MapSpec, TypeTable | None]:
    """The map with what its description adds; as it is, without types, where there is none that makes sense."""
    try:
        document = json.loads(text)
        key, value = (_unpacked(document[name]) if name in document else None for name in ("key", "value"))
        special = tuple(SpecialField(*each) for each in document.get("special", ()))
        full = replace(
            spec,
            name=str(document["name"]),
            btf_key=_KEY_ID if key is not None else 0,
            btf_value=_VALUE_ID if value is not None else 0,
            special=special,
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return spec, None
    return full, _Described(key, value) if key is not None or value is not None else None


def _packed(ctype: CType) -> list[Any]:
    match ctype:
        case IntType():
            flags = ctype.signed | ctype.boolean << 1 | ctype.char << 2
            return ["int", ctype.size, flags, ctype.name, ctype.typedef]
        case FloatType():
            return ["float", ctype.size]
        case PointerType():
            return ["pointer", ctype.size]
        case EnumType():
            return ["enum", ctype.size, ctype.signed, ctype.name, [list(each) for each in ctype.values]]
        case ArrayType():
            return ["array", _packed(ctype.element), ctype.count]
        case StructType():
            members = [[each.name, _packed(each.type), each.bit_offset, each.bits] for each in ctype.members]
            return ["struct", ctype.name, ctype.size, ctype.union, members]
        case OpaqueType():
            return ["opaque", ctype.size, ctype.name]
        case _:
            assert_never(ctype)


def _unpacked(document: Any) -> CType:
    """Raises ValueError, TypeError, KeyError or IndexError for what `_packed` did not make."""
    match document:
        case ["int", int() as size, int() as flags, str() as name, str() as typedef]:
            return IntType(
                size=size,
                signed=bool(flags & 1),
                boolean=bool(flags & 2),
                char=bool(flags & 4),
                name=name,
                typedef=typedef,
            )
        case ["float", int() as size]:
            return FloatType(size)
        case ["pointer", int() as size]:
            return PointerType(size)
        case ["enum", int() as size, bool() as signed, str() as name, list() as values]:
            numbers = tuple((str(each), int(number)) for each, number in values)
            return EnumType(size=size, signed=signed, name=name, values=numbers)
        case ["array", element, int() as count]:
            return ArrayType(element=_unpacked(element), count=count)
        case ["struct", str() as name, int() as size, bool() as union, list() as members]:
            found = tuple(
                Member(name=str(each), type=_unpacked(ctype), bit_offset=int(offset), bits=int(bits))
                for each, ctype, offset, bits in members
            )
            return StructType(name=name, size=size, members=found, union=union)
        case ["opaque", int() as size, str() as name]:
            return OpaqueType(size, name)
        case _:
            raise ValueError(document)
