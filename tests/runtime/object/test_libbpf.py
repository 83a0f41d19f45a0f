"""libbpf and the kernel as oracle: the same object gives the same instructions, maps, functions and lines."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from runtime.isa import LoadMap, LoadMapValue, encode
from runtime.object import read_object
from runtime.spec import MapFlag, MapSpec, ObjectSpec, ProgramSpec
from tests.support.objects import EXAMPLES, Compile, Loaded, answer, bpftool, loaded

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's bpf(2)"),
]

LDDW = 0x18
MAP_REFERENCES = (1, 2)
FIXTURES = ("linking.c", "mapdefs.c", "globals.c", "quiet.c")
COMMITTED = sorted(path.name for path in EXAMPLES.glob("*.o"))
KINDS = {1: "hash", 2: "array", 3: "prog_array", 6: "percpu_array", 9: "lru_hash", 11: "lpm_trie", 12: "array_of_maps"}


def tag(program: ProgramSpec) -> str:
    """The kernel's tag: 8 bytes of SHA-256 over the instructions as loaded, with map references zeroed."""
    code = bytearray(encode(program.code))
    at = 0
    while at < len(code):
        wide = code[at] == LDDW
        if wide and code[at + 1] >> 4 in MAP_REFERENCES:
            code[at + 4 : at + 8] = code[at + 12 : at + 16] = bytes(4)
        at += 16 if wide else 8
    return hashlib.sha256(code).digest()[:8].hex()


def used_maps(program: ProgramSpec, spec: ObjectSpec) -> list[str]:
    """The kernel's names of the maps that a program refers to, in order of the first reference."""
    indices = (i.map for i in program.code if isinstance(i, LoadMap | LoadMapValue))
    return [spec.maps[index].name[:15] for index in dict.fromkeys(indices)]


def assert_same_map(ours: MapSpec, theirs: dict[str, object]) -> None:
    """Compare a definition with a map of the kernel."""
    flags = ours.flags
    if ours.name == "quiet.data":  # libbpf before 1.1 lets user space map static variables too
        flags |= int(theirs["flags"]) & MapFlag.MMAPABLE
    assert (KINDS[ours.kind], ours.key_size, ours.value_size, ours.max_entries, flags, int(ours.frozen)) == (
        theirs["type"],
        theirs["bytes_key"],
        theirs["bytes_value"],
        theirs["max_entries"],
        theirs["flags"],
        theirs["frozen"],
    )


def assert_same(spec: ObjectSpec, kernel: Loaded) -> None:
    """Compare an object with what libbpf made of it."""
    assert {p.name[:15] for p in spec.programs} == set(kernel.programs)
    by_name = {m.name[:15]: m for m in spec.maps}
    for program in spec.programs:
        shown = kernel.programs[program.name[:15]]
        assert tag(program) == shown["tag"], program.name
        assert used_maps(program, spec) == [kernel.maps[number]["name"] for number in shown.get("map_ids", ())]
    for shown in kernel.maps.values():
        assert_same_map(by_name[shown["name"]], shown)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_is_linked_as_libbpf_links_it(compile_object: Compile, name: str) -> None:
    """Instructions (by tag), maps in order of use, sizes and flags are those that the kernel received from libbpf."""
    stem, data = name.removesuffix(".c"), compile_object(name)
    with loaded(data, stem) as kernel:
        assert_same(read_object(data, name=stem), kernel)


@pytest.mark.parametrize("name", COMMITTED)
def test_an_example_is_linked_as_libbpf_links_it(name: str) -> None:
    """Every committed example loads into the kernel, which sees the instructions and maps that we see."""
    stem, data = name.removesuffix(".o"), (EXAMPLES / name).read_bytes()
    with loaded(data, stem) as kernel:
        assert_same(read_object(data, name=stem), kernel)


def test_statically_linked_objects_are_read(compile_object: Compile, tmp_path: Path) -> None:
    """What `bpftool gen object` makes of an object is read like the object itself."""
    source, target = tmp_path / "in.o", tmp_path / "joined.o"
    source.write_bytes(compile_object("linking.c"))
    answer("bpftool", "gen", "object", str(target), str(source))
    data = target.read_bytes()
    with loaded(data, "linking") as kernel:
        assert_same(read_object(data, name="linking"), kernel)


def test_functions_are_those_that_the_kernel_shows(compile_object: Compile) -> None:
    """The functions of a program, their order and names are those of the kernel's dump."""
    data = compile_object("linking.c")
    with loaded(data, "linking") as kernel:
        for program in read_object(data, name="linking").programs:
            dump = answer("bpftool", "prog", "dump", "xlated", "id", str(kernel.programs[program.name]["id"]))
            assert re.findall(r"^[\w *]*?(\w+)\(.*\):$", dump, re.MULTILINE) == [s.name for s in program.subprograms]


def test_lines_are_those_that_the_kernel_shows(compile_object: Compile) -> None:
    """The source lines of a program, in order, are those of the kernel's dump."""
    data = compile_object("quiet.c")
    (program,) = read_object(data, name="quiet").programs
    with loaded(data, "quiet") as kernel:
        dump = answer("bpftool", "prog", "dump", "xlated", "id", str(kernel.programs["quiet"]["id"]), "linum")
    shown = re.findall(r"^; (.*) \[file:(.*) line_num:(\d+) line_col:(\d+)\]$", dump, re.MULTILINE)
    ours = [(line.text, Path(line.file).name, line.line, line.column) for line in program.lines]
    assert ours == [(text, Path(file).name, int(line), int(column)) for text, file, line, column in shown]


def test_static_initialisers_are_those_of_the_kernel(compile_object: Compile) -> None:
    """Program arrays and maps of maps come up with the same slots filled."""
    data = compile_object("mapdefs.c")
    ours = {m.name: m.programs or m.inner_maps for m in read_object(data, name="mapdefs").maps}
    with loaded(data, "mapdefs") as kernel:
        for number, shown in kernel.maps.items():
            if shown["name"] in {"jumps", "outer"}:
                filled = [
                    int(each["key"][0], 16) for each in bpftool("map", "dump", "id", str(number)) if "value" in each
                ]
                assert [index for index, _ in ours[shown["name"]]] == filled
