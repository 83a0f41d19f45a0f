"""Map definitions: what each form says, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.errors import InputError, ObjectError, UnsupportedError
from runtime.object import read_object
from runtime.spec import MapFlag, MapSpec
from tests.support.objects import EXAMPLES, Compile, tool


def maps_of(data: bytes, name: str = "object") -> dict[str, MapSpec]:
    """The maps of an object by name."""
    return {m.name: m for m in read_object(data, name=name).maps}


def shape(spec: MapSpec) -> tuple[int, int, int, int, int]:
    """Kind, sizes, entries and flags."""
    return spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags


def test_definitions_in_maps_are_read(compile_object: Compile) -> None:
    """Types or sizes, counts, flags, inner maps and initial values of .maps come out as written."""
    maps = maps_of(compile_object("mapdefs.c"))
    assert list(maps) == ["two", "one", "outer", "jumps", "sized", "typed"]
    assert shape(maps["typed"]) == (1, 4, 40, 100, MapFlag.NO_PREALLOC)
    assert shape(maps["sized"]) == (6, 4, 24, 3, 0)
    assert (maps["sized"].btf_key, maps["sized"].btf_value) == (0, 0)
    assert shape(maps["outer"]) == (12, 4, 4, 5, 0)
    inner = maps["outer"].inner
    assert inner is not None
    assert (inner.name, shape(inner)) == ("outer.inner", (2, 4, 8, 2, 0))
    assert maps["outer"].inner_maps == ((0, "two"), (3, "one"))
    assert shape(maps["jumps"]) == (3, 4, 4, 4, 0)
    assert maps["jumps"].programs == ((2, "jumped"),)


def test_global_data_becomes_maps(compile_object: Compile) -> None:
    """Each section of global data is an array of one element with libbpf's name, flags and content."""
    maps = maps_of(compile_object("globals.c"), "a_long_object_name")
    assert list(maps) == ["a_long_o.data", "a_long_o.rodata", ".data.apart", ".rodata.a_name_", "a_long_o.bss"]
    constants = maps["a_long_o.rodata"]
    assert shape(constants) == (2, 4, 9, 1, MapFlag.RDONLY_PROG | MapFlag.MMAPABLE)
    assert constants.frozen
    assert constants.initial == ((bytes(4), bytes([11, 0, 0, 0, 1, 2, 3, 4, 5])),)
    zeroed = maps["a_long_o.bss"]
    assert shape(zeroed) == (2, 4, 26, 1, MapFlag.MMAPABLE)
    assert zeroed.initial == ()
    assert not zeroed.frozen


def test_only_data_that_others_see_is_mappable(compile_object: Compile) -> None:
    """A section of nothing but static variables does not get the flag that lets user space map it."""
    assert maps_of(compile_object("quiet.c"), "quiet")["quiet.data"].flags == 0


@pytest.mark.parametrize("flags", [(), ("-DSHORT",), ("-DLONG=3",), ("-DLONG=4",)])
def test_legacy_definitions_of_every_length_are_read(compile_object: Compile, flags: tuple[str, ...]) -> None:
    """A struct bpf_map_def may lack its last field, or be longer when what follows is zero."""
    for debug in (True, False):
        maps = maps_of(compile_object("legacy.c", *flags, debug=debug))
        flag = 0 if flags == ("-DSHORT",) else MapFlag.NO_PREALLOC
        assert shape(maps["counters"]) == (1, 4, 8, 16, flag)
        assert shape(maps["table"]) == (2, 4, 2, 5, 0)


def test_legacy_definitions_can_have_types(compile_object: Compile) -> None:
    """The struct that BPF_ANNOTATE_KV_PAIR writes gives a legacy map its types."""
    spec = read_object(compile_object("legacy.c"), name="legacy")
    assert spec.types is not None
    counters = next(m for m in spec.maps if m.name == "counters")
    key, value = spec.types.ctype(counters.btf_key), spec.types.ctype(counters.btf_value)
    assert key is not None
    assert value is not None
    assert (key.size, value.size) == (4, 8)


def test_legacy_fields_that_are_not_known_are_refused(compile_object: Compile) -> None:
    """A longer definition with something in its unknown fields names the map."""
    with pytest.raises(UnsupportedError, match="'table'"):
        read_object(compile_object("legacy.c", "-DLONG=3", "-DSET=2"), name="legacy")


def test_the_longer_legacy_definition_of_iproute2_is_read(compile_object: Compile) -> None:
    """In its nine words, pinning and the id of an inner map are understood."""
    assert maps_of(compile_object("legacy.c", "-DLONG=4", "-DSET=1"))["table"].pinning == 1
    with pytest.raises(ObjectError, match="inner map"):
        read_object(compile_object("legacy.c", "-DLONG=4", "-DSET=2"), name="legacy")


def test_maps_without_type_information_say_what_to_do(compile_object: Compile) -> None:
    """Section .maps in an object without BTF asks for -g."""
    with pytest.raises(ObjectError, match="clang -g"):
        read_object(compile_object("mapdefs.c", debug=False), name="mapdefs")


DEFINITION = """
#define uint(name, value) int (*name)[value]
struct inner {{ uint(type, 2); uint(key_size, 4); uint(value_size, 8); uint(max_entries, 1); }};
struct {{ {body} }} map __attribute__((section(".maps"), used));
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("uint(max_entries, 1);", "no type"),
        ("uint(type, 1); uint(colour, 1);", "'colour'"),
        ("uint(type, 1); int key_size;", "'key_size'"),
        ("uint(type, 1); int *value_size;", "__uint"),
        ("uint(type, 1); int *key; uint(key_size, 8);", "contradicts"),
        ("uint(type, 1); void *key;", "no size"),
        ("uint(type, 1); uint(pinning, 7);", "pinning 7"),
        ("uint(type, 12); uint(key_size, 4); uint(value_size, 8); struct inner *values[];", "value_size"),
        ("uint(type, 1); struct inner *values[];", "neither maps nor programs"),
        ("uint(type, 12); struct inner *values[3];", "open array"),
        ("uint(type, 3); struct inner *values[];", "functions"),
        ("uint(type, 12); int *values[];", "not a struct"),
    ],
)
def test_a_contradictory_definition_is_refused(tmp_path: Path, body: str, message: str) -> None:
    """Each mistake in a definition is named, with the map."""
    source, target = tmp_path / "m.c", tmp_path / "m.o"
    source.write_text(DEFINITION.format(body=body))
    subprocess.run([tool("clang-19", "clang"), "-g", "-target", "bpf", "-c", source, "-o", target], check=True)
    with pytest.raises(InputError, match=message) as caught:
        read_object(target.read_bytes(), name="m")
    assert str(caught.value).startswith("map 'map")


def test_examples_hold_the_maps_that_their_readme_names() -> None:
    """The maps that documentation and demo use exist, with the types that make them readable."""
    spec = read_object((EXAMPLES / "dos_filter.o").read_bytes(), name="dos_filter")
    maps = {m.name: m for m in spec.maps}
    assert set(maps) == {"blocked", "sources", "dropped", "counters", "dos_filt.data"}
    assert spec.types is not None
    key = spec.types.ctype(maps["blocked"].btf_key)
    assert getattr(key, "typedef", "") == "__be32"
    assert maps["blocked"].value_size == 8
