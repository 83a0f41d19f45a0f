"""Engines by name."""

from __future__ import annotations

import pytest

from runtime.engine import engine_named
from runtime.errors import UnsupportedError


def test_engines_have_names() -> None:
    """An unknown engine is refused with the list of names."""
    assert engine_named("jit").name == "jit"
    with pytest.raises(UnsupportedError, match="interpreter"):
        engine_named("magic")
