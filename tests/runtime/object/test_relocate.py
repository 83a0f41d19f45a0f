"""Relocation and linking: what references become, and what leads nowhere."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from runtime.errors import InputError, ObjectError, RelocationError, UnsupportedError
from runtime.isa import CallLocal, LoadFunction, LoadMap, LoadMapValue
from runtime.object import read_object
from runtime.object.elf import read_elf
from runtime.object.sections import takes_relocations
from runtime.spec import ObjectSpec, ProgramSpec
from tests.support.objects import EXAMPLES, FIXTURES, Compile, tool


def program(spec: ObjectSpec, name: str) -> ProgramSpec:
    """The program of that name."""
    return next(p for p in spec.programs if p.name == name)


def calls(found: ProgramSpec) -> set[tuple[str, str]]:
    """Who refers to whom, as names of functions."""
    starts = {s.start: s.name for s in found.subprograms}
    pairs = set()
    for pc, instruction in enumerate(found.code):
        if isinstance(instruction, CallLocal | LoadFunction):
            caller = starts[max(start for start in starts if start <= pc)]
            pairs.add((caller, starts[pc + 1 + instruction.offset]))
    return pairs


def test_programs_are_the_functions_outside_text(compile_object: Compile) -> None:
    """Every global function of a named section is a program; what stands in .text is linked in."""
    spec = read_object(compile_object("linking.c"), name="linking")
    assert [(p.name, p.section) for p in spec.programs] == [("first", "xdp"), ("second", "xdp"), ("third", "xdp.frags")]


def test_calls_lead_to_the_functions_that_the_source_names(compile_object: Compile) -> None:
    """Static, global, weak and hidden functions and callbacks are reached from both sections."""
    spec = read_object(compile_object("linking.c"), name="linking")
    inner = {("middle", "leaf"), ("hidden_one", "weak_one")}
    assert calls(program(spec, "first")) == inner | {
        ("first", "each"),
        ("first", "visible"),
        ("first", "hidden_one"),
        ("each", "weak_one"),
        ("visible", "middle"),
        ("visible", "leaf"),
    }
    assert calls(program(spec, "second")) == {("second", "leaf")}
    assert calls(program(spec, "third")) == inner | {("third", "hidden_one"), ("third", "middle")}


def test_functions_come_in_the_order_of_the_first_reference(compile_object: Compile) -> None:
    """A function is followed by what it refers to first, before its caller goes on: depth first."""
    spec = read_object(compile_object("linking.c"), name="linking")
    names = [s.name for s in program(spec, "first").subprograms]
    assert names == ["first", "each", "weak_one", "visible", "middle", "leaf", "hidden_one"]


def test_btf_tells_which_functions_are_global(compile_object: Compile) -> None:
    """Global and weak functions are global, static and hidden ones are not; without BTF none is."""
    spec = read_object(compile_object("linking.c"), name="linking")
    found = {s.name: s.is_global for s in program(spec, "first").subprograms}
    assert found == {
        "first": True,
        "each": False,
        "weak_one": True,
        "visible": True,
        "middle": False,
        "leaf": False,
        "hidden_one": False,
    }
    bare = read_object(compile_object("linking.c", debug=False), name="linking")
    assert not any(s.is_global or s.btf_id for p in bare.programs for s in p.subprograms)


def test_without_debug_information_the_code_is_the_same(compile_object: Compile) -> None:
    """-g adds lines and types and changes no instruction."""
    full = read_object(compile_object("linking.c"), name="linking")
    bare = read_object(compile_object("linking.c", debug=False), name="linking")
    assert bare.types is None
    assert [p.code for p in bare.programs] == [p.code for p in full.programs]
    assert all(p.lines for p in full.programs)
    assert not any(p.lines for p in bare.programs)


def test_stripped_objects_are_read(compile_object: Compile, tmp_path: Path) -> None:
    """Without DWARF nothing changes, and without static symbols only the functions' names do."""
    full = read_object(compile_object("linking.c"), name="linking")
    for option in ("--strip-debug", "--strip-unneeded"):
        target = tmp_path / "stripped.o"
        target.write_bytes(compile_object("linking.c"))
        subprocess.run([tool("llvm-strip-19", "llvm-strip"), option, str(target)], check=True)
        stripped = read_object(target.read_bytes(), name="linking")
        assert [p.name for p in stripped.programs] == [p.name for p in full.programs]
        if option == "--strip-debug":
            assert stripped.programs == full.programs
        for ours, theirs in zip(stripped.programs, full.programs, strict=True):
            assert {name for _, name in calls(theirs)} - {"each", "leaf", "middle"} <= {name for _, name in calls(ours)}


def test_lines_follow_their_functions(compile_object: Compile) -> None:
    """Where a function ends up in a program, its line records do too."""
    spec = read_object(compile_object("linking.c"), name="linking")
    text = (FIXTURES / "linking.c").read_text().splitlines()
    for found in spec.programs:
        assert [line.pc for line in found.lines] == sorted(line.pc for line in found.lines)
        for line in found.lines:
            assert line.file.endswith("linking.c")
            assert line.text == text[line.line - 1].strip()
        for function in found.subprograms:
            (first,) = (line for line in found.lines if line.pc == function.start)
            around = "\n".join(text[first.line - 5 : first.line + 1])
            assert f"{function.name}(" in around


