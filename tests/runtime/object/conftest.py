"""The compiler as a fixture."""

from __future__ import annotations

import pytest

from tests.support.objects import Compile, compiled, tool


@pytest.fixture(scope="session")
def compile_object() -> Compile:
    """A function that compiles a file of fixtures/, once for each set of flags."""
    clang = tool("clang-19", "clang")

    def run(name: str, *flags: str, debug: bool = True) -> bytes:
        return compiled(clang, name, (*(("-g",) if debug else ()), *flags))

    return run
