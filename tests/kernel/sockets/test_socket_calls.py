"""The same programs on the same socket calls: attached to a cgroup of the kernel, and under our supervisor."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.sockets.ours import under_supervision
from tests.kernel.sockets.records import FILE, line, sections, under_the_kernel
from tests.kernel.sockets.scenarios import SCENARIOS, Scenario
from tests.support.wires import Pair, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged() or os.geteuid() != 0, reason="needs root: bpf(2), network namespaces"),
]

KERNEL = sections(FILE)
DIFFERENCES = sections(Path(__file__).with_name("differences.txt"))
"""By scenario: the reason, then our lines with + and the kernel's with -."""

SOME = (
    "see a connection that does not block",
    "see datagrams over IPv6",
    "deny binds",
    "count by thread, user, name and socket",
    "fail with an errno of the program's own",
    "redirect datagrams and hide it",
    "redirect to where nothing can go",
    "choose the source of connections",
    "read parts of fields of IPv6, write double words",
    "the last of several programs rejects",
    "connections established",
    "connections accepted",
    "choose the source of datagrams",
)
"""Enough to see that the other loop and the other engine do the same."""


def _cases(*kinds: str) -> list[Any]:
    return [
        pytest.param(each, kind, id=f"{kind}: {each.name}")
        for kind in kinds
        for each in SCENARIOS
        if kind == "native" or each.name in SOME
    ]


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
    assert sorted(KERNEL) == sorted(names)


def test_differences_have_reasons() -> None:
    """Where our record is another one, the file says why in a sentence, and what differs."""
    assert set(DIFFERENCES) <= set(KERNEL)
    for reason, *lines in DIFFERENCES.values():
        assert reason.startswith("because ")
        assert lines
        assert all(each.startswith(("+ ", "- ")) for each in lines)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_the_kernel_does_what_is_on_file(scenario: Scenario, ends: Pair) -> None:
    """The running kernel treats the traffic as kernel.txt says."""
    assert under_the_kernel(scenario, ends.client) == KERNEL[scenario.name]


@pytest.mark.parametrize(("scenario", "kind"), _cases("native", "python", "interpreted"))
def test_our_supervisor_does_as_the_kernel(scenario: Scenario, kind: str, ends: Pair) -> None:
    """Our record is the kernel's, but for the differences that are on file."""
    ours = under_supervision(scenario, ends.client, kind)
    lines = [each for each in difflib.ndiff(KERNEL[scenario.name], ours) if each[0] in "+-"]
    assert lines == DIFFERENCES.get(scenario.name, ["because they are the same"])[1:]
