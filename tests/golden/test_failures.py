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
from runtime.verifier import FailureCode
from tests.golden.failures.cases import CASES, Case, clang, compiled, judge
from tests.golden.failures.make_document import DOCUMENT, document
from tests.support.objects import BPFFS, answer

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
    assert any(each.message.startswith(case.warning) for each in warnings), warnings


@needs_clang
@each_case
def test_the_fix_is_enough(case: Case) -> None:
    """With FIXED the program is accepted without a warning."""
    assert judge(case, compiled(case.name, case.text, "-DFIXED")).warnings == ()


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


def test_the_document_is_what_the_generator_makes() -> None:
    """With clang 19 the committed document comes out of the programs and the verifier anew."""
    if "clang version 19." not in _version():
        pytest.skip("the committed document was made with clang 19")
    assert DOCUMENT.read_text() == document(), "run `python -m tests.golden.failures.make_document`"
