"""Python values of keys and values: every type read and written, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InputError, MapError
from runtime.maps import Map, StructValue, create
from runtime.maps.values import decode, encode
from runtime.spec import ArrayType, CType, Member, OpaqueType, StructType
from tests.support.ctypes_table import (
    BE16,
    BE32,
    BOOL,
    CHAR,
    COLOR,
    DOUBLE,
    IN6,
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
from tests.support.maps import KINDS, spec_of

POINT = struct("point", ("x", S32), ("y", S32))
EITHER = struct("either", ("number", U32), ("half", U16), union=True)
FLOW = struct("flow", ("packets", U64), ("", EITHER), ("point", POINT), ("name", ArrayType(element=CHAR, count=8)))
BITS = StructType(
    name="bits",
    size=4,
    members=(
        Member(name="low", type=U32, bit_offset=0, bits=3),
        Member(name="signed", type=S32, bit_offset=3, bits=5),
        Member(name="rest", type=U16, bit_offset=16),
    ),
)


@pytest.mark.parametrize(
    ("ctype", "value", "data"),
    [
        (U32, 1, "01000000"),
        (S32, -2, "feffffff"),
        (U128, 1 << 127, "00" * 15 + "80"),
        (BOOL, True, "01"),
        (BE16, 443, "01bb"),
        (BE32, IPv4Address("10.0.0.1"), "0a000001"),
        (IN6, IPv6Address("2001:db8::1"), "20010db8000000000000000000000001"),
        (POINTER, 0x1234, "3412000000000000"),
        (COLOR, -2, "feffffff"),
        (DOUBLE, 1.5, "000000000000f83f"),
        (ArrayType(element=U8, count=3), b"\x01\x02\x03", "010203"),
        (ArrayType(element=CHAR, count=4), "hi", "68690000"),
        (ArrayType(element=U16, count=2), (1, 2), "01000200"),
        (OpaqueType(2), b"ab", "6162"),
        (POINT, {"x": 1, "y": -1}, "01000000ffffffff"),
        (BITS, {"low": 5, "signed": -1, "rest": 7}, "fd000700"),
    ],
)
def test_a_value_is_read_as_it_was_written(ctype: CType, value: Any, data: str) -> None:
    """Each type has one reading, and its reading can be written back."""
    raw = bytes.fromhex(data)
    assert decode(ctype, raw) == value
    assert encode(ctype, value) == raw
    assert encode(ctype, raw) == raw


@pytest.mark.parametrize(
    ("ctype", "value", "data"),
    [
        (U32, "0x10", "10000000"),
        (U32, IPv4Address("10.0.0.1"), "0a000001"),
        (U32, "10.0.0.1", "0a000001"),
        (U32, -1, "ffffffff"),
        (BE32, 0x0A000001, "0a000001"),
        (ArrayType(element=U8, count=4), "10.0.0.1", "0a000001"),
        (ArrayType(element=U8, count=16), "::1", "00" * 15 + "01"),
        (ArrayType(element=U8, count=4), [1, 2], "01020000"),
        (ArrayType(element=CHAR, count=4), b"ab", "61620000"),
        (COLOR, "BLUE", "feffffff"),
        (POINT, {"y": 1}, "0000000001000000"),
        (FLOW, {"packets": 2, "half": 3, "name": "x"}, "0200000000000000" + "03000000" + "00" * 8 + "78" + "00" * 7),
    ],
)
def test_values_may_be_written_in_other_ways(ctype: CType, value: Any, data: str) -> None:
    """Text, addresses, names of enumerators, bytes, short arrays and partial structs are taken too."""
    assert encode(ctype, value).hex() == data


@pytest.mark.parametrize(
    ("ctype", "value", "words"),
    [
        (U8, 256, "256 does not fit in 1 bytes"),
        (S32, "x", "is no number"),
        (U64, 1.5, "is no number"),
        (U64, None, "is no number"),
        (POINT, 5, "is no struct point"),
        (POINT, {"z": 1}, "has no member z"),
        (POINT, {"x": 1 << 40}, "value.x: 1099511627776 does not fit"),
        (ArrayType(element=U16, count=1), [1, 2], "2 elements do not fit in 1"),
        (ArrayType(element=CHAR, count=1), "ab", "2 bytes do not fit in 1"),
        (ArrayType(element=U16, count=2), 7, "is no array of 2"),
        (BITS, {"low": 8}, "does not fit in 3 bits"),
        (EITHER, {"number": 1, "half": 2}, "contradicts another member of the union"),
        (DOUBLE, "x", "is no floating-point number"),
        (OpaqueType(2), b"abc", "is not 2 bytes"),
    ],
)
def test_values_that_do_not_fit(ctype: CType, value: Any, words: str) -> None:
    """What cannot be stored is an InputError that names the place and the value."""
    with pytest.raises(InputError) as failed:
        encode(ctype, value)
    assert words in str(failed.value)


@given(number=st.integers(-(1 << 31), (1 << 31) - 1), low=st.integers(0, 7), signed=st.integers(-16, 15))
def test_numbers_survive_the_way_there_and_back(number: int, low: int, signed: int) -> None:
    """Any number that fits comes back as it went in, in bit fields too."""
    assert decode(S32, encode(S32, number)) == number
    value = {"low": low, "signed": signed, "rest": number & 0xFFFF}
    assert decode(BITS, encode(BITS, value)) == value


def test_a_struct_is_a_frozen_copy() -> None:
    """Members are attributes and items, unnamed unions included; changing makes another value."""
    value = decode(FLOW, encode(FLOW, {"packets": 2, "half": 3, "point": {"x": 1}, "name": "eth0"}))
    assert isinstance(value, StructValue)
    assert (value.packets, value.number, value.half, value.point.x, value["name"]) == (2, 3, 3, 1, "eth0")
    assert value == dict(value)
    assert repr(value.point) == "point(x=1, y=0)"
    with pytest.raises(AttributeError):
        value.packets = 5
    with pytest.raises(AttributeError):
        _ = value.nothing
    with pytest.raises(AttributeError):
        value.replace(nothing=1)
    changed = value.replace(packets=9, half=1)
    assert (changed.packets, changed.point, value.packets) == (9, value.point, 2)
    assert decode(FLOW, encode(FLOW, changed)).number == 1
    assert len({value, value.replace(packets=2)}) == 1


@contextmanager
def _typed(name: str, key: CType, value: CType, max_entries: int = 8) -> Iterator[Map]:
    spec = replace(spec_of(name, key.size, value.size, max_entries), btf_key=1, btf_value=2)
    with create(spec, KINDS[name], cpus=2, types=Types(key, value), compiled=False) as each:
        yield each


def test_a_map_is_a_mapping() -> None:
    """Subscripts, membership, iteration, length, deletion, and the rest of MutableMapping on `typed`."""
    with _typed("hash", BE32, U64) as blocked:
        blocked[IPv4Address("10.0.0.1")] = 1
        blocked["10.0.0.2"] = 2
        assert blocked["10.0.0.1"] == 1
        assert "10.0.0.3" not in blocked
        assert "nonsense" not in blocked
        assert sorted(blocked) == [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")]
        assert dict(blocked.typed) == {IPv4Address("10.0.0.1"): 1, IPv4Address("10.0.0.2"): 2}
        blocked.typed.update({"10.0.0.4": 4})
        assert blocked.typed.pop("10.0.0.4") == 4
        assert blocked.typed.get("10.0.0.9") is None
        del blocked["10.0.0.1"]
        with pytest.raises(KeyError):
            del blocked["10.0.0.1"]
        with pytest.raises(KeyError):
            _ = blocked["10.0.0.1"]
        with pytest.raises(InputError):
            blocked["10.0.0.1"] = "many"
        blocked.typed.clear()
        assert len(blocked) == 0
        assert blocked  # a map is there even when it is empty
        for number in range(8):
            blocked[number] = 0
        with pytest.raises(MapError):
            blocked[8] = 0


def test_values_of_a_per_cpu_map_are_lists() -> None:
    """A per-CPU value reads as one value for each CPU; a single value is stored on all."""
    with _typed("percpu_hash", U32, POINT) as each:
        each[1] = [{"x": 1}, {"x": 2}]
        assert [value.x for value in each[1]] == [1, 2]
        each[1] = {"y": 7}
        assert [value.y for value in each[1]] == [7, 7]
        with pytest.raises(InputError):
            each[1] = [{"x": 1}]


@pytest.mark.parametrize("with_types", [False, True])
def test_keys_of_tries_are_networks(with_types: bool) -> None:
    """Prefixes go in as networks, addresses, text or (bits, data), and come out as networks."""
    key = struct("key", ("prefixlen", U32), ("data", ArrayType(element=U8, count=4)))
    spec = replace(spec_of("lpm_trie", 8, 8, 8), btf_key=1 if with_types else 0)
    with create(spec, KINDS["lpm_trie"], cpus=1, types=Types(key, U64), compiled=False) as each:
        each["10.0.0.0/8"] = 1
        each[IPv4Network("10.1.0.0/16")] = 2
        each[24, "10.1.1.0"] = 3
        each["10.1.1.7"] = 4
        assert sorted(each) == [IPv4Network(n) for n in ("10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "10.1.1.7/32")]
        assert int.from_bytes(each["10.1.1.9"], "little") == 3
        assert int.from_bytes(each["10.2.0.0/16"], "little") == 1
        for wrong in ("nonsense", "::/0", 5, (33, b"1234"), (8, b"123")):
            with pytest.raises(InputError):
                each[wrong] = 0
    with create(spec_of("lpm_trie", 20, 4, 8), KINDS["lpm_trie"], cpus=1, compiled=False) as each:
        each["2001:db8::/32"] = 1
        assert list(each) == [IPv6Network("2001:db8::/32")]
    with create(spec_of("lpm_trie", 7, 4, 8), KINDS["lpm_trie"], cpus=1, compiled=False) as each:
        each[16, b"abc"] = 1
        assert list(each) == [(16, b"abc")]


def test_without_types_bytes_come_out() -> None:
    """Without BTF keys and values are bytes; ints and addresses are still taken."""
    with create(spec_of("hash", 4, 2, 8), KINDS["hash"], cpus=1, compiled=False) as each:
        each["10.0.0.1"] = 1
        each[1] = "0x0203"
        each[b"abcd"] = b"ab"
        assert dict(each.typed) == {b"\n\0\0\x01": b"\1\0", b"\1\0\0\0": b"\3\2", b"abcd": b"ab"}
        for wrong in (b"abc", "text", 1 << 40, None):
            with pytest.raises(InputError):
                each[wrong] = 0


def test_a_type_of_another_size_is_not_believed() -> None:
    """BTF that does not fit the map's sizes is set aside: bytes come out."""
    spec = replace(spec_of("hash", 4, 2, 8), btf_key=1, btf_value=2)
    with create(spec, KINDS["hash"], cpus=1, types=Types(U64, U64), compiled=False) as each:
        each[1] = 1
        assert dict(each.typed) == {b"\1\0\0\0": b"\1\0"}
