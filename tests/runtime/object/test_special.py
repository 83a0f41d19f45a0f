"""Members of map values that only helpers may touch: where BTF says that they are."""

from __future__ import annotations

import struct

import pytest

from runtime.errors import ObjectError
from runtime.object import read_object
from runtime.object.btf import Btf
from runtime.object.special import special_fields
from runtime.spec import MapSpec, SpecialField
from tests.support.objects import Compile

_VALUE = (
    SpecialField("bpf_spin_lock", 4, 4),
    SpecialField("bpf_timer", 16, 16),
    SpecialField("bpf_timer", 40, 16),
    SpecialField("kptr", 56, 8),
)
_INT, _ARRAY, _STRUCT = 1 << 24, 3 << 24, 4 << 24


@pytest.fixture(scope="session")
def maps(compile_object: Compile) -> dict[str, MapSpec]:
    """The maps of special.c by name."""
    return {each.name: each for each in read_object(compile_object("special.c"), name="special").maps}


def test_members_are_found_wherever_they_are_nested(maps: dict[str, MapSpec]) -> None:
    """Structs, arrays of structs and tagged pointers count; plain pointers and numbers do not."""
    assert maps["values"].special == _VALUE
    assert maps["plain"].special == ()


def test_maps_inside_maps_have_them_too(maps: dict[str, MapSpec]) -> None:
    """The template of a map of maps says what the values inside have."""
    inner = maps["outer"].inner
    assert maps["outer"].special == ()
    assert inner is not None
    assert inner.special == _VALUE


def test_global_variables_are_where_the_linker_puts_them(maps: dict[str, MapSpec]) -> None:
    """A lock behind a long begins at byte 8."""
    assert maps[".data.locked"].special == (SpecialField("bpf_spin_lock", 8, 4),)


def _btf(*types: bytes, strings: bytes = b"\0bpf_spin_lock\0") -> Btf:
    body = b"".join(types)
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings))
    return Btf(head + body + strings)


def test_a_struct_inside_itself_has_an_end() -> None:
    """BTF that no compiler makes does not keep the reader busy."""
    itself = struct.pack("<IIIIII", 0, _STRUCT | 1, 8, 0, 1, 0)
    assert special_fields(_btf(itself), 1) == ()


def test_too_many_members_are_refused() -> None:
    """An array of 65 locks is more than anybody means."""
    lock = struct.pack("<III", 1, _STRUCT, 4)
    many = struct.pack("<IIIIII", 0, _ARRAY, 0, 1, 1, 65)
    with pytest.raises(ObjectError, match="more than 64 members"):
        special_fields(_btf(lock, many), 2)
