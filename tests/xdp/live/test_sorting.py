"""Frames sorted by verdict: the native against plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xdp.live.sorting import Sorter
from xdp.verdict import Verdict, verdict_of

RETURNED = st.one_of(st.integers(0, 5), st.integers(0, 0xFFFFFFFF))


@given(st.lists(st.lists(st.tuples(RETURNED, st.integers(0, 0xFFFFFFFF)), max_size=50), max_size=3))
def test_rows_packets_and_bytes_are_those_of_each_verdict(batches: list[list[tuple[int, int]]]) -> None:
    """What is no verdict is aborted; a sorter takes batches of any size one after the other."""
    sorter = Sorter()
    for batch in batches:
        returned = np.array([each for each, _ in batch], np.uint32)
        lengths = np.array([each for _, each in batch], np.uint32)
        said = sorter.sort(returned, lengths)
        expected = [verdict_of(each) for each, _ in batch]
        assert said.verdicts.tolist() == expected
        for verdict in Verdict:
            rows = [i for i, each in enumerate(expected) if each is verdict]
            assert said.rows(verdict).tolist() == rows
            assert int(said.packets[verdict]) == len(rows)
            assert int(said.bytes[verdict]) == sum(batch[i][1] for i in rows)
