"""Natives of a module that is edited and loaded again: what runs is what the module in memory says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runtime.errors import InternalError
from runtime.native.library import library

SOURCE = '''"""Two natives, one of which calls the other."""

from runtime.native import native

STEP = 1


@native
def inner(a: int) -> int:
    """The inner one."""
    return a + STEP


@native
def outer(a: int) -> int:
    """The outer one."""
    return inner(a) * 10
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_cache: Path) -> ModuleType:
    """The module, in a folder of its own."""
    (tmp_path / "edited_natives.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "edited_natives", raising=False)
    return importlib.import_module("edited_natives")


def _edit(module: ModuleType, old: str, new: str) -> None:
    assert module.__file__ is not None
    path = Path(module.__file__)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new) + "\n# edited\n")


@pytest.mark.parametrize(("old", "new"), [("a + STEP", "a - STEP"), ("STEP = 1", "STEP = -1"), ("* 10", "* -10")])
def test_a_module_that_was_loaded_again_has_new_natives(module: ModuleType, old: str, new: str) -> None:
    """Compiled and under Python, also where only what a native calls has changed."""
    assert library([module.outer])[module.outer](4) == module.outer(4) == 50
    _edit(module, old, new)
    importlib.reload(module)
    expected = -50 if "10" in old else 30
    assert module.outer(4) == expected
    assert library([module.outer])[module.outer](4) == expected


def test_a_native_is_never_made_of_source_that_is_not_its_own(module: ModuleType, empty_cache: Path) -> None:
    """A file that was edited after the import, and before the first use, is refused, not compiled under the old name."""
    _edit(module, "a + STEP", "a - STEP")
    with pytest.raises(InternalError, match=r"inner: its source has changed since it was imported: load it again"):
        module.inner(4)
    with pytest.raises(InternalError, match=r"inner: its source has changed"):
        library([module.inner])
    assert not list(empty_cache.glob("*.o"))
    importlib.reload(module)
    assert library([module.outer])[module.outer](4) == module.outer(4) == 30
