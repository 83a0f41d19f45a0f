"""Producers and consumers that end in the middle of something: nobody else is stopped."""

from __future__ import annotations

from runtime.maps import HEADER_SIZE
from tests.support.events import ROOM, Producer, in_child, produced, ring_spec
from xdp.events import events_of


def test_a_reservation_of_the_dead_is_passed_by_the_consumer() -> None:
    """A record that is never submitted because its process has ended is discarded, and what is behind it read."""
    with produced(ring_spec()) as (raw, producer):

        def leave() -> None:
            other = Producer(raw, compiled=True)
            assert other.reserve(100)

        in_child(leave)
        assert producer.output(b"later") == 0
        assert list(raw) == [b"later"]
        assert events_of(raw).abandoned == 1


def test_a_reservation_of_the_dead_does_not_keep_producers_out() -> None:
    """Its room is given back to a producer that needs it, when the consumer has got past everything before."""
    with produced(ring_spec()) as (raw, producer):
        assert producer.output(b"before") == 0
        in_child(lambda: Producer(raw, compiled=True).reserve(ROOM // 2))
        assert producer.output(bytes(ROOM // 4)) == 0
        assert producer.output(bytes(ROOM // 2)) != 0  # as long as nothing was read
        assert len(events_of(raw).take()) == 2
        assert producer.output(bytes(ROOM // 2)) == 0
        assert events_of(raw).abandoned == 1


def test_a_reservation_of_the_living_stops_the_consumer() -> None:
    """As in Linux: what is behind a record that may still be submitted waits for it."""
    with produced(ring_spec()) as (raw, producer):
        record = producer.reserve(4)
        assert producer.output(b"later") == 0
        assert list(raw) == []
        producer.fill(record, b"this")
        producer.submit(record)
        assert list(raw) == [b"this", b"later"]


def test_locks_of_the_dead_are_taken_over() -> None:
    """A producer or a reader that died with the lock in hand leaves a ring that goes on."""
    with produced(ring_spec()) as (raw, producer):
        gone = in_child(lambda: None)
        for offset in (64, 128):
            raw.arena.set_word(HEADER_SIZE + offset, gone << 32 | 1)
        assert producer.output(b"one") == 0
        assert list(raw) == [b"one"]