def test_global_variables_become_places_in_maps(compile_object: Compile) -> None:
    """A load of a variable's address names the map of its section and its offset there."""
    spec = read_object(compile_object("globals.c"), name="globals")
    assert spec.types is not None
    places = set()
    for instruction in spec.programs[0].code:
        if isinstance(instruction, LoadMapValue):
            places.add((spec.maps[instruction.map].name, instruction.offset))
    zeroed = next(m for m in spec.maps if m.name == "globals.bss")
    assert places >= {("globals.data", 0), ("globals.data", 4), ("globals.rodata", 0), (".data.apart", 0)}
    assert {offset for name, offset in places if name == zeroed.name} == {0, 24}


def test_map_references_are_indices_of_the_object_maps(compile_object: Compile) -> None:
    """Legacy and BTF maps alike are referred to by their place in the object's maps."""
    for name in ("legacy.c", "mapdefs.c"):
        spec = read_object(compile_object(name), name="object")
        used = {spec.maps[i.map].name for p in spec.programs for i in p.code if isinstance(i, LoadMap)}
        assert used == ({"counters", "table"} if name == "legacy.c" else {"typed", "sized", "outer", "jumps"})


@pytest.mark.parametrize(
    ("flag", "error", "message"),
    [
        ("FUNCTION", RelocationError, "'nowhere' is declared and nowhere defined"),
        ("VARIABLE", RelocationError, "'elsewhere' is declared and nowhere defined"),
        ("SECTION", RelocationError, "'odd' is in section 'odd_section'"),
        ("KCONFIG", UnsupportedError, "'LINUX_KERNEL_VERSION'.*__kconfig"),
        ("KSYM", UnsupportedError, "'bpf_link_fops'.*__ksym"),
        ("KFUNC", UnsupportedError, "'bpf_rcu_read_lock'.*__ksym"),
    ],
)
def test_references_that_lead_nowhere_name_the_symbol(
    compile_object: Compile, flag: str, error: type[InputError], message: str
) -> None:
    """A reference out of the object is an error with the program and the symbol."""
    with pytest.raises(error, match=f"^outward: {message}") as caught:
        read_object(compile_object("externs.c", f"-D{flag}"), name="externs")
    assert caught.value.__notes__[0] == "in program 'outward' of section 'xdp'"


def test_declarations_that_are_not_used_do_no_harm(compile_object: Compile) -> None:
    """An object may declare what it never refers to."""
    assert len(read_object(compile_object("externs.c"), name="externs").programs) == 1


def test_core_relocations_keep_what_was_compiled(compile_object: Compile) -> None:
    """Accesses with CO-RE use the layout of the source; what only a kernel could answer is refused."""
    spec = read_object(compile_object("core.c"), name="core")
    assert len(spec.programs) == 1
    for flag in ("FLAVOUR", "TARGET"):
        with pytest.raises(UnsupportedError, match="CO-RE"):
            read_object(compile_object("core.c", f"-D{flag}"), name="core")


def test_assembly_without_symbol_types_is_read(compile_object: Compile) -> None:
    """Global labels are functions, and a call inside one of them makes a function of its target."""
    spec = read_object(compile_object("labels.s"), name="labels")
    main, after = spec.programs
    assert (main.name, len(main.code), after.name, len(after.code)) == ("main", 5, "after", 2)
    assert [(s.start, s.name) for s in main.subprograms] == [(0, "main"), (3, "main+3")]
    assert calls(main) == {("main", "main+3")}


ASSEMBLY = {
    "a map by number": (
        '.section xdp,"ax"\n.globl f\nf: .8byte 0x0000000700001118, 0\n exit\n',
        "no relocation explains",
    ),
    "a cut load": ('.section xdp,"ax"\n.globl f\nf: .8byte 0x18\n', "second half"),
    "a call of nothing": ('.section xdp,"ax"\n.globl f\nf: call 100\n exit\n', None),
    "a call far away": ('.section xdp,"ax"\n.globl f\nf: .8byte 0x0000006400001085\n exit\n', "where no function is"),
    "a function that overhangs": (
        '.section xdp,"ax"\n.globl f\n.type f,@function\nf: exit\n.size f, 64\n',
        "do not fit",
    ),
}


@pytest.mark.parametrize("case", sorted(ASSEMBLY))
def test_hand_made_mistakes_are_named(tmp_path: Path, case: str) -> None:
    """References that no compiler writes end in one clear line."""
    text, message = ASSEMBLY[case]
    source, target = tmp_path / "f.s", tmp_path / "f.o"
    source.write_text(text)
    subprocess.run([tool("clang-19", "clang"), "-target", "bpf", "-c", str(source), "-o", str(target)], check=True)
    if message is None:
        assert len(read_object(target.read_bytes(), name="f").programs) == 1
        return
    with pytest.raises(InputError, match=message):
        read_object(target.read_bytes(), name="f")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [(0, 8, "an instruction that takes none"), (8, 2, "relocation type 2"), (8, 10, "relocation type 10")],
)
def test_relocations_of_other_instructions_and_types_are_refused(at: int, value: int, message: str) -> None:
    """A relocation must fit the instruction that it applies to."""
    data = bytearray((EXAMPLES / "hash_lookup.o").read_bytes())
    elf = read_elf(bytes(data), relocated=takes_relocations)
    (section,) = (s for s in elf.sections if s.name == ".relxdp")
    (before,) = struct.unpack_from("<I", data, section.offset + at)
    struct.pack_into("<I", data, section.offset + at, before + value if at == 0 else value)
    with pytest.raises(RelocationError, match=message):
        read_object(bytes(data), name="x")


def test_two_programs_of_one_name_are_refused(compile_object: Compile) -> None:
    """Names lead to programs, so they must be different."""
    data = compile_object("linking.c").replace(b"\0second\0", b"\0first\0\0")
    with pytest.raises(ObjectError, match="two programs are called 'first'"):
        read_object(data, name="linking")
