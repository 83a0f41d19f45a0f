"""docs/extensions.md, followed literally: its files in a new folder, its commands, and what they print.

`python -m tests.examples.test_extensions_document` writes the files of examples/sample_extension into the document, and what its
commands print.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.captures import ROOT
from tests.support.objects import EXAMPLES, tool

DOCUMENT = ROOT / "docs" / "extensions.md"
SAMPLE = EXAMPLES / "sample_extension"

_FILE = re.compile(r"^\*\*`([^`]+)`\*\*\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\d+(?:\.\d+)? ms")
_END = "-- end of a command --"


def files(text: str) -> dict[str, str]:
    """The files that the document shows, by name, in order."""
    return {name: body for name, _, body in _FILE.findall(text)}


def commands(text: str) -> list[tuple[str, str]]:
    """The commands that the document shows, each with what it prints, in order."""
    found: list[tuple[str, str]] = []
    for block in _CONSOLE.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


def follow(text: str, folder: Path) -> list[str]:
    """What the commands print in a new folder with the document's files, run by one shell, one after the other."""
    for name, body in files(text).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
    script = "".join(f"{command}\necho '{_END}'\n" for command, _ in commands(text))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COVERAGE"))}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["XDPSIM_CACHE"] = str(folder / "cache")
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split(f"{_END}\n")[:-1]


def without_times(text: str) -> str:
    """Text in which durations are alike."""
    return _TIME.sub("… ms", text)


def test_the_document_shows_the_sample() -> None:
    """The files of the document are those of examples/sample_extension, byte for byte, and none is left out."""
    shown = files(DOCUMENT.read_text())
    kept = {
        str(path.relative_to(SAMPLE)): path.read_text()
        for path in SAMPLE.rglob("*")
        if path.suffix in (".c", ".h", ".py", ".toml") or path.name == "Makefile"
        if not {"build", "installed", "__pycache__"} & set(path.parts)
    }
    assert shown.keys() == kept.keys()
    for name, body in kept.items():
        assert shown[name] == body, f"{name}: python -m tests.examples.test_extensions_document writes it anew"


def test_the_document_is_followed_literally(tmp_path: Path) -> None:
    """In a new folder, without a network: the package is built, the programs are compiled, and all prints what is shown."""
    tool("clang-19")
    tool("llvm-strip-19")
    pytest.importorskip("setuptools", minversion="70.1", reason="builds the package without a network")
    text = DOCUMENT.read_text()
    expected = commands(text)
    assert len(expected) >= 8
    printed = follow(text, tmp_path)
    for (command, shown), found in zip(expected, printed, strict=True):
        assert without_times(found) == without_times(shown), command
    assert (tmp_path / "watch.o").read_bytes() == (SAMPLE / "watch.o").read_bytes()


def _rewritten(text: str) -> str:
    """The document with the files as they are in the sample."""

    def fill(found: re.Match[str]) -> str:
        name, language = found[1], found[2]
        return f"**`{name}`**\n\n```{language}\n{(SAMPLE / name).read_text()}```"

    return _FILE.sub(fill, text)


def _reprinted(text: str, follow: Callable[[str, Path], list[str]]) -> str:
    """The document with what its commands print now."""
    folder = Path(tempfile.mkdtemp())
    try:
        printed = iter(follow(text, folder))
    finally:
        shutil.rmtree(folder)

    def fill(found: re.Match[str]) -> str:
        shown = [line for line in found[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{next(printed)}" for line in shown) + "```"

    return _CONSOLE.sub(fill, text)


if __name__ == "__main__":
    DOCUMENT.write_text(_rewritten(DOCUMENT.read_text()))
    DOCUMENT.write_text(_reprinted(DOCUMENT.read_text(), follow))
