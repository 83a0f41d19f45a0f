"""Objects built to exhaust their reader: long chains, overlapping sections, many names for one thing."""

from __future__ import annotations

import struct
import tracemalloc

import pytest

from runtime.errors import InputError, ObjectError
from runtime.object import read_object
from tests.fuzz.test_object_mutation import counted

NULL, PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 0, 1, 2, 3, 8, 9
ALLOC, EXECUTE = 2, 4
FUNC, GLOBAL, SECTION = 2, 1 << 4, 3
EXIT = b"\x95" + bytes(7)
MOVE = b"\xb7" + bytes(7)
CALL_NEXT = struct.pack("<BBhi", 0x85, 0x10, 0, 1)
STEPS_A_BYTE = 60


def elf(
    sections: list[tuple[str, int, int, bytes, int]], symbols: list[tuple[str, int, int, int, int]] | None = None
) -> bytes:
    """An object of sections (name, type, flags, content, info) and symbols (name, info, section, value, size).

    Sections are numbered from 1. One whose content is empty and whose type is not NOBITS lies over the one before it.
    """
    strings = bytearray(b"\0")
    places: dict[str, int] = {}

    def text(name: str) -> int:
        if name not in places:
            places[name] = len(strings)
            strings.extend(name.encode() + b"\0")
        return places[name]

    rows = [
        struct.pack("<IBBHQQ", text(n), info, 0, where, value, size) for n, info, where, value, size in symbols or []
    ]
    table = bytes(24) + b"".join(rows)
    body, headers, offset, size = bytearray(64), [bytes(64)], 64, 0
    for name, kind, flags, content, info in [*sections, (".symtab", SYMTAB, 0, table, 1)]:
        if content or kind == NOBITS:
            offset, size = len(body), len(content)
            body += b"" if kind == NOBITS else content
        link = len(sections) + 2 if kind == SYMTAB else len(sections) + 1
        entry = {SYMTAB: 24, REL: 16}.get(kind, 0)
        headers.append(struct.pack("<IIQQQQIIQQ", text(name), kind, flags, 0, offset, size, link, info, 8, entry))
    name_at = text(".strtab")
    headers.append(struct.pack("<IIQQQQIIQQ", name_at, STRTAB, 0, 0, len(body), len(strings), 0, 0, 1, 0))
    body += strings
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\2\1\1",
        1,
        247,
        1,
        0,
        0,
        len(body),
        0,
        64,
        0,
        0,
        64,
        len(headers),
        len(headers) - 1,
    )
    return bytes(body) + b"".join(headers)


def program(content: bytes) -> tuple[str, int, int, bytes, int]:
    """A section of code."""
    return "xdp", PROGBITS, ALLOC | EXECUTE, content, 0


def test_the_builder_makes_objects() -> None:
    """A plain object of the builder is read: what the other tests refuse is not refused by mistake."""
    spec = read_object(elf([program(MOVE + EXIT)], [("main", FUNC | GLOBAL, 1, 0, 16)]), name="x")
    assert [(p.name, len(p.code)) for p in spec.programs] == [("main", 2)]


def test_a_section_without_any_symbol_is_a_program() -> None:
    """Code in a stripped object is one program with the section's name."""
    spec = read_object(elf([program(MOVE + EXIT)]), name="x")
    assert [(p.name, len(p.code)) for p in spec.programs] == [("xdp", 2)]


def test_a_long_chain_of_calls_needs_no_stack() -> None:
    """Ten thousand functions that each call the next are linked one behind the other."""
    count = 10_000
    code = (CALL_NEXT + EXIT) * count + MOVE + EXIT
    names = [(f"f{i}", FUNC, 1, i * 16, 16) for i in range(count + 1)]
    relocation = struct.pack("<QQ", 0, (count + 2) << 32 | 10)
    data = elf(
        [
            (".text", PROGBITS, ALLOC | EXECUTE, code, 0),
            program(struct.pack("<BBhi", 0x85, 0x10, 0, -1) + EXIT),
            (".relxdp", REL, 0, relocation, 2),
        ],
        [*names, ("", SECTION, 1, 0, 0)],
    )
    with counted(STEPS_A_BYTE * len(data)):
        spec = read_object(data, name="x")
    assert len(spec.programs[0].subprograms) == count + 2


def test_many_programs_over_the_same_code_are_refused() -> None:
    """Symbols that each claim the whole section do not multiply it without end."""
    code = MOVE * 65_535 + EXIT
    symbols = [(f"p{i}", FUNC | GLOBAL, 1, 0, len(code)) for i in range(2_000)]
    data = elf([program(code)], symbols)
    with counted(400_000), pytest.raises(ObjectError, match="in all"):
        read_object(data, name="x")


@pytest.mark.parametrize("name", ["xdp", ".data"])
def test_sections_that_lie_over_each_other_are_refused(name: str) -> None:
    """A thousand sections over the same bytes are no thousand copies."""
    flags = ALLOC | (EXECUTE if name == "xdp" else 0)
    first = [(f"{name}.0", PROGBITS, flags, EXIT * 100_000, 0)]
    again = [(f"{name}.{i}", PROGBITS, flags, b"", 0) for i in range(1, 1000)]
    with counted(2_000_000), pytest.raises(ObjectError, match="sections of"):
        read_object(elf(first + again), name="x")


def test_names_that_lie_over_each_other_are_refused() -> None:
    """Symbols whose names are the tails of one long string cost no more than the file."""
    data = bytearray(elf([program(EXIT)], [("n" * 30_000, FUNC, 1, 0, 8)] * 3_000))
    table = data.index(bytes(24) + struct.pack("<I", 1)) + 24
    for index in range(3_000):
        struct.pack_into("<I", data, table + index * 24, 1 + index)
    with pytest.raises(ObjectError, match="overlap"):
        read_object(bytes(data), name="x")


def test_too_many_symbols_are_refused_before_they_are_read() -> None:
    """The size of the symbol table is judged first."""
    data = elf([program(EXIT)], [("s", FUNC, 1, 0, 8)] * 140_000)
    with counted(20_000), pytest.raises(ObjectError, match="more than the"):
        read_object(data, name="x")


def test_huge_zeroed_data_costs_nothing_to_read() -> None:
    """A section of zeroes is a number, not memory; beyond what a map can hold it is refused."""
    tracemalloc.start()
    data = bytearray(elf([program(EXIT), (".bss", NOBITS, ALLOC, b"", 0)]))
    (headers,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<Q", data, headers + 2 * 64 + 32, 1 << 30)
    assert read_object(bytes(data), name="x").maps[0].value_size == 1 << 30
    struct.pack_into("<Q", data, headers + 2 * 64 + 32, 1 << 31)
    with pytest.raises(InputError, match="global data"):
        read_object(bytes(data), name="x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
