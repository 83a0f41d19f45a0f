"""Batches of frames made in Python."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netdev.port import pack


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_a_batch_gives_back_its_frames(frames: list[bytes]) -> None:
    """What is packed comes out again, empty frames and empty batches included."""
    batch = pack(frames)
    assert [batch.frame(index) for index in range(len(batch))] == frames
    assert batch.lengths.tolist() == [len(frame) for frame in frames]


def test_a_batch_takes_what_is_known_of_its_frames() -> None:
    """Times, lengths on the wire and interfaces are kept; without them they are 0, the lengths those of the frames."""
    batch = pack([b"abc", b"d"], timestamps=[5, 1 << 63], lengths=[1500, 1], interfaces=[1, 0])
    assert batch.timestamps.tolist() == [5, 1 << 63]
    assert batch.lengths.tolist() == [1500, 1]
    assert batch.interfaces.tolist() == [1, 0]
    assert pack([b"abc"]).timestamps.tolist() == [0]
