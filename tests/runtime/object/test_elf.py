"""ELF files: sections, symbols, and what is refused with advice."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from runtime.errors import InputError, ObjectError, UnsupportedError
from runtime.object import read_object
from runtime.object.elf import read_elf
from runtime.object.sections import survey, takes_relocations
from tests.support.objects import EXAMPLES, FIXTURES, Compile, answer, tool

DISPATCHER = (EXAMPLES / "dispatcher.o").read_bytes()
SECTION_TABLE = 40
SECTION_COUNT = 60


def patched(data: bytes, at: int, shape: str, value: int) -> bytes:
    """The file with one field changed."""
    changed = bytearray(data)
    struct.pack_into(shape, changed, at, value)
    return bytes(changed)


def section_field(data: bytes, name: str, field: int) -> int:
    """Where a field of a section's header is in the file."""
    elf = read_elf(data, relocated=takes_relocations)
    (index,) = (s.index for s in elf.sections if s.name == name)
    return struct.unpack_from("<Q", data, SECTION_TABLE)[0] + index * 64 + field


NAME, FLAGS, OFFSET, SIZE, LINK, ENTRY = 0, 8, 24, 32, 40, 56


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        pytest.param(b"", "clang -O2 -g -target bpf -c", id="nothing"),
        pytest.param(b"#include <linux/bpf.h>\n", "clang -O2 -g -target bpf -c", id="a source"),
        pytest.param(DISPATCHER[:40], "less than its header", id="half a header"),
        pytest.param(patched(DISPATCHER, 4, "<B", 1), "32-bit", id="32 bits"),
        pytest.param(patched(DISPATCHER, 5, "<B", 2), "clang -target bpfel", id="big-endian"),
        pytest.param(patched(DISPATCHER, 4, "<B", 9), "damaged", id="no known class"),
        pytest.param(patched(DISPATCHER, 18, "<H", 62), "EM_X86_64.*clang -target bpf", id="another machine"),
        pytest.param(patched(DISPATCHER, 18, "<H", 61234), "not for BPF", id="an unknown machine"),
        pytest.param(patched(DISPATCHER, 16, "<H", 2), "ET_EXEC.*clang -c", id="an executable"),
        pytest.param(DISPATCHER[:2000], "is it cut", id="a cut file"),
        pytest.param(patched(DISPATCHER, SECTION_COUNT, "<H", 0), "without sections", id="no sections"),
        pytest.param(patched(DISPATCHER, SECTION_COUNT, "<H", 0xFEFF), "65279 sections", id="too many sections"),
        pytest.param(patched(DISPATCHER, SECTION_TABLE, "<Q", 1 << 63), "is it cut", id="sections far away"),
        pytest.param(patched(DISPATCHER, 62, "<H", 999), "section names", id="no section names"),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, "xdp", NAME), "<I", 1 << 31), "string", id="no name"
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, "xdp", SIZE), "<Q", 1 << 60), "is it cut", id="huge code"
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, "xdp", SIZE), "<Q", 3023), "whole number", id="odd code"
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, ".symtab", SIZE), "<Q", 24 << 40),
            "is it cut",
            id="huge table",
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, ".symtab", ENTRY), "<Q", 0),
            "entries of 0",
            id="empty entries",
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, ".symtab", LINK), "<I", 2),
            "no table of strings",
            id="no names",
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, ".relxdp", SIZE), "<Q", 8),
            "bytes in entries",
            id="half an entry",
        ),
        pytest.param(
            patched(DISPATCHER, section_field(DISPATCHER, ".BTF", OFFSET), "<Q", 1 << 40), ".BTF", id="types far away"
        ),
    ],
)
def test_a_file_of_another_kind_is_refused_with_advice(data: bytes, advice: str) -> None:
    """What is no readable BPF object is an ObjectError of one line that says what it is or what to do."""
    with pytest.raises(ObjectError, match=advice) as caught:
        read_object(data, name="x")
    assert "\n" not in str(caught.value)
    assert caught.value.__notes__[-1] == "in object 'x'"


def test_real_files_of_other_kinds_are_refused() -> None:
    """A program of this machine says which machine it is for."""
    with pytest.raises(ObjectError, match=r"not for BPF|not a relocatable"):
        read_object(Path("/bin/true").read_bytes(), name="true")


def test_objects_of_other_byte_orders_are_refused(tmp_path: Path) -> None:
    """What clang makes for big-endian BPF is named as that."""
    target = tmp_path / "big.o"
    source = FIXTURES / "quiet.c"
    include = "/usr/include/x86_64-linux-gnu"
    command = [tool("clang-19", "clang"), "-target", "bpfeb", "-O2", "-idirafter", include, "-c", source, "-o", target]
    subprocess.run(command, check=True)
    with pytest.raises(ObjectError, match="big-endian"):
        read_object(target.read_bytes(), name="big")


def test_compressed_sections_are_refused_with_advice() -> None:
    """A section that would have to be unpacked names the tool that does."""
    data = patched(DISPATCHER, section_field(DISPATCHER, ".BTF", FLAGS), "<Q", 0x800)
    with pytest.raises(UnsupportedError, match="llvm-objcopy"):
        read_object(data, name="x")


@pytest.mark.parametrize("name", ["linking.c", "mapdefs.c", "globals.c"])
def test_functions_are_those_that_objdump_shows(compile_object: Compile, tmp_path: Path, name: str) -> None:
    """Section, start and name of every function are those of llvm-objdump."""
    target = tmp_path / "object.o"
    data = compile_object(name)
    target.write_bytes(data)
    dump = answer(tool("llvm-objdump-19", "llvm-objdump"), "-d", str(target))
    shown = []
    for section in re.split(r"^Disassembly of section ", dump, flags=re.MULTILINE)[1:]:
        title = section.partition(":\n")[0]
        shown += [
            (title, int(at, 16) // 8, who)
            for at, who in re.findall(r"^([0-9a-f]{16}) <(\w+)>:$", section, re.MULTILINE)
        ]
    functions = survey(read_elf(data, relocated=takes_relocations)).functions
    ours = [(f.section.name, f.start, f.name) for each in functions.values() for f in each]
    assert ours == shown


def test_instructions_are_those_that_objdump_counts(compile_object: Compile, tmp_path: Path) -> None:
    """A program without calls has as many slots as llvm-objdump lists for it."""
    target = tmp_path / "object.o"
    data = compile_object("globals.c")
    target.write_bytes(data)
    dump = answer(tool("llvm-objdump-19", "llvm-objdump"), "-d", "--section=xdp", str(target))
    last = re.findall(r"^\s+(\d+):\s", dump, re.MULTILINE)[-1]
    (program,) = read_object(data, name="globals").programs
    assert len(program.code) == int(last) + 1


def test_the_license_is_read() -> None:
    """The text of section `license` belongs to the object and each program."""
    spec = read_object(DISPATCHER, name="dispatcher")
    assert spec.license == "Dual MIT/GPL"
    assert {p.license for p in spec.programs} == {"Dual MIT/GPL"}


def test_a_second_symbol_table_is_refused() -> None:
    """Two symbol tables leave open which one relocations mean."""
    data = patched(DISPATCHER, section_field(DISPATCHER, ".llvm_addrsig", 4), "<I", 2)
    with pytest.raises(InputError, match="symbol table"):
        read_object(data, name="x")
