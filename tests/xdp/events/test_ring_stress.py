"""Several processes and threads that fill and read one ring at once, some of them killed: nothing is lost, mixed or read twice."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable

from runtime.maps import Map
from tests.support.events import Producer, perf_spec, produced, ring_spec
from xdp.events import Events, events_of

_HEAD = struct.Struct("<III")
_RECORDS = 4000
_PROCESSES = 3
_LIMIT = 60.0


def _record(who: int, number: int, size: int) -> bytes:
    return _HEAD.pack(who, number, size) + bytes([(who + number) & 255]) * size


def _produce(raw: Map, who: int) -> None:
    """Records of all sizes, some by way of a reservation, some of which are discarded; tries again while there is no room."""
    producer, draw = Producer(raw, compiled=True), random.Random(who)
    number = 0
    while number < _RECORDS:
        data = _record(who, number, draw.randrange(200))
        if draw.random() < 0.5:
            while producer.output(data, draw.choice((0, 0, 1, 2))) != 0:
                os.sched_yield()
            number += 1
            continue
        while not (place := producer.reserve(len(data))):
            os.sched_yield()
        producer.fill(place, data)
        if who >= 100 and draw.random() < 0.02:
            signal.pause()  # until it is killed, with a record in hand that stops the reader
        if draw.random() < 0.2:
            producer.discard(place)
        else:
            producer.submit(place)
            number += 1


def _spawn(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return child


def _check(found: dict[int, list[int]], event: bytes) -> None:
    who, number, size = _HEAD.unpack_from(event)
    assert event == _record(who, number, size)
    found[who].append(number)


def test_processes_share_a_ring_while_some_are_killed() -> None:
    """Those that live deliver all their records, each once and in order; those that are killed deliver a beginning."""
    with produced(ring_spec(1 << 14)) as (raw, warm):
        assert warm.query(1) == 1 << 14  # compiled before there are children
        events, found = events_of(raw), defaultdict[int, list[int]](list)
        steady = [_spawn(lambda who=who: _produce(raw, who)) for who in range(_PROCESSES)]
        victims, until = [], time.monotonic() + _LIMIT
        alive = set(steady)
        while alive and time.monotonic() < until:
            if len(victims) < 12:
                victims.append(who := 100 + len(victims))
                child = _spawn(lambda who=who: _produce(raw, who))
                came = [None]
                while came and len(found[who]) < 60 * (who % 10):  # then nothing, where it holds everybody up
                    came = events.poll(0.2)
                    for event in came:
                        _check(found, event)
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            for event in events.poll(0.05):
                _check(found, event)
            alive -= {each for each in alive if os.waitpid(each, os.WNOHANG)[0]}
        for child in alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for event in raw:
            _check(found, event)
        abandoned = events.abandoned
    assert not alive
    assert abandoned
    for who in range(_PROCESSES):
        assert found[who] == list(range(_RECORDS))
    for who in victims:
        assert found[who] == list(range(len(found[who])))


def test_two_readers_share_what_there_is() -> None:
    """Each event is read once, by one of them."""
    with produced(ring_spec(1 << 14)) as (raw, warm):
        assert warm.query(1)
        events, child = events_of(raw), _spawn(lambda: _produce(raw, 7))
        found: list[list[int]] = [[], []]

        def read(mine: list[int], events: Events) -> None:
            mine.extend(_HEAD.unpack_from(event)[1] for event in events.follow(1.0))

        readers = [threading.Thread(target=read, args=(mine, events)) for mine in found]
        for each in readers:
            each.start()
        os.waitpid(child, 0)
        for each in readers:
            each.join()
    for mine in found:
        assert mine == sorted(mine)
    assert Counter(found[0] + found[1]) == Counter(range(_RECORDS))


def test_perf_events_of_several_processes_add_up() -> None:
    """Two processes on one CPU's slot and one on the other: what is read and what is told as lost is what was sent."""
    with produced(perf_spec()) as (raw, warm):
        assert warm.query(1)

        def send(who: int, cpu: int) -> None:
            producer = Producer(raw, compiled=True, cpu=cpu)
            for number in range(_RECORDS):
                producer.event(_record(who, number, number % 90))

        children = [_spawn(lambda who=who, cpu=cpu: send(who, cpu)) for who, cpu in ((0, 0), (1, 0), (2, 1))]
        found, lost = defaultdict[int, list[int]](list), 0
        while children:
            for event in events_of(raw).wait(0.05):
                lost += event.lost
                if not event.lost:
                    who, number, size = _HEAD.unpack_from(event.data)
                    assert event.data[: _HEAD.size + size] == _record(who, number, size)
                    assert event.cpu == event.index == (who == 2)
                    found[who].append(number)
            children = [each for each in children if not os.waitpid(each, os.WNOHANG)[0]]
        rest = events_of(raw).take()
        lost = events_of(raw).lost
    count = sum(map(len, found.values())) + sum(not each.lost for each in rest)
    assert count + lost == 3 * _RECORDS
    assert all(numbers == sorted(set(numbers)) for numbers in found.values())
