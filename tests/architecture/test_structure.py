"""The structure is a promise: sizes, rooms, walls and the public door, each as a failing test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("runtime", "netdev", "xdp")
PUBLIC = ROOT / "tests" / "public_api.txt"

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 50

# Files that are tables: rows of records, nothing to follow.
TABLES: frozenset[str] = frozenset()

WALLS = {
    "elftools": ("runtime/object/elf.py",),
    "numba": ("runtime/native/",),
    "llvmlite": ("runtime/native/", "runtime/engine/jit/"),
    "pyroute2": ("netdev/topology/",),
    "rich": ("xdp/cli/",),
    "ctypes": ("runtime/", "netdev/", "xdp/"),
}


def _sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", list(_sources()), ids=_name)
def test_a_file_stays_within_its_budget(path: Path) -> None:
    """A file has at most 500 lines and its functions at most 50, tables excepted."""
    text = path.read_text()
    if _name(path) not in TABLES:
        assert len(text.splitlines()) <= MAX_FILE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long


@pytest.mark.parametrize("path", [p for p in _sources() if p.stat().st_size], ids=_name)
def test_a_module_says_what_it_is(path: Path) -> None:
    """Every module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_runtime_has_never_heard_of_the_hook() -> None:
    """The hook's name does not occur as a word of its own anywhere in runtime/."""
    word = re.compile(r"(?<![A-Za-z0-9])xdp(?![A-Za-z0-9])", re.IGNORECASE)
    found = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in sorted((ROOT / "runtime").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if word.search(line)
    ]
    assert not found


@pytest.mark.parametrize("library", sorted(WALLS))
def test_untyped_libraries_stay_behind_their_walls(library: str) -> None:
    """A foreign library is imported only where the design says."""
    outside = [
        _name(path)
        for path in _sources()
        if not _name(path).startswith(WALLS[library])
        and any(name.split(".")[0] == library for name in _imports(ast.parse(path.read_text())))
    ]
    assert not outside


def _public_api() -> list[str]:
    names = []
    for path in _sources():
        if path.name != "__init__.py":
            continue
        package = _name(path.parent).replace("/", ".")
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                names += [f"{package}.{name}" for name in ast.literal_eval(node.value)]
    return sorted(names)


def test_the_public_api_is_the_one_on_file() -> None:
    """What packages export is written down; a change shows as a difference of tests/public_api.txt."""
    expected = PUBLIC.read_text().splitlines()
    actual = _public_api()
    assert actual == expected, "run `make api` if this is meant: " + str(sorted(set(actual) ^ set(expected)))


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=_name)
def test_every_test_says_its_fact(path: Path) -> None:
    """Every test function has a docstring of one sentence."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent


def test_test_files_have_names_of_their_own() -> None:
    """Test folders are no packages, so two files of one name cannot be collected in one run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("document", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]), ids=_name)
def test_documents_name_paths_that_exist(document: Path) -> None:
    """A path of this project in backticks leads somewhere."""
    missing = [
        found
        for found in re.findall(
            r"`((?:runtime|netdev|xdp|tests|examples|benchmarks|pcaps|docs)/[\w./-]*)`", document.read_text()
        )
        if not (ROOT / found).exists()
    ]
    assert not missing


if __name__ == "__main__":
    PUBLIC.write_text("".join(f"{name}\n" for name in _public_api()))
