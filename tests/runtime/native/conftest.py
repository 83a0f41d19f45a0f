"""Tests of natives compile into a cache of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An on-disk cache that holds nothing yet."""
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
