"""What tests of maps share: maps of any kind, run under Python unless a test asks for machine code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.maps import Map, create
from tests.support.maps import KINDS, Make, spec_of


@pytest.fixture
def make() -> Iterator[Make]:
    """Maps by kind, key size, value size, max_entries and flags; they are closed when the test is over."""
    made: list[Map] = []

    def one(
        name: str,
        key_size: int = 4,
        value_size: int = 8,
        max_entries: int = 16,
        flags: int = 0,
        *,
        cpus: int = 2,
        compiled: bool = False,
    ) -> Map:
        spec = spec_of(name, key_size, value_size, max_entries, flags)
        made.append(create(spec, KINDS[name], cpus=cpus, compiled=compiled))
        return made[-1]

    yield one
    for each in made:
        each.close()
