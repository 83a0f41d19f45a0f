"""Mistakes that beginners make: the verifier names the line and the cause, and the shortest fix is enough.

Not here: rules of the verifier one by one (tests/runtime/verifier).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.errors import VerificationError
from runtime.verifier import FailureCode, Policy, WarningCode, causes
from tests.golden.failures.cases import CASES, Case, clang, compiled, judge, resolved
from tests.golden.failures.make_document import DOCUMENT, document
from tests.support.objects import BPFFS, answer
from xdp.extension import default_registry

needs_clang = pytest.mark.skipif(clang() is None, reason="clang is not installed")
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
wrong = pytest.mark.parametrize("case", [each for each in CASES if each.error], ids=lambda case: case.name)
dubious = pytest.mark.parametrize("case", [each for each in CASES if each.warning], ids=lambda case: case.name)


def test_there_are_forty_programs_and_their_codes_exist() -> None:
    """At least 40 programs are wrong, each with a code that the verifier has."""
    codes = [case.error for case in CASES if case.error]
    assert len(codes) >= 40
    assert set(codes) <= set(FailureCode)


@needs_clang
@wrong
def test_a_wrong_program_is_rejected_for_its_mistake(case: Case) -> None:
    """The failure has the code and the line that the head of the file says, and one line of text."""
    with pytest.raises(VerificationError) as caught:
        judge(case, compiled(case.name, case.text))
    error = caught.value
    assert error.code == case.error, str(error)
    file, _, line = error.source.rpartition(":")
    assert Path(file).name == f"{case.name}.c"
    assert case.line in (0, int(line)), str(error)
    assert str(error).strip()
    assert len(str(error).splitlines()) == 1


@needs_clang
@dubious
def test_a_dubious_program_is_warned_of(case: Case) -> None:
    """What is a mistake elsewhere and harmless here gets a warning."""
    warnings = judge(case, compiled(case.name, case.text)).warnings
    assert [each.code for each in warnings] == [case.warning]


@needs_clang
@each_case
def test_the_fix_is_enough(case: Case) -> None:
    """With FIXED the program is accepted without a warning."""
    assert judge(case, compiled(case.name, case.text, "-DFIXED")).warnings == ()


def _without_debug(data: bytes, tmp_path: Path) -> bytes:
    """The object as llvm-strip leaves it, without BTF: names of maps remain, lines do not."""
    strip = next((found for name in ("llvm-objcopy-19", "llvm-objcopy") if (found := shutil.which(name))), None)
    if strip is None:
        pytest.skip("llvm-objcopy is not installed")
    source, target = tmp_path / "in.o", tmp_path / "out.o"
    source.write_bytes(data)
    subprocess.run([strip, "--remove-section=.BTF.ext", "--remove-section=.rel.BTF.ext", source, target], check=True)
    return target.read_bytes()


@needs_clang
@wrong
def test_without_line_information_messages_speak_of_instructions(case: Case, tmp_path: Path) -> None:
    """The same cause at the same instruction; the log and the fix name instructions and no line."""
    data = compiled(case.name, case.text)
    with pytest.raises(VerificationError) as whole:
        judge(case, data)
    with pytest.raises(VerificationError) as stripped:
        judge(case, _without_debug(data, tmp_path))
    error = stripped.value
    assert (error.code, error.pc, str(error)) == (whole.value.code, whole.value.pc, str(whole.value))
    assert error.source == ""
    assert f"--> instruction {error.pc}" in error.log
    assert f"instruction {error.pc}" in error.fix
    assert not re.search(r"\bline \d", error.fix)


COMPUTED = [
    "helper_size_negative", "helper_size_unbounded", "helper_size_zero", "map_index_negative", "map_index_too_large",
    "null_one_path", "null_unchecked", "packet_checked_too_late", "packet_ethernet_only", "packet_ip_options",
    "packet_off_by_one", "packet_unchecked", "packet_variable_header", "packet_wrong_direction", "stack_size_too_large",
    "stale_adjust_head", "stale_adjust_tail", "stale_in_function",
]  # fmt: skip


@needs_clang
@pytest.mark.parametrize("name", COMPUTED)
def test_the_computed_fix_is_enough(name: str) -> None:
    """The line of C that the message proposes, put where it says, makes the program safe."""
    case = next(each for each in CASES if each.name == name)
    source = resolved(case, fixed=False)
    with pytest.raises(VerificationError) as caught:
        judge(case, compiled(name, source))
    proposed = re.fullmatch(r"add `(.+)` before line (\d+)", caught.value.fix)
    assert proposed, caught.value.fix
    lines = source.splitlines()
    lines.insert(int(proposed[2]) - 1, proposed[1])
    judge(case, compiled(name, "\n".join(lines) + "\n"))


@needs_clang
@wrong
def test_each_rejection_has_a_fix_and_what_is_known(case: Case) -> None:
    """Every message says what to do, where; where values decide, the slice says where they come from."""
    with pytest.raises(VerificationError) as caught:
        judge(case, compiled(case.name, case.text))
    error = caught.value
    assert f"line {error.source.rpartition(':')[2]}" in error.fix
    made = causes(error, default_registry(), Policy(steps=case.steps))
    assert all(each.line and each.instruction for each in made)
    if case.error in ("packet_oob", "map_oob", "null_deref", "leak", "stale_pointer"):
        assert made


@needs_clang
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's bpf(2)")
@each_case
def test_the_kernel_accepts_the_fix(case: Case, tmp_path: Path) -> None:
    """The running kernel takes the program with FIXED."""
    target, pins = tmp_path / f"{case.name}.o", BPFFS / f"xdpsim-test-{os.getpid()}"
    target.write_bytes(compiled(case.name, case.text, "-DFIXED"))
    try:
        answer("bpftool", "prog", "loadall", str(target), str(pins))
    finally:
        shutil.rmtree(pins, ignore_errors=True)


def _version() -> str:
    """What clang says of itself."""
    command = clang()
    return subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout if command else ""


def test_the_document_has_a_section_for_each_code() -> None:
    """docs/verification-failures.md has one heading for each code that the verifier may answer."""
    headings = re.findall(r"^## (.+)$", DOCUMENT.read_text(), re.MULTILINE)
    assert headings == [*FailureCode, "Warnings"]
    warnings = re.findall(r"^### (.+) \(warning\)$", DOCUMENT.read_text(), re.MULTILINE)
    assert warnings == [*WarningCode]


def test_the_document_is_what_the_generator_makes() -> None:
    """With clang 19 the committed document comes out of the programs and the verifier anew."""
    if "clang version 19." not in _version():
        pytest.skip("the committed document was made with clang 19")
    assert DOCUMENT.read_text() == document(), "run `python -m tests.golden.failures.make_document`"
