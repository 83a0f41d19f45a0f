"""Damaged objects: whatever the bytes, reading ends in an object or in an InputError, after bounded work.

Work is counted in calls, not in time: every call of a Python or built-in function is one step.
"""

from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.errors import InputError
from runtime.object import read_object
from runtime.spec import ArrayType, CType, ObjectSpec, StructType
from tests.support.objects import EXAMPLES

STEPS = 100_000
STEPS_A_BYTE = 60
MEMORY = 8 << 20

INTERESTING = (
    0,
    1,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63),
    (1 << 64) - 1,
)
HEADER = 64
SECTION_HEADER = 64
fuzzing = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def corpus() -> tuple[bytes, ...]:
    """The committed examples: every kind of section, relocation and type that they use."""
    return tuple(path.read_bytes() for path in sorted(EXAMPLES.glob("*.o")))


@contextmanager
def counted(limit: int) -> Iterator[None]:
    """Fail as soon as more calls are made than `limit`."""
    steps = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal steps
        if event in {"call", "c_call"}:
            steps += 1
            assert steps <= limit, "far more work than the size of the file justifies"

    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(None)


def visit(ctype: CType | None, depth: int = 0) -> None:
    """Look at every part of a type, as reading a map value does."""
    assert depth < 100
    match ctype:
        case StructType(members=members):
            for member in members:
                visit(member.type, depth + 1)
        case ArrayType(element=element):
            visit(element, depth + 1)
        case _:
            pass


def use(spec: ObjectSpec) -> None:
    """Do what callers do with an object: follow indices, look up lines, build the types of maps."""
    for program in spec.programs:
        assert program.subprograms[0].start == 0
        assert [s.start for s in program.subprograms] == sorted({s.start for s in program.subprograms})
        assert all(s.start < len(program.code) for s in program.subprograms)
        assert all(0 <= line.pc < len(program.code) for line in program.lines)
        for instruction in program.code:
            index = getattr(instruction, "map", None)
            assert index is None or 0 <= index < len(spec.maps)
    names = {m.name for m in spec.maps}
    assert len(names) == len(spec.maps)
    for spec_map in spec.maps:
        assert all(
            len(key) == spec_map.key_size and len(value) == spec_map.value_size for key, value in spec_map.initial
        )
        assert all(name in {p.name for p in spec.programs} for _, name in spec_map.programs)
        assert all(name in names for _, name in spec_map.inner_maps)
        for number in (spec_map.btf_key, spec_map.btf_value):
            if spec.types is not None:
                visit(spec.types.ctype(number))


def survives(data: bytes) -> None:
    """Reading `data`, and using what comes out, raises nothing but InputError and stays within its budget."""
    read_object(corpus()[0], name="warm")
    message = ""
    with counted(STEPS + STEPS_A_BYTE * len(data)):
        try:
            use(read_object(data, name="fuzz"))
        except InputError as error:
            message = str(error)
    assert "\n" not in message


def section_fields(data: bytes) -> list[tuple[int, str]]:
    """Where the fields of the file's header and of its section headers are, with their shapes."""
    (table,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    fields = [(16, "<H"), (18, "<H"), (40, "<Q"), (58, "<H"), (60, "<H"), (62, "<H")]
    for index in range(count):
        start = table + index * SECTION_HEADER
        fields += [(start + at, "<I") for at in (0, 4, 40, 44)] + [(start + at, "<Q") for at in (8, 24, 32, 56)]
    return fields


@given(data=st.data())
@fuzzing
def test_flipped_bits(data: st.DataObject) -> None:
    """Bits that flip anywhere in an object lead to another object or to an InputError."""
    changed = bytearray(data.draw(st.sampled_from(corpus())))
    for bit in data.draw(st.lists(st.integers(0, len(changed) * 8 - 1), min_size=1, max_size=12)):
        changed[bit // 8] ^= 1 << bit % 8
    survives(bytes(changed))


@given(data=st.data())
@fuzzing
def test_cut_files(data: st.DataObject) -> None:
    """An object that ends early is no object, or says which part is missing."""
    whole = data.draw(st.sampled_from(corpus()))
    survives(whole[: data.draw(st.integers(0, len(whole)))])


@given(data=st.data())
@fuzzing
def test_section_headers_that_lie(data: st.DataObject) -> None:
    """Sizes, offsets, counts, types and links of any value do no harm."""
    changed = bytearray(data.draw(st.sampled_from(corpus())))
    for at, shape in data.draw(st.lists(st.sampled_from(section_fields(changed)), min_size=1, max_size=4)):
        width = struct.calcsize(shape) * 8
        value = data.draw(st.one_of(st.sampled_from(INTERESTING), st.integers(0, len(changed)))) & (1 << width) - 1
        struct.pack_into(shape, changed, at, value)
    survives(bytes(changed))


def section_places(data: bytes, *names: bytes) -> list[int]:
    """The bytes of the file in 4-byte steps that lie in the sections of those names."""
    (table,) = struct.unpack_from("<Q", data, 40)
    count, strings = struct.unpack_from("<HH", data, 60)
    (base,) = struct.unpack_from("<Q", data, table + strings * SECTION_HEADER + 24)
    places: list[int] = []
    for index in range(count):
        start = table + index * SECTION_HEADER
        name_at = base + struct.unpack_from("<I", data, start)[0]
        name = data[name_at : data.index(b"\0", name_at)]
        offset, size = struct.unpack_from("<QQ", data, start + 24)
        places += range(offset, offset + size - 3, 4) if name in names else ()
    return places


def overwrite(draw: Callable[..., int], names: tuple[bytes, ...], base: bytes) -> bytes:
    """The object with some words of the named sections replaced."""
    changed = bytearray(base)
    places = section_places(base, *names)
    for _ in range(draw(st.integers(1, 6)) if places else 0):
        value = draw(st.one_of(st.sampled_from(INTERESTING), st.integers(0, 300))) & 0xFFFFFFFF
        struct.pack_into("<I", changed, draw(st.sampled_from(places)), value)
    return bytes(changed)


@given(data=st.data())
@fuzzing
def test_types_that_lie(data: st.DataObject) -> None:
    """Words of .BTF and .BTF.ext of any value do no harm."""
    survives(overwrite(data.draw, (b".BTF", b".BTF.ext"), data.draw(st.sampled_from(corpus()))))


@given(data=st.data())
@fuzzing
def test_symbols_and_relocations_that_lie(data: st.DataObject) -> None:
    """Words of the symbol table, of relocations and of map definitions of any value do no harm."""
    names = (b".symtab", b".relxdp", b".rel.maps", b".maps")
    survives(overwrite(data.draw, names, data.draw(st.sampled_from(corpus()))))


@given(data=st.data())
@fuzzing
def test_instructions_that_lie(data: st.DataObject) -> None:
    """Words of the code of any value are decoded or refused."""
    survives(overwrite(data.draw, (b"xdp", b".text"), data.draw(st.sampled_from(corpus()))))


@given(data=st.data())
@settings(fuzzing, max_examples=60)
def test_memory_stays_in_proportion(data: st.DataObject) -> None:
    """Sizes that lie do not make the reader allocate what they promise."""
    changed = bytearray(data.draw(st.sampled_from(corpus())))
    for at, shape in data.draw(st.lists(st.sampled_from(section_fields(changed)), min_size=1, max_size=3)):
        struct.pack_into(shape, changed, at, (1 << struct.calcsize(shape) * 8 - 1) - 1)
    read_object(corpus()[0], name="warm")
    tracemalloc.start()
    try:
        use(read_object(bytes(changed), name="fuzz"))
    except InputError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEMORY
