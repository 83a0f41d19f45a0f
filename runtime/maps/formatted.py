"""Values as bpftool prints them in JSON ("formatted") from BTF.

Not here: the Python values of the mapping face (values.py). The rules are bpftool's, quirks included: enumerations by
name where one matches, bit fields and 128-bit integers as hexadecimal text, a char array as text only when it is
printable and terminated, pointers as numbers, unnamed members under "". Floating-point numbers, which bpftool
cannot print, are numbers here.
"""

from __future__ import annotations

from typing import Any, Final, assert_never

from runtime.maps.values import decode
from runtime.spec import ArrayType, CType, EnumType, FloatType, IntType, OpaqueType, PointerType, StructType

__all__ = ["formatted", "formatted_section", "is_section"]

_WORD: Final = 8
_PRINTABLE: Final = range(0x20, 0x7F)


def formatted(ctype: CType, data: bytes, *, plain: bool = False) -> Any:
    """The JSON of `ctype.size` bytes; `plain` as bpftool writes it where JSON was not asked for: pointers as text."""
    match ctype:
        case IntType():
            return _int(ctype, data)
        case EnumType():
            return _enum(ctype, data)
        case FloatType():
            value = decode(ctype, data)
            return value if isinstance(value, float) else None
        case PointerType():
            address = int.from_bytes(data, "little")
            return (f"{address:#x}" if address else "(nil)") if plain else address
        case ArrayType():
            return _array(ctype, data, plain=plain)
        case StructType():
            return {member.name: _member(ctype, at, data, plain=plain) for at, member in enumerate(ctype.members)}
        case OpaqueType():
            return None
        case _:
            assert_never(ctype)


def is_section(ctype: CType) -> bool:
    """Whether the type is a section of global data (".data", ".bss", …)."""
    return isinstance(ctype, StructType) and ctype.name.startswith(".")


def formatted_section(ctype: CType, data: bytes, *, plain: bool = False) -> Any:
    """The JSON of a section of global data: each variable an object of its own."""
    assert isinstance(ctype, StructType)
    variables = [{member.name: _member(ctype, at, data, plain=plain)} for at, member in enumerate(ctype.members)]
    return {ctype.name: variables}


def _int(ctype: IntType, data: bytes) -> Any:
    if ctype.size > _WORD:
        return f"{int.from_bytes(data, 'little'):#x}"
    if ctype.boolean:
        return any(data)
    return int.from_bytes(data, "little", signed=ctype.signed)


def _enum(ctype: EnumType, data: bytes) -> Any:
    value = int.from_bytes(data, "little", signed=True)
    mask = (1 << 8 * ctype.size) - 1
    for name, number in ctype.values:
        if number & mask == value & mask:
            return name
    return value


def _array(ctype: ArrayType, data: bytes, *, plain: bool) -> Any:
    element = ctype.element
    if isinstance(element, IntType) and element.char and not element.typedef:
        text, end, _ = data.partition(b"\0")
        if end and all(each in _PRINTABLE for each in text):
            return text.decode("ascii")
    step = element.size
    return [formatted(element, data[i * step : (i + 1) * step], plain=plain) for i in range(ctype.count)]


def _member(ctype: StructType, at: int, data: bytes, *, plain: bool) -> Any:
    member = ctype.members[at]
    if member.bits:
        word = int.from_bytes(data, "little") >> member.bit_offset
        return f"{word & ((1 << member.bits) - 1):#x}"
    start = member.bit_offset // 8
    return formatted(member.type, data[start : start + member.type.size], plain=plain)
