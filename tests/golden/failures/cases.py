"""The wrong programs of this folder: what their heads say, their objects, and what the verifier says of them.

Not here: expectations beyond the heads (test_failures.py) and prose (make_document.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, final

import pytest

from runtime.loader import program_type
from runtime.object import read_object
from runtime.verifier import Policy, VerifiedProgram, verify
from xdp.extension import default_registry

__all__ = ["CASES", "FOLDER", "Case", "clang", "compiled", "judge", "resolved"]

FOLDER: Final = Path(__file__).parent


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program: the mistake in a sentence, and what the verifier says of it.

    `error` is the code of a rejection with the line that it names, or `warning` the code of a warning; `line` is 0
    where the place is a matter of chance. `steps` is the budget. `text` is the file with both branches of FIXED.
    """

    name: str
    mistake: str
    error: str
    warning: str
    line: int
    steps: int
    text: str


def _case(path: Path) -> Case:
    text = path.read_text()
    comments = [line.removeprefix("// ") for line in text.partition("\n#")[0].splitlines()]
    head = dict(line.split(": ", 1) for line in comments[:-1])
    return Case(
        name=path.stem,
        mistake=comments[-1],
        error=head.get("error", ""),
        warning=head.get("warning", ""),
        line=int(head.get("line", 0)),
        steps=int(head.get("steps", Policy().steps)),
        text=text,
    )


CASES: Final = tuple(_case(path) for path in sorted(FOLDER.glob("*.c")))


def clang() -> str | None:
    """The path of some clang, 19 before others."""
    return next((found for name in ("clang-19", "clang") if (found := shutil.which(name))), None)


def resolved(case: Case, *, fixed: bool) -> str:
    """The program without its head, as it is with or without FIXED."""
    lines: list[str] = []
    shown: list[bool] = []  # of each open conditional, whether its lines are part of the program
    for line in case.text[case.text.index("#include") :].splitlines():
        match line.split():
            case ["#ifdef", "FIXED"]:
                shown.append(fixed)
            case ["#ifndef", "FIXED"]:
                shown.append(not fixed)
            case ["#else"]:
                shown.append(not shown.pop())
            case ["#endif"]:
                shown.pop()
            case _ if all(shown):
                lines.append(line)
    return "\n".join(lines) + "\n"


@cache
def compiled(name: str, text: str, *flags: str) -> bytes:
    """The object of the C in `text`, which debug information calls NAME.c; the test is skipped without clang."""
    command = clang()
    if command is None:
        pytest.skip("clang is not installed")
    machine = f"/usr/include/{os.uname().machine}-linux-gnu"
    options = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-w", "-fdebug-compilation-dir=.", "-idirafter", machine]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{name}.c").write_text(text)
        words = [command, *options, *flags, "-c", f"{name}.c", "-o", "out.o"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return (Path(folder) / "out.o").read_bytes()


def judge(case: Case, data: bytes) -> VerifiedProgram:
    """The proof of the object's only program; raises VerificationError."""
    spec = read_object(data, name=case.name)
    (program,) = spec.programs
    registry = default_registry()
    return verify(program, program_type(registry, program, None), spec.maps, registry, policy=Policy(steps=case.steps))
