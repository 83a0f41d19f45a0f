"""The same programs on the same socket calls: attached to a cgroup of the kernel, and under our supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kernel.sockets.records import line, on_file, under_the_kernel
from tests.kernel.sockets.scenarios import SCENARIOS, Scenario
from tests.support.wires import Pair, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged() or os.geteuid() != 0, reason="needs root: bpf(2), network namespaces"),
]

EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
RECORDS = on_file()


@pytest.fixture(scope="module")
def ends() -> Iterator[Pair]:
    """A client, and a peer that answers."""
    with line() as made:
        yield made


def test_scenarios_have_names_of_their_own() -> None:
    """There are at least 40 scenarios, no two of one name, and kernel.txt has those and no others."""
    names = [each.name for each in SCENARIOS]
    assert len(names) >= 40
    assert len(set(names)) == len(names)
    assert sorted(RECORDS) == sorted(names)


@pytest.mark.parametrize("scenario", [each for each in SCENARIOS if each.ours], ids=lambda each: each.name)
def test_a_difference_has_a_reason(scenario: Scenario) -> None:
    """Where our record is another one, the row says why, and the kernel's lines that it names are there."""
    assert scenario.differs
    assert set(scenario.ours) <= set(RECORDS[scenario.name])


@EVERY_SCENARIO
def test_the_kernel_does_what_is_on_file(scenario: Scenario, ends: Pair) -> None:
    """The running kernel treats the traffic as kernel.txt says."""
    assert under_the_kernel(scenario, ends.client) == RECORDS[scenario.name]
