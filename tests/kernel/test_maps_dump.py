"""Dumps of maps side by side with bpftool's, and bpftool's loaded into ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.maps import create, dump, fill, possible_cpus
from runtime.object import read_object
from runtime.spec import ObjectSpec
from tests.support.maps import KINDS
from tests.support.objects import answer, bpftool, compiled, loaded, tool

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]

SOURCE = Path(__file__).parent / "fixtures" / "map_types.c"
KIND_BY_ID = {kind.id: kind for kind in KINDS.values()}


def _bytes(data: bytes) -> list[str]:
    return [str(byte) for byte in data]


def _fill_the_kernels(number: int, shape: dict[str, Any]) -> None:
    """Two elements in a map of the kernel: one of text and small numbers, one of noise."""
    key_size, value_size = shape["bytes_key"], shape["bytes_value"]
    values = [b"A\0" * value_size, bytes((i * 37 + 3) % 256 for i in range(value_size))]
    for at, value in enumerate(values):
        key = bytes([at, 0, 0, 0]) + bytes(range(1, key_size - 3))
        answer("bpftool", "map", "update", "id", str(number), "key", *_bytes(key), "value", *_bytes(value[:value_size]))


def _is(found: str, name: str) -> bool:
    """Whether a map's name, which may begin with the object's and be cut, is that one."""
    return found.endswith(name) if name.startswith(".") else found == name[:15]


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[ObjectSpec, dict[str, list[Any]]]]:
    """The object as we read it, and what bpftool says each of its maps holds in the kernel, by name."""
    data = compiled(tool("clang", "clang-19"), str(SOURCE), ("-g",))
    dumps = {}
    with loaded(data, "map_types") as kernel:
        for number, shape in kernel.maps.items():
            if shape["type"] != "array":
                _fill_the_kernels(number, shape)
            dumps[shape["name"]] = bpftool("map", "dump", "id", str(number))
        yield read_object(data, name="map_types"), dumps


@pytest.mark.parametrize(
    "name", ["hash", "percpu_array", "trie", "untyped", "untyped_percpu", "percpu_hash", ".data", ".rodata", ".bss"]
)
def test_a_map_is_dumped_as_bpftool_does(sides: tuple[ObjectSpec, dict[str, list[Any]]], name: str) -> None:
    """What bpftool dumped fills our map, whose dump is then the same, BTF and all; global data is the same at once."""
    types, dumps = sides
    theirs = next(entries for found, entries in dumps.items() if _is(found, name))
    spec = next(each for each in types.maps if _is(each.name, name))
    with create(spec, KIND_BY_ID[spec.kind], cpus=possible_cpus(), types=types.types) as ours:
        if not name.startswith("."):
            fill(ours, theirs)

        def order(entry: dict[str, Any]) -> list[str]:
            return list(entry["key"])

        assert len(theirs) > 0
        assert sorted(dump(ours), key=order) == sorted(theirs, key=order)
