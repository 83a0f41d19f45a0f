"""Every example over every capture: the JIT against the kernel and against the interpreter; and differences are seen."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import pytest

from netdev.capture import open_capture
from runtime.loader import LoadedObject
from tests.support.captures import ON_DISK, OWN, SHARED, needs_shared, needs_tshark, seen_by_tshark
from tests.support.sources import EXAMPLES, PROGRAMS, as_root, needs_clang, open_c, open_example
from xdp.compare import Comparison, compare
from xdp.verdict import Verdict

FLOOD: Final = OWN / "syn-flood-mixed.pcap"
MIXED: Final = OWN / "mixed.pcapng"
WRAPPED: Final = frozenset({"mixed-linktypes.pcapng", "many-interfaces.pcapng", "beep-oobr.pcap"})
"""Captures with frames of other link types that can be given an Ethernet header."""
REFUSED: Final = frozenset({"802_15_4-oobr-1.pcap"})
"""Captures whose link type nothing here can make Ethernet of."""
SHORTEST, LONGEST = 14, 3520

CAPTURES: Final = tuple(each for each in ON_DISK if each.name not in REFUSED)
NEVER: Final = SHARED / "*.pcap"
MATRIX: Final = CAPTURES if SHARED.is_dir() else (*CAPTURES, NEVER)


def _capture(path: Path) -> object:
    return pytest.param(path, id=path.name, marks=[needs_shared] if path == NEVER else [])


every_example = pytest.mark.parametrize("example", EXAMPLES)
every_capture = pytest.mark.parametrize("capture", [_capture(path) for path in MATRIX])


def _dos_filter(loaded: LoadedObject) -> None:
    sources = [bytes(parts) for parts in ((192, 0, 2, 80), (10, 0, 0, 1), (172, 16, 0, 8), (66, 59, 111, 190))]
    loaded.maps["blocked"].fill(b"".join(sources), bytes(8 * len(sources)))


def _hash_lookup(loaded: LoadedObject) -> None:
    keys = b"".join(struct.pack("<I", i * 0x9E3779B1 & 0xFFFFFFFF) for i in range(0, 65536, 3))
    loaded.maps["table"].fill(keys, keys + keys)


def _lpm_lookup(loaded: LoadedObject) -> None:
    long = b"".join(struct.pack("<I4B", 24, 10, i >> 8, i & 255, 0) for i in range(0, 10000, 7))
    short = b"".join(struct.pack("<I4B", 16, 10, i, 0, 0) for i in range(0, 39, 2))
    loaded.maps["routes"].fill(long, bytes(len(long) // 2))
    loaded.maps["routes"].fill(short, bytes(len(short) // 2))


def _ipip_encap(loaded: LoadedObject) -> None:
    ends = bytes((10, 1, 1, 1, 10, 2, 2, 2, 2, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 4, 9))
    loaded.maps["tunnel"].update(bytes(4), ends)


FILLED: Final[dict[str, Callable[[LoadedObject], None]]] = {
    "dos_filter": _dos_filter,
    "hash_lookup": _hash_lookup,
    "ipip_encap": _ipip_encap,
    "lpm_lookup": _lpm_lookup,
}


def _opened(example: str) -> LoadedObject:
    loaded = open_example(example)
    if example in FILLED:
        FILLED[example](loaded)
    return loaded


def _compared(example: str, capture: Path, other: str, limit: int | None = None) -> Comparison:
    return compare(
        lambda: _opened(example),
        PROGRAMS.get(example),
        [capture],
        engines=("jit", other),
        limit=limit,
        wrap=capture.name in WRAPPED,
    )


def _frames(capture: Path) -> int:
    opened = open_capture(capture, wrap=capture.name in WRAPPED)
    try:
        return len(opened)
    finally:
        opened.close()


@pytest.mark.root
@as_root
@every_example
@every_capture
def test_the_jit_equals_the_kernel(example: str, capture: Path) -> None:
    """No verdict, no output byte and no map differs from the kernel's, and no frame is left unmentioned."""
    found = _compared(example, capture, "kernel")
    assert found.difference is None
    assert found.frames + sum(found.left_out.values()) == _frames(capture)


