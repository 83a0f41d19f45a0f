"""BTF, with bpftool's dump as oracle and hostile tables by hand."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ObjectError
from runtime.object import read_object
from runtime.object.btf import Btf, BtfType, Kind
from runtime.object.elf import read_elf
from runtime.object.sections import survey, takes_relocations
from runtime.object.typetable import BtfTypes
from runtime.spec import ArrayType, EnumType, FloatType, IntType, Member, PointerType, StructType
from tests.support.objects import EXAMPLES, Compile, answer

HEADER = 24
BY_REFERENCE = {Kind.PTR, Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG, Kind.DECL_TAG}


def section(types: bytes, strings: bytes = b"\0", *, magic: int = 0xEB9F, version: int = 1) -> bytes:
    """A .BTF section."""
    head = struct.pack("<HBBIIIII", magic, version, 0, HEADER, 0, len(types), len(types), len(strings))
    return head + types + strings


def entry(kind: Kind, value: int, *words: int, name: int = 0, count: int = 0, flag: int = 0) -> bytes:
    """A type as stored."""
    return struct.pack(f"<3I{len(words)}I", name, flag << 31 | kind << 24 | count, value, *words)


def table(types: bytes, strings: bytes = b"\0") -> BtfTypes:
    """The C types of a .BTF section."""
    return BtfTypes(Btf(section(types, strings)), {})


def layout_btf(data: bytes) -> Btf:
    """The BTF of an object."""
    found = survey(read_elf(data, relocated=takes_relocations)).btf
    assert found is not None
    return Btf(found)


def described(btf: Btf, number: int, ours: BtfType) -> dict[str, Any]:
    """A type in the words of `bpftool btf dump -j`, as far as both say the same thing in the same way."""
    row: dict[str, Any] = {"id": number, "kind": ours.kind.name, "name": ours.name or "(anon)"}
    match ours.kind:
        case Kind.INT | Kind.FLOAT:
            row["size"] = ours.value
        case Kind.STRUCT | Kind.UNION:
            row |= {"size": ours.value, "vlen": ours.count}
            row["members"] = [
                {"name": m.name or "(anon)", "type_id": m.type, "bits_offset": m.bit_offset}
                | ({"bitfield_size": m.bits} if m.bits else {})
                for m in btf.members(ours)
            ]
        case Kind.ARRAY:
            row |= {"type_id": ours.words[0], "index_type_id": ours.words[1], "nr_elems": ours.words[2]}
        case Kind.ENUM | Kind.ENUM64:
            row |= {"size": ours.value, "vlen": ours.count}
        case Kind.FUNC:
            row |= {"type_id": ours.value, "linkage": ("static", "global", "extern")[ours.count]}
        case Kind.FUNC_PROTO:
            row |= {"ret_type_id": ours.value, "vlen": ours.count}
        case Kind.VAR:
            row |= {"type_id": ours.value, "linkage": ("static", "global", "extern")[ours.words[0]]}
        case Kind.DATASEC:
            row |= {"size": ours.value, "vlen": ours.count}
        case kind if kind in BY_REFERENCE:
            row["type_id"] = ours.value
        case _:
            pass
    return row


def assert_same_types(data: bytes, path: Path) -> None:
    """Compare every type of an object with bpftool's view of the same file."""
    path.write_bytes(data)
    dumped = json.loads(answer("bpftool", "-j", "btf", "dump", "file", str(path)))["types"]
    btf = layout_btf(data)
    assert len(btf) == len(dumped) + 1
    for theirs in dumped:
        ours = described(btf, theirs["id"], btf.type(theirs["id"]))
        assert ours == {key: theirs[key] for key in ours if key in theirs}
        assert ours.keys() <= theirs.keys()


@pytest.mark.parametrize("name", ["linking.c", "mapdefs.c", "globals.c", "externs.c", "core.c"])
def test_types_are_those_that_bpftool_reads(compile_object: Compile, tmp_path: Path, name: str) -> None:
    """Every type of a fixture has the kind, name, size, members and references of `bpftool btf dump`."""
    assert_same_types(compile_object(name), tmp_path / "object.o")


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.o")))
def test_types_of_examples_are_those_that_bpftool_reads(tmp_path: Path, name: str) -> None:
    """The same for the committed examples."""
    assert_same_types((EXAMPLES / name).read_bytes(), tmp_path / "object.o")


def test_a_struct_is_read_with_all_that_c_can_put_into_it(compile_object: Compile) -> None:
    """Bit fields, enums, unnamed unions, char arrays, booleans, pointers and doubles come out with their places."""
    spec = read_object(compile_object("mapdefs.c"), name="mapdefs")
    assert spec.types is not None
    typed = next(m for m in spec.maps if m.name == "typed")
    key, value = spec.types.ctype(typed.btf_key), spec.types.ctype(typed.btf_value)
    assert key == IntType(size=4, signed=False, name="unsigned int", typedef="__be32")
    half = IntType(size=2, signed=False, name="unsigned short", typedef="__u16")
    byte = IntType(size=1, signed=False, name="unsigned char", typedef="__u8")
    color = EnumType(size=4, signed=True, name="color", values=(("RED", -1), ("GREEN", 0), ("BLUE", 7)))
    address = StructType(
        name="",
        size=4,
        union=True,
        members=(
            Member(name="v4", type=key, bit_offset=0),
            Member(name="bytes", type=ArrayType(element=byte, count=4), bit_offset=0),
        ),
    )
    letter = IntType(size=1, signed=True, char=True, name="char")
    assert value == StructType(
        name="deep",
        size=40,
        members=(
            Member(name="low", type=half, bit_offset=0, bits=3),
            Member(name="high", type=half, bit_offset=3, bits=13),
            Member(name="color", type=color, bit_offset=32),
            Member(name="", type=address, bit_offset=64),
            Member(name="name", type=ArrayType(element=letter, count=8), bit_offset=96),
            Member(name="flag", type=IntType(size=1, signed=False, boolean=True, name="_Bool"), bit_offset=160),
            Member(name="pointer", type=PointerType(), bit_offset=192),
            Member(name="ratio", type=FloatType(8), bit_offset=256),
        ),
    )


