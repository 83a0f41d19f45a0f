"""Natives of helpers, under Python and as machine code."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.engine.environment import Environment
from runtime.helpers import CORE_HELPERS
from runtime.native import memory
from runtime.native.library import library
from runtime.spec import ClockMode, Env

EINVAL = -22
NATIVES = {row.name: row.native for row in CORE_HELPERS if row.native is not None}

Run = Callable[..., int]


@pytest.fixture(params=["python", "compiled"])
def run(request: pytest.FixtureRequest) -> Run:
    """A function that calls a helper by name."""
    compiled = library(NATIVES.values())

    def call(name: str, *words: int) -> int:
        native = NATIVES[name]
        return native(*words) if request.param == "python" else compiled[native](*words)

    return call


@pytest.fixture
def environment() -> Iterator[Environment]:
    """A worker on CPU 3 with seed 5."""
    made = Environment(cpu=3, seed=5)
    yield made
    made.close()


class Bytes:
    """Bytes at an address that natives may read."""

    def __init__(self, data: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(data, max(len(data), 1))
        self.address = ctypes.addressof(self._buffer)
        memory.register(self.address, len(self._buffer), self._buffer)

    def __enter__(self) -> int:
        return self.address

    def __exit__(self, *_: object) -> None:
        memory.unregister(self.address)


def test_clocks_show_the_packet_or_the_machine(run: Run, environment: Environment) -> None:
    """In packet mode every clock is the packet's; in wall mode they are the system's."""
    clocks = {
        "ktime_get_ns": time.CLOCK_MONOTONIC,
        "ktime_get_boot_ns": time.CLOCK_BOOTTIME,
        "ktime_get_coarse_ns": time.CLOCK_MONOTONIC,
        "ktime_get_tai_ns": time.CLOCK_TAI,
    }
    environment[Env.CLOCK] = 1_700_000_000_000_000_007
    assert {run(name, environment.address) for name in clocks} == {1_700_000_000_000_000_007}
    environment[Env.CLOCK_MODE] = ClockMode.WALL
    for name, clock in clocks.items():
        assert abs(run(name, environment.address) - time.clock_gettime_ns(clock)) < 10_000_000_000


def test_random_numbers_follow_from_the_seed(run: Run, environment: Environment) -> None:
    """The sequence is that of xorshift64*, the same for the same seed; all 32 bits occur."""
    state = environment[Env.RANDOM]
    seen = 0
    for _ in range(64):
        state ^= state >> 12
        state = (state ^ state << 25) & (1 << 64) - 1
        state ^= state >> 27
        wanted = (state * 0x2545F4914F6CDD1D & (1 << 64) - 1) >> 32
        assert run("get_prandom_u32", environment.address) == wanted
        seen |= wanted
    assert seen == 0xFFFFFFFF


def test_a_worker_knows_where_it_runs(run: Run, environment: Environment) -> None:
    """The CPU number is the environment's, and there is one node."""
    assert run("get_smp_processor_id", environment.address) == 3
    assert run("get_numa_node_id", environment.address) == 0


@pytest.mark.parametrize(
    ("text", "arguments", "printed"),
    [
        (b"plain\0", (), "plain\n"),
        (b"line\n\0", (), "line\n"),
        (b"\0", (), "\n"),
        (b"%d %u %x\0", (-1, -1, 255), "-1 4294967295 ff\n"),
        (b"%ld %lu %llx\0", (-1, -1, -1), "-1 18446744073709551615 ffffffffffffffff\n"),
        (b"%i|%X|%c\0", (1 << 32, 0xAB, 65), "0|AB|A\n"),
        (b"[%5d] [%-5d] [%05d]\0", (-42, -42, -42), "[  -42] [-42  ] [-0042]\n"),
        (b"[%3c] [%-3c] 100%%\0", (65, 66), "[  A] [B  ] 100%\n"),
        (b"%p %s\0", (0x1234, 0xABC), "0000000000001234 0000000000000abc\n"),
        (b"%lld\0", (-(1 << 63),), "-9223372036854775808\n"),
        (b"cut\0off", (), "cut\n"),
    ],
)
def test_messages_are_formatted(
    run: Run, environment: Environment, text: bytes, arguments: tuple[int, ...], printed: str
) -> None:
    """trace_printk prints what printf would, ends the line, and returns the length."""
    words = (*arguments, 0, 0, 0)[:3]
    with Bytes(text) as at:
        length = run("trace_printk", environment.address, at, len(text), *words)
    assert environment.printed().decode() == printed
    assert length == len(printed) - (not text.startswith(b"line"))