@every_example
@every_capture
def test_the_jit_equals_the_interpreter(example: str, capture: Path) -> None:
    """No verdict, no output byte and no map differs from the interpreter's, which takes frames of any length."""
    found = _compared(example, capture, "interpreter", limit=3000)
    assert found.difference is None
    assert not found.left_out
    assert found.frames == min(3000, _frames(capture))


@pytest.mark.root
@as_root
@needs_tshark
@pytest.mark.parametrize("capture", [_capture(path) for path in MATRIX if path.name not in WRAPPED])
def test_frames_that_the_kernel_does_not_take_are_counted_apart(capture: Path) -> None:
    """What is left out for being short or long, and what is compared, is what tshark sees of the capture."""
    lengths = [frame.caplen for frame in seen_by_tshark(capture)]
    found = _compared("pass", capture, "kernel")
    expected = {
        f"shorter than {SHORTEST} bytes": sum(length < SHORTEST for length in lengths),
        f"longer than {LONGEST} bytes": sum(length > LONGEST for length in lengths),
    }
    assert found.left_out == {reason: count for reason, count in expected.items() if count}
    assert found.frames == len(lengths) - sum(expected.values())


@pytest.mark.parametrize("example", ["dos_filter", "dispatcher"])
def test_maps_that_are_no_fair_question_are_named(example: str) -> None:
    """Program arrays are reported as not compared, all other maps as compared."""
    found = _compared(example, MIXED, "interpreter")
    assert {*found.maps, *found.unsettled}.isdisjoint(set(found.maps) & set(found.unsettled))
    with _opened(example) as loaded:
        assert {*found.maps, *found.unsettled} == set(loaded.maps)
    assert ("handlers" in found.unsettled) == (example == "dispatcher")


def _turns(*sides: Callable[[], LoadedObject]) -> Callable[[], LoadedObject]:
    """A `load` whose first call gives one object and whose second the other."""
    waiting = iter(sides)

    def load() -> LoadedObject:
        return next(waiting)()

    return load


def _blocking(*sources: str) -> LoadedObject:
    loaded = open_example("dos_filter")
    for source in sources:
        loaded.maps["blocked"][source] = 0
    return loaded


def test_another_verdict_is_reported_with_its_frame() -> None:
    """The first frame of a source that only one side blocks is named, with both verdicts."""
    source = bytes((192, 0, 2, 80))
    opened = open_capture(FLOOD)
    frames = [batch.frame(i) for batch in opened.batches(100) for i in range(len(batch))][:100]
    opened.close()
    first = next(n for n, frame in enumerate(frames) if frame[26:30] == source)
    found = compare(_turns(_blocking, lambda: _blocking("192.0.2.80")), None, [FLOOD], engines=("jit", "interpreter"))
    assert found.difference is not None
    assert (found.difference.what, found.difference.frame) == ("verdict", first)
    assert found.difference.first == "XDP_PASS (returned 2)"
    assert found.difference.second == "XDP_DROP (returned 1)"


def test_other_map_contents_are_reported_with_the_key() -> None:
    """An element that only one side has is named, after the last frame."""
    found = compare(_turns(_blocking, lambda: _blocking("203.0.113.99")), None, [MIXED], engines=("jit", "interpreter"))
    assert found.difference is not None
    assert (found.difference.what, found.difference.frame) == ("map 'blocked' at key cb 00 71 63", None)
    assert found.difference.first == "no such key"
    assert found.difference.second == "00 00 00 00 00 00 00 00"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the frame of number `when` is treated."""

    when: int = 0
    verdict: int = Verdict.XDP_PASS
    tail: int = 0
    byte: int = 0


DIFFERS = """
volatile struct { __u32 when, verdict; __s32 tail; __u32 byte; } settings = { .verdict = XDP_PASS };
__u32 seen;

