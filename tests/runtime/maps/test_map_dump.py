"""The JSON of maps: what bpftool prints, and everything that can be loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from runtime.errors import InputError, MapError
from runtime.maps import Map, create, dump, fill
from runtime.maps.formatted import formatted
from runtime.spec import ArrayType, CType, Member, StructType
from tests.support.ctypes_table import (
    BE32,
    BOOL,
    CHAR,
    COLOR,
    DOUBLE,
    POINTER,
    S32,
    U8,
    U16,
    U32,
    U64,
    U128,
    Types,
    struct,
)
from tests.support.maps import KINDS, Make, spec_of


@contextmanager
def _typed(name: str, key: CType, value: CType, max_entries: int = 8) -> Iterator[Map]:
    spec = replace(spec_of(name, key.size, value.size, max_entries), btf_key=1, btf_value=2)
    with create(spec, KINDS[name], cpus=2, types=Types(key, value), compiled=False) as each:
        yield each


@pytest.mark.parametrize(
    ("ctype", "data", "shown"),
    [
        (U32, "01000000", 1),
        (S32, "ffffffff", -1),
        (BE32, "0a000001", 0x0100000A),
        (U128, "ff" * 16, "0x" + "f" * 32),
        (BOOL, "02", True),
        (COLOR, "feffffff", "BLUE"),
        (COLOR, "07000000", 7),
        (POINTER, "0100000000000080", 0x8000000000000001),
        (DOUBLE, "000000000000f83f", 1.5),
        (ArrayType(element=CHAR, count=4), "68690000", "hi"),
        (ArrayType(element=CHAR, count=2), "6869", [0x68, 0x69]),
        (ArrayType(element=CHAR, count=3), "680100", [0x68, 1, 0]),
        (ArrayType(element=U8, count=2), "6800", [0x68, 0]),
        (ArrayType(element=replace(CHAR, typedef="text"), count=2), "6800", [0x68, 0]),
        (struct("s", ("a", U16), ("", struct("", ("b", U8)))), "010002", {"a": 1, "": {"b": 2}}),
        (
            StructType(name="f", size=1, members=(Member(name="b", type=S32, bit_offset=4, bits=4),)),
            "f0",
            {"b": "0xf"},
        ),
    ],
)
def test_a_value_is_formatted_as_bpftool_does(ctype: CType, data: str, shown: Any) -> None:
    """Each type has bpftool's JSON."""
    assert formatted(ctype, bytes.fromhex(data)) == shown


def test_a_dump_without_types(make: Make) -> None:
    """Bytes are text of two lower-case digits; per-CPU values stand under "values"."""
    each = make("hash", 2, 3)
    each.update(b"\x0a\xff", b"\0\1\2")
    assert dump(each) == [{"key": ["0x0a", "0xff"], "value": ["0x00", "0x01", "0x02"]}]
    per_cpu = make("percpu_hash", 1, 2)
    per_cpu.update(b"k", bytes([1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0]))
    values = [{"cpu": 0, "value": ["0x01", "0x02"]}, {"cpu": 1, "value": ["0x03", "0x04"]}]
    assert dump(per_cpu) == [{"key": ["0x6b"], "values": values}]


def test_a_dump_with_types() -> None:
    """With BTF, "formatted" shows key and value, or values, as numbers and objects."""
    with _typed("hash", U32, struct("v", ("a", U16), ("b", U16))) as each:
        each[5] = {"a": 1, "b": 2}
        assert dump(each)[0]["formatted"] == {"key": 5, "value": {"a": 1, "b": 2}}
    with _typed("percpu_array", U32, U64, 1) as each:
        each[0] = [1, 2]
        shown = {"key": 0, "values": [{"cpu": 0, "value": 1}, {"cpu": 1, "value": 2}]}
        assert dump(each)[0]["formatted"] == shown


def test_global_data_is_formatted_by_variable() -> None:
    """A section's value is a list of objects of one variable each, without a key."""
    spec = replace(spec_of("array", 4, 8, 1), btf_value=2)
    section = struct(".data", ("a", U32), ("b", U32))
    with create(spec, KINDS["array"], cpus=1, types=Types(U32, section), compiled=False) as each:
        each[0] = {"a": 1, "b": 2}
        assert dump(each)[0]["formatted"] == {"value": {".data": [{"a": 1}, {"b": 2}]}}


