"""Several threads, and processes that are killed, on one map, as machine code."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from runtime.engine.environment import Environment
from runtime.errors import MapError
from runtime.maps import Map
from runtime.native.library import library
from runtime.spec import Env
from tests.support.map_churn import ENTRIES, KEY_SIZE, VALUE_SIZE, WHICH, churn
from tests.support.maps import Make

_FULL = {"hash": 7, "percpu_hash": 7, "lpm_trie": 28}


@contextmanager
def _environment(cpu: int) -> Iterator[Environment]:
    made = Environment(cpu=cpu)
    try:
        yield made
    finally:
        made.close()


def _is_whole(value: bytes) -> bool:
    words = [int.from_bytes(value[at : at + 8], "little") for at in range(0, len(value), 8)]
    return all(a == b ^ (1 << 64) - 1 or a == b == 0 for a, b in zip(words[::2], words[1::2], strict=True))


def _check(name: str, each: Map) -> None:
    """The map is whole: what it counts, lists and finds agree, and it holds exactly as much as it should."""
    content = dict(each.items())
    assert len(each) == len(content)
    assert all(each.lookup(key) == value and _is_whole(value) for key, value in content.items())
    for key in content:
        each.delete(key)
    assert len(each) == 0
    keys = [(32).to_bytes(4, "little") + at.to_bytes(4, "big") for at in range(ENTRIES + 1)]
    value = bytes(each.value_stride)
    for key in keys[:ENTRIES]:
        each.update(key, value)
    if name in _FULL:
        assert len(each) == ENTRIES
        with pytest.raises(MapError) as full:
            each.update(keys[ENTRIES], value)
        assert full.value.errno == _FULL[name]
    else:
        each.update(keys[ENTRIES], value)
        assert ENTRIES // 2 <= len(each) <= ENTRIES


@pytest.mark.parametrize("name", WHICH)
def test_threads_share_a_map(make: Make, name: str) -> None:
    """Four threads look up, update and delete the same keys, and the map stays whole."""
    run = library([churn])[churn]
    each = make(name, KEY_SIZE, VALUE_SIZE, ENTRIES, cpus=4, compiled=True)

    def work(cpu: int) -> int:
        with _environment(cpu) as environment:
            return run(each.address, environment.address, 88172645463325252 + cpu, 60_000, WHICH.index(name))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 0
    _check(name, each)


@pytest.mark.parametrize("name", WHICH)
def test_killed_processes_do_not_stop_the_others(make: Make, name: str) -> None:
    """Processes are killed at any moment of their work on a map; the survivors go on and the map stays whole."""
    run = library([churn])[churn]
    each = make(name, KEY_SIZE, VALUE_SIZE, ENTRIES, compiled=True)
    each.snapshot()  # children must not compile
    moments = random.Random(7)
    with _environment(1) as environment:
        for turn in range(25):
            child = os.fork()
            if child == 0:
                environment[Env.OWNER] = os.getpid() << 32 | 1
                run(each.address, environment.address, 362436069 + turn, 1 << 40, WHICH.index(name))
                os._exit(1)
            time.sleep(moments.uniform(0.0005, 0.004))
            os.kill(child, signal.SIGKILL)
            if turn % 2:
                os.waitpid(child, 0)  # else it is still to be collected while we meet its locks
            assert run(each.address, environment.address, 521288629 + turn, 300, WHICH.index(name)) == 0
            if not turn % 2:
                os.waitpid(child, 0)
        assert run(each.address, environment.address, 5783321, 30_000, WHICH.index(name)) == 0  # meets every lock
    _check(name, each)