SEC("xdp")
int differs(struct xdp_md *ctx)
{
	if (seen++ != settings.when)
		return XDP_PASS;
	bpf_xdp_adjust_tail(ctx, settings.tail);
	void *data = (void *)(long)ctx->data;
	if (data + 14 <= (void *)(long)ctx->data_end)
		((__u8 *)data)[13] ^= settings.byte;
	return settings.verdict;
}
"""


def _differing(settings: Settings) -> LoadedObject:
    loaded = open_c(DIFFERS)
    name = next(name for name in loaded.maps if name.endswith(".data"))
    words = struct.pack("<IIiI", settings.when, settings.verdict, settings.tail, settings.byte)
    loaded.maps[name].update(bytes(4), words)
    return loaded


@needs_clang
@pytest.mark.parametrize(
    ("settings", "what", "first", "second"),
    [
        (Settings(when=300, verdict=99), "verdict", "XDP_PASS (returned 2)", "XDP_ABORTED (returned 99)"),
        (Settings(when=5, byte=1), "bytes from 13 on", "00 ", "01 "),
        (Settings(when=7, tail=8), "length", " bytes", " bytes"),
    ],
    ids=["verdict", "bytes", "length"],
)
@pytest.mark.parametrize("other", ["interpreter", pytest.param("kernel", marks=[pytest.mark.root, as_root])])
def test_a_difference_in_one_frame_names_the_frame(
    settings: Settings, what: str, first: str, second: str, other: str
) -> None:
    """Verdict, bytes and length: the frame's number in the capture, and both answers."""
    load = _turns(lambda: _differing(Settings()), lambda: _differing(settings))
    found = compare(load, None, [FLOOD], engines=("jit", other))
    assert found.difference is not None
    assert found.difference.what == what
    assert found.difference.frame == settings.when
    assert first in found.difference.first
    assert second in found.difference.second
    assert found.difference.first != found.difference.second


@needs_clang
@pytest.mark.root
@as_root
def test_the_frame_number_counts_frames_that_were_left_out() -> None:
    """Runts in front of the differing frame do not shift its number."""
    short = [i for i, frame in enumerate(seen_by_tshark(MIXED)) if frame.caplen < SHORTEST or frame.caplen > LONGEST]
    assert short
    wanted = short[0] + 1
    while wanted in short:
        wanted += 1
    before = sum(number < wanted for number in short)
    load = _turns(lambda: _differing(Settings()), lambda: _differing(Settings(when=wanted - before, verdict=1)))
    found = compare(load, None, [MIXED], engines=("jit", "kernel"))
    assert found.difference is not None
    assert (found.difference.what, found.difference.frame) == ("verdict", wanted)


RANDOM = """
SEC("xdp")
int chance(struct xdp_md *ctx) { return bpf_get_prandom_u32() & 1 ? XDP_PASS : XDP_DROP; }
"""


@needs_clang
def test_random_numbers_are_the_same_on_both_sides() -> None:
    """Programs that draw lots agree on both engines, as both begin with the same seed."""
    found = compare(lambda: open_c(RANDOM), None, [FLOOD], engines=("jit", "interpreter"), seed=7)
    assert found.difference is None


@pytest.mark.root
@as_root
def test_a_comparison_with_the_kernel_gives_the_other_cpus_back() -> None:
    """The kernel runs frames on one CPU; afterwards the process may use all that it was allowed before."""
    before = os.sched_getaffinity(0)
    assert _compared("pass", MIXED, "kernel").difference is None
    assert os.sched_getaffinity(0) == before


def test_a_comparison_stops_at_the_limit_and_loops() -> None:
    """Loops and limits count the frames of all rounds; maps go on from round to round."""
    found = compare(lambda: _opened("parser"), None, [MIXED], engines=("jit", "interpreter"), loop=3, limit=600)
    assert found.difference is None
    assert found.frames == 600
