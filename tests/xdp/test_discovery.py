"""Extensions of installed packages: sound ones are taught, broken ones are passed over with a line that names the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.captures import ROOT
from tests.support.commands import MIXED, PASS, run

_SOUND = """
from runtime.spec import Extension
EXTENSION = Extension(name="late")
"""
_TAKEN = """
from runtime.spec import Extension, Helper, Prototype
EXTENSION = Extension(name="late", helpers=(Helper(id=1, name="late", prototype=Prototype()),))
"""
_WRONG_NATIVE = """
from runtime.native import native
from runtime.spec import Extension, Helper, Prototype

@native
def something(env: int, word: int) -> int:
    return word

EXTENSION = Extension(name="late", helpers=(Helper(id=99_999, name="late", native=something, prototype=Prototype()),))
"""
_CLOSURE = """
from runtime.native import native

@native
def something(env: int, word: int = 3) -> int:
    return word
"""
_SAME_NAME = """
from runtime.spec import Extension
EXTENSION = Extension(name="xdp")
"""

CASES = {
    "no such module": (None, "late_module:EXTENSION cannot be imported (ModuleNotFoundError: No module named"),
    "no such name": ("", "cannot be imported (AttributeError: module 'late_module' has no attribute 'EXTENSION')"),
    "syntax": ("def", "cannot be imported (SyntaxError: "),
    "raises": ("raise RuntimeError('two\\nlines')", "cannot be imported (RuntimeError: two lines): install it again, or"),
    "leaves": ("import sys; sys.exit(3)", "cannot be imported (SystemExit: 3)"),
    "closure": (_CLOSURE, "something: closures and default values are not for natives"),
    "no extension": ("EXTENSION = 5", "late_module:EXTENSION is of type int: let the entry point name a runtime.spec.Ext"),
    "taken": (_TAKEN, "extension 'late' registers helper 1, which is already taken by 'core': choose another number or"),
    "arity": (_WRONG_NATIVE, "native something of helper bpf_late takes 2 words and is called with 1"),
    "same name": (_SAME_NAME, "extension 'xdp' is registered already: withdraw it first"),
}  # fmt: skip


def _install(folder: Path, source: str | None, name: str = "late") -> dict[str, str]:
    """A package in a folder as pip leaves it; the environment in which it is found."""
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(f"[xdpsim.extensions]\n{name} = {name}_module:EXTENSION\n")
    if source is not None:
        (folder / f"{name}_module.py").write_text(source)
    return {"PYTHONPATH": f"{ROOT}:{folder}"}


def _without_times(text: str) -> list[str]:
    return [line for line in text.splitlines() if "ns" not in line and "packets/s" not in line]


@pytest.mark.parametrize("case", CASES)
def test_a_broken_package_does_not_stop_others(case: str, tmp_path: Path) -> None:
    """A replay goes on, after one line on standard error that names the package and what to do."""
    source, line = CASES[case]
    done = run("replay", PASS, MIXED, **_install(tmp_path, source))
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("xdpsim: package late 1.5: ")
    assert line in said
    assert said.endswith("(going on without it)")
    assert _without_times(done.stdout) == _without_times(run("replay", PASS, MIXED).stdout)


def test_machines_get_their_document_all_the_same(tmp_path: Path) -> None:
    """With -j, standard output is the document and nothing else."""
    done = run("-j", "verify", PASS, **_install(tmp_path, "EXTENSION = 5"))
    assert json.loads(done.stdout)[0]["program"] == "xdp_pass"
    assert len(done.stderr.splitlines()) == 1


def test_who_needs_no_extension_imports_none(tmp_path: Path) -> None:
    """Help and the version do not ask what is installed."""
    environment = _install(tmp_path, "raise SystemExit(9)")
    for word in ("--help", "--version"):
        done = run(word, **environment)
        assert (done.returncode, done.stderr) == (0, "")


def test_one_broken_package_leaves_the_sound_ones(tmp_path: Path) -> None:
    """Packages are taken one by one, in order of their names."""
    _install(tmp_path, "EXTENSION = 5", "early")
    environment = _install(tmp_path, _SOUND, "late")
    code = "import xdp; print([each.name for each in xdp.default_registry().extensions][-1])"
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "late\n"
    assert "package early 1.5" in done.stderr


def test_a_process_registers_and_withdraws(tmp_path: Path) -> None:
    """`xdp.register` and `xdp.withdraw` change what `xdp.default_registry` says."""
    import xdp
    from runtime.spec import Extension

    xdp.register(Extension(name="for a moment"))
    try:
        assert xdp.default_registry().extensions[-1].name == "for a moment"
        assert xdp.catalogue().registry is xdp.default_registry()
    finally:
        xdp.withdraw("for a moment")
    assert xdp.default_registry().extensions[-1].name != "for a moment"