@pytest.mark.parametrize("name", ["hash", "percpu_hash", "array", "percpu_array", "lru_hash", "lpm_trie"])
def test_what_was_dumped_can_be_loaded(make: Make, name: str) -> None:
    """A dump, through JSON's text, fills another map with the same elements."""
    first, second = make(name, 8 if name == "lpm_trie" else 4, 5), make(name, 8 if name == "lpm_trie" else 4, 5)
    for number in range(9):
        key = number.to_bytes(4, "little") + (b"\x0a\0\0\0" if name == "lpm_trie" else b"")
        first.update(
            key,
            bytes([number] * 5 + [0] * (first.value_stride // 2 - 5)) * 2
            if first.kind.per_cpu
            else bytes([number] * 5),
        )
    fill(second, json.loads(json.dumps(dump(first))))
    assert dict(second.items()) == dict(first.items())


def test_typed_entries_can_be_loaded() -> None:
    """Entries may say numbers, objects, addresses as text, and lists of bytes, mixed."""
    with _typed("hash", BE32, struct("v", ("a", U16), ("b", U16))) as each:
        fill(
            each,
            [
                {"key": "10.0.0.1", "value": {"a": 1}},
                {"key": ["0x0a", "0x00", "0x00", "0x02"], "value": ["0x01", "0x00", "0x02", "0x00"]},
                {"key": 0x0A000003, "value": {"b": "0x10"}, "formatted": "ignored"},
            ],
        )
        assert {str(key): dict(value) for key, value in each.typed.items()} == {
            "10.0.0.1": {"a": 1, "b": 0},
            "10.0.0.2": {"a": 1, "b": 2},
            "10.0.0.3": {"a": 0, "b": 16},
        }
    with _typed("percpu_hash", U32, U32) as each:
        values = [{"cpu": 1, "value": 4}, {"cpu": 0, "value": ["0x03", "0x00", "0x00", "0x00"]}]
        fill(each, [{"key": 1, "values": values}, {"key": 2, "value": [5, 6]}, {"key": 3, "value": 7}])
        assert dict(each.typed.items()) == {1: [3, 4], 2: [5, 6], 3: [7, 7]}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("text", 'entry 0: expected {"key"'),
        ({"value": 1}, 'entry 0: expected {"key"'),
        ({"key": 1}, 'there is no "value"'),
        ({"key": 1, "values": []}, "per-CPU"),
        ({"key": "x", "value": 1}, "key: 'x' is no number"),
        ({"key": ["0x01"], "value": 1}, "key"),
        ({"key": 1, "value": {"a": 1}}, "value: {'a': 1} is no number"),
    ],
)
def test_bad_entries_are_named(entry: Any, words: str) -> None:
    """An entry that cannot be stored is an InputError with its place in the list."""
    with _typed("hash", U32, U32) as each, pytest.raises(InputError) as failed:
        fill(each, [entry])
    assert words in str(failed.value)


def test_bad_per_cpu_entries_are_named() -> None:
    """A list of values must have exactly one for each CPU."""
    with _typed("percpu_hash", U32, U32) as each:
        for values in ([], [{"cpu": 0, "value": 1}], [{"cpu": 0}], 5, [{"cpu": 0, "value": 1}, {"cpu": 7, "value": 1}]):
            with pytest.raises(InputError):
                fill(each, [{"key": 1, "values": values}])


def test_too_many_entries_are_a_map_error() -> None:
    """When the map is full, the error names the element, and those before it are stored."""
    with _typed("hash", U32, U32, 2) as each:
        with pytest.raises(MapError) as failed:
            fill(each, [{"key": number, "value": 1} for number in range(4)])
        assert "element 2" in str(failed.value)
        assert len(each) == 2


def test_a_large_file_goes_in_whole(make: Make) -> None:
    """65,536 entries are loaded through one native call, and dumped again."""
    each = make("hash", 4, 8, 65_536, compiled=True)
    entries = [
        {"key": [f"0x{byte:02x}" for byte in number.to_bytes(4, "little")], "value": ["0x00"] * 8}
        for number in range(65_536)
    ]
    fill(each, entries)
    assert len(each) == 65_536
    assert sorted(dump(each), key=lambda entry: entry["key"][::-1]) == entries