def test_global_data_is_a_struct_of_its_variables(compile_object: Compile) -> None:
    """The type of a data map has each variable at its offset in the section."""
    spec = read_object(compile_object("globals.c"), name="globals")
    assert spec.types is not None
    data = next(m for m in spec.maps if m.name == "globals.data")
    shape = spec.types.ctype(data.btf_value)
    assert isinstance(shape, StructType)
    assert shape.size == data.value_size == 8
    assert [(m.name, m.bit_offset) for m in shape.members] == [("plain", 0), ("hidden_plain", 32)]
    content = dict(data.initial)[bytes(4)]
    values = {m.name: content[m.bit_offset // 8] for m in shape.members}
    assert values == {"plain": 7, "hidden_plain": 9}


def test_ids_out_of_range_and_void_have_no_type() -> None:
    """An id that the table does not have, and void, give None."""
    types = table(entry(Kind.INT, 4, 32))
    assert types.ctype(0) is None
    assert types.ctype(2) is None
    assert types.ctype(-1) is None
    assert types.ctype(1) == IntType(size=4, signed=False)


def test_bit_fields_of_old_compilers_are_read() -> None:
    """An INT narrower than its bytes makes its member a bit field."""
    types = table(entry(Kind.INT, 4, 5) + entry(Kind.STRUCT, 4, 0, 1, 3, count=1))
    shape = types.ctype(2)
    assert isinstance(shape, StructType)
    assert (shape.members[0].bit_offset, shape.members[0].bits) == (3, 5)


@pytest.mark.parametrize(
    ("types", "number"),
    [
        pytest.param(entry(Kind.STRUCT, 4, 0, 1, 0, count=1), 1, id="a struct that contains itself"),
        pytest.param(entry(Kind.TYPEDEF, 1), 1, id="a typedef of itself"),
        pytest.param(entry(Kind.CONST, 2) + entry(Kind.VOLATILE, 1), 1, id="a ring of qualifiers"),
        pytest.param(entry(Kind.ARRAY, 0, 1, 0, 9), 1, id="an array of itself"),
        pytest.param(entry(Kind.INT, 3, 24), 1, id="an integer of three bytes"),
        pytest.param(entry(Kind.FLOAT, 7), 1, id="a float of seven bytes"),
        pytest.param(entry(Kind.ENUM, 3, 0, 0, count=1), 1, id="an enumeration of three bytes"),
        pytest.param(entry(Kind.TYPEDEF, 99), 1, id="a type that is not there"),
        pytest.param(entry(Kind.INT, 4, 32, name=5), 1, id="a name that is not there"),
        pytest.param(entry(Kind.INT, 8, 64) + entry(Kind.STRUCT, 4, 0, 1, 0, count=1), 2, id="a member past the end"),
        pytest.param(entry(Kind.INT, 1, 8) + entry(Kind.STRUCT, 4, 0, 1, 3, count=1), 2, id="a member inside a byte"),
        pytest.param(entry(Kind.INT, 1, 8) + entry(Kind.DATASEC, 4, 1, 0, 1, count=1), 2, id="a section of types"),
        pytest.param(
            entry(Kind.UNION, 0, *(0, 2, 0) * 64, count=64)
            + entry(Kind.UNION, 0, *(0, 3, 0) * 64, count=64)
            + entry(Kind.UNION, 0, *(0, 4, 0) * 64, count=64)
            + entry(Kind.UNION, 0, *(0, 5, 0) * 64, count=64)
            + entry(Kind.UNION, 0),
            1,
            id="members of members of members",
        ),
    ],
)
def test_a_type_that_cannot_be_is_refused(types: bytes, number: int) -> None:
    """Endless, oversized and contradictory types end in ObjectError when they are asked for."""
    with pytest.raises(ObjectError, match=r"\.BTF"):
        table(types).ctype(number)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(section(b"")[:20], id="a cut header"),
        pytest.param(section(b"", magic=0x9FEB), id="the other byte order"),
        pytest.param(section(b"", version=2), id="a version from the future"),
        pytest.param(section(entry(Kind.INT, 4)), id="an integer without its word"),
        pytest.param(section(b"\1\2\3"), id="a cut type"),
        pytest.param(section(struct.pack("<3I", 0, 30 << 24, 0)), id="a kind that does not exist"),
        pytest.param(section(entry(Kind.STRUCT, 4, count=65535)), id="members that are not there"),
        pytest.param(section(entry(Kind.INT, 4, 32))[:-1], id="strings past the end"),
        pytest.param(bytes(17 << 20), id="more than the kernel takes"),
    ],
)
def test_a_damaged_table_is_refused(data: bytes) -> None:
    """A .BTF section that does not hold together is an ObjectError."""
    with pytest.raises(ObjectError, match=r"\.BTF"):
        Btf(data)


def test_strings_that_overlap_absurdly_are_refused() -> None:
    """A table of strings cannot be made to yield many times its size."""
    length = 4096
    strings = b"a" * length + b"\0"
    types = b"".join(entry(Kind.PTR, 0, name=n) for n in range(length))
    btf = Btf(section(types, strings))
    with pytest.raises(ObjectError, match="overlap"):
        list(map(btf.type, range(1, length)))
