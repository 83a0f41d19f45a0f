"""Ring buffers against a model: a list of records, of which the consumer takes those that are committed from the front."""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EAGAIN

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import ROOM, produced, ring_spec
from xdp.events import events_of

_SIZES = st.one_of(st.integers(0, 64), st.sampled_from([500, 1000, 2031, 4079, 4080, 4081, 4088, 5000]))
_STEP = st.one_of(
    st.tuples(st.just("output"), _SIZES),
    st.tuples(st.just("reserve"), _SIZES),
    st.tuples(st.just("submit"), st.integers(0, 5)),
    st.tuples(st.just("discard"), st.integers(0, 5)),
    st.tuples(st.just("take"), st.just(0)),
)


@dataclass
class _Record:
    position: int
    data: bytes
    state: str = "busy"
    address: int = 0


@dataclass
class _Model:
    """What a ring must do."""

    records: list[_Record] = field(default_factory=list)
    consumed: int = 0
    produced: int = 0

    def add(self, data: bytes) -> _Record | None:
        length = len(data) + 15 & ~7
        oldest = next((each.position for each in self.records if each.state == "busy"), self.produced)
        end = self.produced + length
        if length > ROOM or end - self.consumed >= ROOM or end - oldest >= ROOM:
            return None
        self.records.append(_Record(self.produced, data))
        self.produced = end
        return self.records[-1]

    def take(self) -> list[tuple[int, bytes]]:
        found = []
        while self.records and self.records[0].state != "busy":
            record = self.records.pop(0)
            if record.state == "submitted":
                found.append((record.position, record.data))
            self.consumed = record.position + (len(record.data) + 15 & ~7)
        return found


def _bytes(size: int, turn: int) -> bytes:
    return bytes((turn + i) % 251 for i in range(size))


@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
@given(steps=st.lists(_STEP, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_ring_does_what_the_model_does(compiled: bool, steps: list[tuple[str, int]]) -> None:
    """Room, positions, records and their order are the model's, whatever the order of commits."""
    model, held = _Model(), []
    with produced(ring_spec(), compiled=compiled) as (raw, producer):
        for turn, (what, number) in enumerate(steps):
            data = _bytes(number, turn)
            if what == "output":
                expected = model.add(data)
                assert producer.output(data) == (0 if expected else -EAGAIN)
                if expected:
                    expected.state = "submitted"
            elif what == "reserve":
                address, expected = producer.reserve(number), model.add(data)
                assert bool(address) == bool(expected)
                if expected:
                    producer.fill(address, data)
                    expected.address = address
                    held.append(expected)
            elif what == "take":
                assert [(each.position, each.data) for each in events_of(raw).take()] == model.take()
            elif held:
                record = held.pop(number % len(held))
                record.state = "submitted" if what == "submit" else "discarded"
                (producer.submit if what == "submit" else producer.discard)(record.address)
            state = [producer.query(each) for each in range(5)]
            assert state == [model.produced - model.consumed, ROOM, model.consumed, model.produced, 0]
        assert len(raw) == len(model.take())
