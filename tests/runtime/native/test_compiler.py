"""What the compiler of natives accepts, refuses and leaves behind; and its cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import InternalError
from runtime.native import cache as disk
from runtime.native import call_program, load32, load64, native, stack_alloc, store64
from runtime.native.compiler import bitcode
from runtime.native.library import library
from runtime.native.llvm import EXTERNALS, host, parse, unresolved
from runtime.native.references import own_digest

_TEXT = "no word"


@native
def _callee(a: int) -> int:
    return a + 1


@native
def _sample(p: int, count: int) -> int:
    """A native with loops, division, calls, memory."""
    scratch = stack_alloc(16)
    store64(scratch + 8, count)
    total = 0
    for i in range(count):
        if load32(p + 4 * i) == count // 3 or i % 5 > 2:
            total += _callee(load64(scratch + 8))
    return total + call_program(p, count)


@native
def _divides(a: int) -> int:
    return a / 2  # type: ignore[return-value]


@native
def _names(a: int) -> int:
    return a + len(_TEXT)


@native
def _raises(a: int) -> int:
    if a:
        raise ValueError(a)
    return a


@native
def _iterates(a: int) -> int:
    total = 0
    for each in (1, 2):
        total += each * a
    return total


@native
def _maybe(a: int) -> int:
    return a or None  # type: ignore[return-value]


@native
def _variable_stack(a: int) -> int:
    return stack_alloc(a)


@native
def _three(a: int) -> int:
    return _callee(a, 2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_divides, "float64|Div"),
        (_names, "_TEXT"),
        (_raises, "Raise"),
        (_iterates, "range"),
        (_maybe, "None"),
        (_variable_stack, "constant"),
        (_three, "_callee"),
    ],
)
def test_what_natives_may_not_do(function: object, message: str, empty_cache: Path) -> None:
    """Whatever is more than words is refused with the native's name and the reason."""
    with pytest.raises(InternalError, match=message) as caught:
        bitcode(function)  # type: ignore[arg-type]
    assert function.__name__ in str(caught.value)  # type: ignore[attr-defined]


def test_closures_and_defaults_are_refused() -> None:
    """A native is a function of its words and its module alone."""
    outer = 3
    with pytest.raises(InternalError):
        native(lambda a: a + outer)
    with pytest.raises(InternalError):
        native(eval("lambda a=1: a"))
    with pytest.raises(InternalError):
        native(len)  # type: ignore[arg-type]


def test_nothing_of_python_survives(empty_cache: Path) -> None:
    """Bitcode defines the one symbol and refers to natives and the permitted externals only."""
    module = parse(bitcode(_sample))
    defined = [f.name for f in module.functions if not f.is_declaration]
    assert defined == [_sample.symbol]
    assert not list(module.global_variables)
    assert unresolved(module) <= {_callee.symbol, "xs_call_program"}
    names = set(re.findall(r"@([\w.]+)", str(module)))
    assert {x for x in names if not x.startswith(("llvm.", "xs_"))} <= set(EXTERNALS)
    assert " add nsw i64 %a" not in str(module)


def test_the_cache_keeps_and_survives(empty_cache: Path) -> None:
    """Bitcode is kept on disk; an entry that is damaged counts as none."""
    name = f"{disk.key('native', own_digest(_callee))}.bc"
    disk.store(name, b"payload")
    assert disk.load(name) == b"payload"
    path = empty_cache / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert disk.load(name) is None
    path.write_bytes(b"")
    assert disk.load(name) is None
    assert disk.load("absent") is None
    assert [p.name for p in empty_cache.iterdir()] == [name]


def test_a_cache_that_others_may_write_is_not_used(empty_cache: Path) -> None:
    """Code is not taken from a directory where somebody else can put it."""
    disk.store("entry", b"payload")
    empty_cache.chmod(0o777)
    assert disk.load("entry") is None
    disk.store("another", b"payload")
    assert not (empty_cache / "another").exists()


def test_a_cache_that_cannot_be_written_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache directory that cannot be made changes nothing but the time."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path / "file" / "cache"))
    disk.store("entry", b"payload")
    assert disk.load("entry") is None


def test_the_cache_does_not_grow_for_ever(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then the oldest entries go."""
    monkeypatch.setattr(disk, "_MOST", 3)
    for at in range(6):
        disk.store(f"f{at}", b"payload")
        os.utime(empty_cache / f"f{at}", (at, at))
    assert len(list(empty_cache.iterdir())) == 6
    disk.store("00", b"payload")
    assert sorted(each.name for each in empty_cache.iterdir()) == ["00", "f4", "f5"]


def test_keys_depend_on_every_part() -> None:
    """Keys differ when a part differs, also when only the borders between parts move."""
    assert len({disk.key("a", "bc"), disk.key("ab", "c"), disk.key("abc"), disk.key("a", "bc", host())}) == 4


def test_a_warm_start_imports_no_compiler(empty_cache: Path) -> None:
    """With a filled cache, a library is loaded without numba."""
    script = (
        "import sys\nfrom tests.support import warm_natives as w\nfrom runtime.native.library import library\n"
        "assert library((w.lesser,))[w.lesser](4, -9) == -9\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & {'numba', 'numpy', 'scapy'}))"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert "numba" in runs[0]
    assert runs[1] == ""


def test_natives_that_need_a_program_are_no_library() -> None:
    """call_program has no meaning outside of a program."""
    with pytest.raises(InternalError, match="xs_call_program"):
        library((_sample,))
