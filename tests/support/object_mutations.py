"""Objects that were changed in one place or a few: bytes, headers, types, line info, symbols, relocations, map definitions, instructions.

Not here: what becomes of them.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, final

from runtime.errors import DecodeError
from runtime.isa import decode

__all__ = ["MUTATIONS", "mutated"]

_WORDS: Final = (0, 1, 2, 3, 4, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER: Final = 64
_SLOT: Final = 8
_RELOCATION: Final = 16
_SYMBOL: Final = 24
_NOBITS: Final = 8
_TRIES: Final = 30
_EXECUTABLE: Final = 4
_OPCODES: Final = tuple(
    sorted(
        {kind | op << 4 | source for kind in (4, 5, 6, 7) for op in range(16) for source in (0, 8)}
        | {kind | size << 3 | mode << 5 for kind in range(4) for size in range(4) for mode in (0, 1, 2, 3, 4, 6)}
    )
)


@final
@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    type: int
    flags: int
    header: int
    offset: int
    size: int


@cache
def _sections(data: bytes) -> tuple[_Section, ...]:
    """The sections of an object that is whole."""
    (table,) = struct.unpack_from("<Q", data, 40)
    count, strings = struct.unpack_from("<HH", data, 60)
    (base,) = struct.unpack_from("<Q", data, table + strings * _HEADER + 24)
    found = []
    for index in range(count):
        start = table + index * _HEADER
        name, kind, flags, _, offset, size = struct.unpack_from("<IIQQQQ", data, start)
        end = data.index(b"\0", base + name)
        found.append(_Section(data[base + name : end].decode(), kind, flags, start, offset, size))
    return tuple(found)


def _bytes_of(data: bytes, wanted: Callable[[_Section], bool], step: int) -> list[int]:
    """Where the records of those sections begin."""
    found = [each for each in _sections(data) if each.type != _NOBITS and wanted(each)]
    return [at for each in found for at in range(each.offset, each.offset + each.size - step + 1, step)]


def _word(draw: random.Random, old: int, width: int) -> int:
    """Another number: a neighbour, a remarkable one, one bit less or more, or any."""
    bits = width * 8
    choices = (
        old + draw.choice((-1, 1, -2, 2, 8, -8)),
        draw.choice(_WORDS),
        old ^ 1 << draw.randrange(bits),
        draw.getrandbits(bits),
        draw.randrange(64),
    )
    return draw.choice(choices) & (1 << bits) - 1


def _overwrite(changed: bytearray, draw: random.Random, places: list[int], width: int) -> None:
    for _ in range(draw.randint(1, 3)):
        at = draw.choice(places)
        old = int.from_bytes(changed[at : at + width], "little")
        changed[at : at + width] = _word(draw, old, width).to_bytes(width, "little")


def _named(*names: str, step: int = 4) -> Callable[[bytes, random.Random], bytes]:
    """Words of sections whose names begin so."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        changed = bytearray(data)
        places = _bytes_of(data, lambda each: each.name.startswith(names), step)
        if places:
            _overwrite(changed, draw, places, step)
        return bytes(changed)

    return mutate


def _flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(changed) * 8)
        changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def _cut(data: bytes, draw: random.Random) -> bytes:
    """Too short, or a piece in the middle that is missing or there twice."""
    a, b = sorted(draw.sample(range(len(data)), 2))
    return draw.choice((data[:a], data[:a] + data[b:], data[:b] + data[a:]))


