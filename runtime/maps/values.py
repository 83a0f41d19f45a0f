"""Bytes of maps as Python values and back, as BTF describes them.

Not here: which type a map's keys and values have (typed.py), and the JSON of bpftool (formatted.py).

| type                          | read as                     | also written from                        |
| integers                      | int                         | bool, text ("12", "0x0c")                |
| bool                          | bool                        | int                                      |
| __be16, __be64                | int, byte order undone      | the same as integers                     |
| __be32, struct in_addr        | IPv4Address                 | text, int                                |
| struct in6_addr               | IPv6Address                 | text                                     |
| other 4- and 16-byte types    | as their type says          | an address or its text, stored big-endian|
| enumerations                  | int                         | the name of a value                      |
| char arrays                   | str up to the first NUL     | bytes                                    |
| other arrays of bytes         | bytes                       | lists of int, addresses                  |
| arrays                        | tuple                       | any sequence; shorter ones end in zeroes |
| structs, unions               | StructValue                 | mappings; members left out are zero      |
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, assert_never

from runtime.errors import InputError
from runtime.maps.addresses import address_bytes
from runtime.maps.view import StructValue
from runtime.spec import ArrayType, CType, EnumType, FloatType, IntType, Member, OpaqueType, PointerType, StructType

__all__ = ["decode", "encode"]

_BIG: Final = {"__be16", "__be32", "__be64"}
_ADDRESSES: Final = {4, 16}
_FLOATS: Final = {2: "<e", 4: "<f", 8: "<d"}
_IN_ADDR: Final = ("in_addr", 4)
_IN6_ADDR: Final = ("in6_addr", 16)


def decode(ctype: CType, data: bytes) -> Any:
    """The value of `ctype.size` bytes."""
    match ctype:
        case IntType():
            return _decode_int(ctype, data)
        case EnumType():
            return int.from_bytes(data, "little", signed=ctype.signed)
        case FloatType():
            return struct.unpack(_FLOATS[ctype.size], data)[0] if ctype.size in _FLOATS else data
        case PointerType():
            return int.from_bytes(data, "little")
        case ArrayType():
            return _decode_array(ctype, data)
        case StructType():
            return _decode_struct(ctype, data)
        case OpaqueType():
            return data
        case _:
            assert_never(ctype)


def encode(ctype: CType, value: Any, what: str = "value") -> bytes:
    """The `ctype.size` bytes of a value; raises InputError that names `what` is wrong."""
    if isinstance(value, bytes | bytearray | memoryview) and len(value) == ctype.size:
        return bytes(value)
    if ctype.size in _ADDRESSES:
        packed = address_bytes(value, ctype.size)
        if packed is not None:
            return packed
    match ctype:
        case IntType():
            return _encode_int(ctype, value, what)
        case EnumType():
            return _encode_enum(ctype, value, what)
        case FloatType():
            return _encode_float(ctype, value, what)
        case PointerType():
            return _word(_number(value, what), ctype.size, "little", what)
        case ArrayType():
            return _encode_array(ctype, value, what)
        case StructType():
            return _encode_struct(ctype, value, what)
        case OpaqueType():
            raise InputError(f"{what}: {value!r} is not {ctype.size} bytes")
        case _:
            assert_never(ctype)


def _decode_int(ctype: IntType, data: bytes) -> Any:
    if ctype.boolean:
        return any(data)
    if ctype.typedef not in _BIG:
        return int.from_bytes(data, "little", signed=ctype.signed)
    return IPv4Address(data) if ctype.size == 4 else int.from_bytes(data, "big")


def _decode_array(ctype: ArrayType, data: bytes) -> Any:
    element = ctype.element
    if isinstance(element, IntType) and element.size == 1 and not element.boolean:
        if element.char:
            return data.split(b"\0", 1)[0].decode(errors="surrogateescape")
        return data
    step = element.size
    return tuple(decode(element, data[i * step : (i + 1) * step]) for i in range(ctype.count))


def _decode_struct(ctype: StructType, data: bytes) -> Any:
    if (ctype.name, ctype.size) == _IN_ADDR:
        return IPv4Address(data)
    if (ctype.name, ctype.size) == _IN6_ADDR:
        return IPv6Address(data)
    members: dict[str, Any] = {}
    for member in ctype.members:
        if member.bits:
            value: Any = _bits(member.type, int.from_bytes(data, "little") >> member.bit_offset, member.bits)
        else:
            start = member.bit_offset // 8
            value = decode(member.type, data[start : start + member.type.size])
        if member.name:
            members[member.name] = value
        elif isinstance(value, StructValue):
            members.update(value)
    return StructValue(ctype, members)


def _bits(ctype: CType, word: int, bits: int) -> int:
    value = word & ((1 << bits) - 1)
    if isinstance(ctype, IntType | EnumType) and ctype.signed and value >> (bits - 1):
        value -= 1 << bits
    return value


def _encode_int(ctype: IntType, value: Any, what: str) -> bytes:
    return _word(_number(value, what), ctype.size, "big" if ctype.typedef in _BIG else "little", what)


def _encode_enum(ctype: EnumType, value: Any, what: str) -> bytes:
    if isinstance(value, str):
        named = dict(ctype.values).get(value)
        if named is not None:
            value = named
    return _word(_number(value, what), ctype.size, "little", what)


def _encode_float(ctype: FloatType, value: Any, what: str) -> bytes:
    try:
        return struct.pack(_FLOATS[ctype.size], value)
    except (struct.error, KeyError, OverflowError) as error:
        raise InputError(f"{what}: {value!r} is no floating-point number of {ctype.size} bytes") from error


def _encode_array(ctype: ArrayType, value: Any, what: str) -> bytes:
    if isinstance(value, str):
        value = value.encode(errors="surrogateescape")
    if isinstance(value, bytes | bytearray) and ctype.element.size == 1:
        if len(value) > ctype.size:
            raise InputError(f"{what}: {len(value)} bytes do not fit in {ctype.size}")
        return bytes(value).ljust(ctype.size, b"\0")
    if not isinstance(value, Sequence):
        raise InputError(f"{what}: {value!r} is no array of {ctype.count}")
    if len(value) > ctype.count:
        raise InputError(f"{what}: {len(value)} elements do not fit in {ctype.count}")
    parts = [encode(ctype.element, each, f"{what}[{i}]") for i, each in enumerate(value)]
    return b"".join(parts).ljust(ctype.size, b"\0")


def _encode_struct(ctype: StructType, value: Any, what: str) -> bytes:
    if not isinstance(value, Mapping):
        raise InputError(f"{what}: {value!r} is no {'union' if ctype.union else 'struct'} {ctype.name}")
    wanted = dict(value)
    word, _ = _fill_struct(ctype, wanted, what)
    if wanted:
        raise InputError(f"{what}: struct {ctype.name} has no member {', '.join(map(str, wanted))}")
    return word.to_bytes(ctype.size, "little")


def _fill_struct(ctype: StructType, wanted: dict[Any, Any], what: str) -> tuple[int, int]:
    """The struct as one little-endian number, and the bits that were given; what was found leaves `wanted`."""
    word = given = 0
    for member in ctype.members:
        if member.name in wanted and member.name:
            part = f"{what}.{member.name}"
            bits = member.bits or 8 * member.type.size
            number, mask = _member(member, wanted.pop(member.name), part), (1 << bits) - 1
        elif not member.name and isinstance(member.type, StructType):
            part = what
            number, mask = _fill_struct(member.type, wanted, what)
        else:
            continue
        number, mask = number << member.bit_offset, mask << member.bit_offset
        if (word ^ number) & given & mask:
            raise InputError(f"{part}: contradicts another member of the union; give one of them")
        word, given = word | number, given | mask
    return word, given


def _member(member: Member, value: Any, what: str) -> int:
    if not member.bits:
        return int.from_bytes(encode(member.type, value, what), "little")
    number = _number(value, what)
    if not -(1 << (member.bits - 1)) <= number < 1 << member.bits:
        raise InputError(f"{what}: {value!r} does not fit in {member.bits} bits")
    return number & ((1 << member.bits) - 1)


def _number(value: Any, what: str) -> int:
    if isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError as error:
            raise InputError(f"{what}: {value!r} is no number") from error
    if isinstance(value, int):
        return int(value)
    raise InputError(f"{what}: {value!r} is no number")


def _word(number: int, size: int, order: Any, what: str) -> bytes:
    if not -(1 << (8 * size - 1)) <= number < 1 << (8 * size):
        raise InputError(f"{what}: {number} does not fit in {size} bytes")
    return (number & ((1 << (8 * size)) - 1)).to_bytes(size, order)
