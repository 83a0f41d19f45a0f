"""Programs made for precision: each pattern of programs as compilers and people write them, judged by us and the kernel.

The first word of a program's name says what becomes of it: `ok`, both accept it; `bad`, both reject it, for a fault;
`hard`, it is safe and neither proves it; `more`, only we accept it; `less`, only the kernel does. Where verdicts differ, a
row of policies.py must say why.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from runtime.engine.kernel import kernel_verdict
from runtime.verifier import Policy
from tests.kernel.verdicts.compare import compare
from tests.kernel.verdicts.libbpf import Libbpf, last_words
from tests.kernel.verdicts.ours import judge
from tests.kernel.verdicts.policies import explain
from tests.kernel.verdicts.verdict import Pair, Verdict
from tests.runtime.verifier.rules import MAPS, program_of
from xdp.extension import default_registry

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]

FOLDER: Final = Path(__file__).with_name("precision")
LEVELS: Final = ("v1", "v2", "v3", "v4")
EXPECTED: Final = {
    "ok": (True, True),
    "bad": (False, False),
    "hard": (False, False),
    "more": (True, False),
    "less": (False, True),
}
_HEAD: Final = re.compile(r'^SEC\("[^"]+"\) int (\w+)\(', re.MULTILINE)


def _in_c() -> list[tuple[str, str]]:
    """The programs in C: file, name."""
    files = sorted(FOLDER.glob("*.c"))
    return [(each.stem, name) for each in files for name in _HEAD.findall(each.read_text())]


def _in_assembly() -> list[tuple[str, str, str]]:
    """The programs as text: name, type, text."""
    rows = []
    for part in (FOLDER / "assembly.data").read_text().split("\n== ")[1:]:
        name, _, text = part.partition("\n")
        head, colon, kind = text.partition("\n")[0].partition("type: ")
        rows.append((name, kind, text.partition("\n")[2]) if colon and not head else (name, "xdp", text))
    return rows


IN_C: Final = _in_c()
IN_ASSEMBLY: Final = _in_assembly()


@functools.cache
def _libbpf() -> Libbpf:
    try:
        return Libbpf()
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for objects."""
    return tmp_path_factory.mktemp("precision")


def _object(folder: Path, file: str, level: str) -> Path:
    """The object that clang makes of a file, once a session."""
    target = folder / f"{file}.{level}.o"
    if not target.exists():
        clang = shutil.which("clang-19") or shutil.which("clang")
        if clang is None:
            pytest.skip("clang is not installed")
        machine = f"/usr/include/{os.uname().machine}-linux-gnu"
        command = [clang, "-O2", "-g", "-target", "bpf", f"-mcpu={level}", "-Wall", "-Werror", "-idirafter", machine]
        command += ["-Wno-unused-function"]
        subprocess.run([*command, "-c", str(FOLDER / f"{file}.c"), "-o", str(target)], check=True)
    return target


def _judge_pair(word: str, pair: Pair) -> None:
    wanted = EXPECTED[word]
    reasons = f"ours: {pair.ours.code} {pair.ours.message}\nkernel: {pair.kernel.message}"
    assert (pair.ours.accepted, pair.kernel.accepted) == wanted, reasons
    assert pair.agree or explain(pair) is not None, f"no policy covers this difference\n{reasons}"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("file", "name"), IN_C, ids=[f"{file}-{name}" for file, name in IN_C])
def test_program_in_c(objects: Path, file: str, name: str, level: str) -> None:
    """We and the kernel judge the program as its name says, for every version of the instruction set."""
    (pair,) = compare(_object(objects, file, level), _libbpf(), policy=Policy(), only=name)
    _judge_pair(name.partition("_")[0], pair)


@pytest.mark.parametrize(("name", "kind", "text"), IN_ASSEMBLY, ids=[name for name, _, _ in IN_ASSEMBLY])
def test_program_in_assembly(name: str, kind: str, text: str) -> None:
    """We and the kernel judge the program as its name says."""
    spec, registry = program_of(text), default_registry()
    row = registry.program_type(kind)
    accepted, log = kernel_verdict(spec, row, MAPS)
    ours = judge(spec, row, MAPS, registry, policy=Policy())
    kernel = Verdict(accepted=accepted, message="" if accepted else last_words(log))
    pair = Pair(name=name, section=kind, ours=ours, kernel=kernel, kind=row, spec=spec, maps=MAPS)
    _judge_pair(name.partition(" ")[0], pair)


def test_there_are_enough_programs() -> None:
    """There are 150 programs and more, of each verdict, and no two have the same name."""
    names = [name for _, name in IN_C] + [name for name, _, _ in IN_ASSEMBLY]
    assert len(names) == len(set(names))
    assert len(names) >= 150
    assert {name.replace("_", " ").split()[0] for name in names} == EXPECTED.keys()


EXAMPLES: Final = sorted((Path(__file__).parents[2] / "examples").glob("*.o"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[each.stem for each in EXAMPLES])
def test_examples_are_judged_as_by_the_kernel(path: Path) -> None:
    """Every program of the examples is judged as the kernel judges it, or a policy says why not."""
    differing = [pair for pair in compare(path, _libbpf(), policy=Policy()) if not pair.agree and not explain(pair)]
    assert not differing