def _headers(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    places = [at for each in _sections(data) for at in range(each.header, each.header + _HEADER, 4)]
    _overwrite(changed, draw, [*places, *range(16, _HEADER - 3, 2)], 4)
    return bytes(changed)


def _code_places(data: bytes) -> list[int]:
    return _bytes_of(data, lambda each: bool(each.flags & _EXECUTABLE), _SLOT)


def _field(changed: bytearray, at: int, draw: random.Random) -> None:
    """Another value for one field of the slot at that byte."""
    match draw.randrange(5):
        case 0:
            changed[at] = draw.choice(_OPCODES)
        case 1:
            changed[at + 1] = draw.randrange(11) | draw.randrange(11) << 4
        case 2:
            (old,) = struct.unpack_from("<H", changed, at + 2)
            struct.pack_into("<H", changed, at + 2, _word(draw, old, 2))
        case 3:
            (old,) = struct.unpack_from("<I", changed, at + 4)
            struct.pack_into("<I", changed, at + 4, _word(draw, old, 4))
        case _:
            changed[at] ^= 1 << draw.randrange(8)


def _fields(data: bytes, draw: random.Random) -> bytes:
    """Fields of instructions, whatever comes of it."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        _field(changed, draw.choice(_code_places(data)), draw)
    return bytes(changed)


def _instructions(data: bytes, draw: random.Random) -> bytes:
    """Instructions that are instructions again, so that what follows is the verifier's affair."""
    changed = bytearray(data)
    places = [at for at in _code_places(data) if _is_instruction(changed[at : at + _SLOT])]
    for _ in range(draw.randint(1, 3)):
        at = draw.choice(places)
        whole = bytes(changed[at : at + _SLOT])
        for _ in range(_TRIES):
            _field(changed, at, draw)
            if _is_instruction(changed[at : at + _SLOT]):
                break
            changed[at : at + _SLOT] = whole
    return bytes(changed)


def _is_instruction(slot: bytes) -> bool:
    try:
        decode(bytes(slot))
    except DecodeError:
        return False
    return True


def _shuffled(data: bytes, draw: random.Random) -> bytes:
    """Instructions in each other's places, or over each other."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        a, b = draw.choice(_code_places(data)), draw.choice(_code_places(data))
        old = bytes(changed[a : a + _SLOT])
        changed[a : a + _SLOT] = changed[b : b + _SLOT]
        if draw.randrange(2):
            changed[b : b + _SLOT] = old
    return bytes(changed)


def _records(step: int, *names: str) -> Callable[[bytes, random.Random], bytes]:
    """Records of a table (symbols, relocations) in each other's places, or with words changed."""

    def mutate(data: bytes, draw: random.Random) -> bytes:
        changed = bytearray(data)
        places = _bytes_of(data, lambda each: each.name.startswith(names), step)
        if not places:
            return _flipped(data, draw)
        for _ in range(draw.randint(1, 3)):
            a, b = draw.choice(places), draw.choice(places)
            if draw.randrange(3):
                _overwrite(changed, draw, list(range(a, a + step - 3, 4)), 4)
            else:
                changed[a : a + step] = changed[b : b + step]
        return bytes(changed)

    return mutate


def _btf_header(data: bytes, draw: random.Random) -> bytes:
    """The first words of .BTF and .BTF.ext: magic, offsets, lengths, sizes of records."""
    changed = bytearray(data)
    starts = [each.offset for each in _sections(data) if each.name in (".BTF", ".BTF.ext")]
    if starts:
        _overwrite(changed, draw, [at + 4 * word for at in starts for word in range(9)], 4)
    return bytes(changed)


MUTATIONS: Final[Mapping[str, Callable[[bytes, random.Random], bytes]]] = {
    "bits": _flipped,
    "cut": _cut,
    "headers": _headers,
    "btf": _named(".BTF"),
    "btf header": _btf_header,
    "line info": _named(".BTF.ext"),
    "relocations": _records(_RELOCATION, ".rel"),
    "symbols": _records(_SYMBOL, ".symtab"),
    "strings": _named(".strtab", ".shstrtab", step=1),
    "maps": _named(".maps", "maps"),
    "data": _named(".data", ".rodata", "license", step=1),
    "fields": _fields,
    "instructions": _instructions,
    "instructions again": _instructions,
    "shuffled": _shuffled,
}
"""How objects are changed, by name."""


def mutated(corpus: tuple[bytes, ...], seeds: range) -> Iterator[tuple[int, str, bytes]]:
    """(seed, name of the mutation, object) for each seed; the same for the same seed."""
    names = tuple(MUTATIONS)
    for seed in seeds:
        draw = random.Random(seed)
        name = names[seed % len(names)]
        yield seed, name, MUTATIONS[name](draw.choice(corpus), draw)