@pytest.mark.parametrize(
    "text", [b"%d", b"unterminated", b"%y\0", b"%d%d%d%d\0", b"%\0", b"\xff\0", b"\x01\0", b"%lll\0", b"%.3d\0"]
)
def test_bad_formats_print_nothing(run: Run, environment: Environment, text: bytes) -> None:
    """Formats that Linux refuses give -EINVAL and leave the ring as it was."""
    with Bytes(text) as at:
        assert run("trace_printk", environment.address, at, len(text), 0, 0, 0) == EINVAL
    assert environment.printed() == b""


def test_the_ring_goes_round(run: Run, environment: Environment) -> None:
    """The ring keeps the last bytes; without a ring messages are only counted."""
    with Bytes(b"%d %64d\0") as at:
        for number in range(2000):
            run("trace_printk", environment.address, at, 8, number, 0, 0)
        lines = environment.printed().decode().splitlines()
        assert lines[-1].split() == ["1999", "0"]
        environment[Env.PRINTK] = 0
        assert run("trace_printk", environment.address, at, 8, 1, 0, 0) == 66


@pytest.mark.parametrize(
    ("first", "size", "second", "result"),
    [
        (b"abc", 3, b"abc\0", 0),
        (b"abc", 3, b"abd\0", -1),
        (b"abd", 3, b"abc\0", 1),
        (b"ab\0x", 4, b"ab\0y", 0),
        (b"abc", 2, b"abz\0", 0),
        (b"\xff", 1, b"a\0", 1),
    ],
)
def test_strings_are_compared(run: Run, first: bytes, size: int, second: bytes, result: int) -> None:
    """Comparing reads at most `size` bytes, as unsigned numbers, up to the terminator."""
    with Bytes(first) as a, Bytes(second) as b:
        assert run("strncmp", 0, a, size, b) == result


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "little") for at in range(0, len(data), 2))
    return total % 0xFFFF


@given(old=st.binary(max_size=64), new=st.binary(max_size=64), seed=st.integers(0, 0xFFFFFFFF))
def test_checksums_are_differences(old: bytes, new: bytes, seed: int) -> None:
    """csum_diff is seed + new - old in ones' complement, whatever the sizes."""
    native = NATIVES["csum_diff"]
    with Bytes(old) as a, Bytes(new) as b:
        got = native(0, a if old else 0, len(old), b if new else 0, len(new), seed)
    assert 0 <= got <= 0xFFFF
    assert got % 0xFFFF == (seed + _sum(new) - _sum(old)) % 0xFFFF


def test_a_checksum_can_be_repaired(run: Run) -> None:
    """The use in programs: from a header's old checksum and a changed word, the new checksum."""
    header = bytearray(bytes.fromhex("45000073000040004011b861c0a80001c0a800c7"))
    with Bytes(bytes(header[16:20])) as old, Bytes(bytes([10, 1, 2, 3])) as new:
        difference = run("csum_diff", 0, old, 4, new, 4, 0)
    folded = difference + (int.from_bytes(header[10:12], "little") ^ 0xFFFF)
    repaired = (folded + (folded >> 16) & 0xFFFF) ^ 0xFFFF
    header[16:20] = bytes([10, 1, 2, 3])
    header[10:12] = repaired.to_bytes(2, "little")
    assert _sum(bytes(header)) % 0xFFFF == 0
