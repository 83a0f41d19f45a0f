"""Events as Python reads them: typed, waited for, from other processes, and what goes wrong."""

from __future__ import annotations

import os
import threading
from errno import E2BIG, EBADF, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import InputError, MapError
from runtime.maps import attach, create
from runtime.spec import MapSpec
from tests.support.events import KINDS, Producer, perf_spec, produced, ring_spec
from tests.support.maps import KINDS as MAPPINGS
from tests.support.maps import spec_of
from tests.support.sources import needs_clang, open_c
from xdp.events import EVENT_MAP_KINDS, Event, events_of

TYPED = """
struct event { __u32 length; __u16 protocol; __u16 port; __u64 when; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 5000); __type(value, struct event); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(value, struct event); } samples SEC(".maps");

SEC("xdp") int tell(struct xdp_md *ctx)
{
    struct event made = { .length = ctx->data_end - ctx->data, .protocol = 7, .port = 8, .when = bpf_ktime_get_ns() };

    bpf_ringbuf_output(&events, &made, sizeof made, 0);
    bpf_ringbuf_output(&events, &made, 4, 0);
    bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &made, sizeof made);
    bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | 4ULL << 32, &made, 1);
    return XDP_PASS;
}
"""


@needs_clang
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_events_are_typed_by_btf(engine: str) -> None:
    """What has the size of the struct is the struct, in both kinds; anything else is bytes."""
    with open_c(TYPED, engine) as loaded:
        loaded.programs["tell"].run(bytes(range(64)))
        whole, part = loaded.maps["events"]
        assert (whole.length, whole.protocol, whole.port) == (64, 7, 8)
        assert part == (64).to_bytes(4, "little")
        sample, bare = loaded.maps["samples"]
        assert sample == whole
        assert bare[:5] == bytes([64, 0, 1, 2, 3])
        assert list(loaded.maps["events"]) == []


@needs_clang
def test_definitions_are_completed_as_loaders_do() -> None:
    """A ring gets the next size that there is, a perf event array a slot for each CPU, and a type of values is no size."""
    with open_c(TYPED) as loaded:
        ring, samples = loaded.maps["events"].spec, loaded.maps["samples"].spec
        assert (ring.max_entries, ring.key_size, ring.value_size) == (8192, 0, 0)
        assert (samples.max_entries, samples.key_size, samples.value_size) == (loaded.maps["samples"].cpus, 4, 4)


@needs_clang
def test_another_process_reads_them_typed(tmp_path: Path) -> None:
    """Whoever opens the map by its file gets the same events with the same types, and takes them away."""
    with open_c(TYPED) as loaded:
        loaded.programs["tell"].run(bytes(64))
        there = Path(f"/proc/{os.getpid()}/fd/{loaded.maps['events'].arena.fd}")
        with attach(there, EVENT_MAP_KINDS) as opened:
            assert next(iter(opened)).protocol == 7
        assert len(loaded.maps["events"]) == 0


@pytest.mark.parametrize(
    ("room", "flags", "sizes"),
    [(0, 0, (0, 0)), (2048, 0, (0, 0)), (12288, 0, (0, 0)), (4096, 1, (0, 0)), (4096, 0, (4, 0)), (4096, 0, (0, 8))],
)
def test_shapes_that_no_ring_has(room: int, flags: int, sizes: tuple[int, int]) -> None:
    """Sizes that are no power of two of pages, flags, keys and values: EINVAL."""
    spec = MapSpec(name="r", kind=27, key_size=sizes[0], value_size=sizes[1], max_entries=room, flags=flags)
    with pytest.raises(MapError) as caught:
        create(spec, KINDS["ringbuf"], cpus=1)
    assert caught.value.errno == EINVAL


@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
def test_nothing_is_looked_up_in_a_ring(compiled: bool) -> None:
    """The operations of mappings answer as the kernel does: 524."""
    with produced(ring_spec(), compiled=compiled) as (raw, _):
        for act in (lambda: raw.lookup(b""), lambda: raw.update(b"", b""), lambda: raw.delete(b""), raw.next_key):
            with pytest.raises(MapError) as caught:
                act()
            assert caught.value.errno == 524


@pytest.mark.parametrize("flags", [0, 1, 2], ids=["by itself", "no wake-up", "forced"])
def test_a_reader_that_waits_gets_what_comes(flags: int) -> None:
    """A blocked poll ends when a record is submitted, whatever its wake-up flags."""
    with produced(ring_spec()) as (raw, producer):
        got: list[Any] = []
        reader = threading.Thread(target=lambda: got.extend(raw.face.poll()), daemon=True)
        reader.start()
        while (
            raw.arena.word(8192) >> 32 == 0 and reader.is_alive()
        ):  # until it counts as a waiter, if it is not yet done
            pass
        assert producer.output(b"now", flags) == 0
        reader.join(60)
        assert got == [b"now"]
        assert raw.face.poll(0) == []


def test_following_ends_when_nothing_comes() -> None:
    """Values as they are, in their order; then the time is over."""
    with produced(ring_spec()) as (raw, producer):
        for each in (b"a", b"b", b"c"):
            assert producer.output(each) == 0
        assert list(raw.face.follow(0.01)) == [b"a", b"b", b"c"]


def test_a_loop_that_is_left_loses_nothing() -> None:
    """What was taken ahead comes first the next time, whichever call that is."""
    with produced(ring_spec()) as (raw, producer):
        for each in (b"a", b"b", b"c", b"d"):
            assert producer.output(each) == 0
        assert next(iter(raw)) == b"a"
        assert next(raw.face.follow(0)) == b"b"
        assert [each.data for each in raw.face.peek()] == [b"c", b"d"]
        assert raw.face.poll(0) == [b"c", b"d"]


@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
def test_looking_takes_nothing_away(compiled: bool) -> None:
    """Peek and len leave all records, also of rings that hold more than one chunk, and long ones."""
    room = 1 << 20
    with produced(ring_spec(room), compiled=compiled) as (raw, producer):
        sizes = [0, 5, 70_000, 100_000, 100_000, 100_000, 100_000, 3]
        for size in sizes:
            assert producer.output(bytes([size & 255]) * size) == 0
        for _ in range(2):
            assert [len(each.data) for each in events_of(raw).peek()] == sizes
            assert len(raw) == len(sizes)
        assert [len(each) for each in raw] == sizes


def test_a_record_longer_than_a_chunk_is_read() -> None:
    """The buffer grows for it."""
    with produced(ring_spec(1 << 20)) as (raw, producer):
        record = producer.reserve(600_000)
        producer.fill(record, b"x" * 600_000)
        producer.submit(record)
        assert [len(each) for each in raw] == [600_000]


@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
def test_a_slot_takes_events_of_its_cpu(compiled: bool) -> None:
    """Another CPU's slot, one of no CPU, and an index out of range are refused, as with libbpf's set-up; unless a reader asked."""
    with produced(perf_spec(3), compiled=compiled, cpu=1) as (raw, producer):
        assert producer.event(b"mine") == 0
        assert [producer.event(b"x", index) for index in (0, 1, 2, 3)] == [-EOPNOTSUPP, 0, -ENOENT, -E2BIG]
        assert producer.event(b"x", 1 << 32) == -EINVAL
        events_of(raw).assign(2, 1)
        assert producer.event(b"asked", 2) == 0
        events_of(raw).assign(2, None)
        found = events_of(raw).take()
        assert [(each.data[:5].rstrip(b"\0"), each.cpu, each.index) for each in found] == [
            (b"mine", 1, 1), (b"x", 1, 1), (b"asked", 2, 2)
        ]  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True], ids=["python", "compiled"])
def test_lost_events_are_counted_and_told(compiled: bool) -> None:
    """A full slot refuses; when there is room again, a record says how many were lost, in its place."""
    with produced(perf_spec(), compiled=compiled) as (raw, producer):
        taken = 0
        while producer.event(bytes(1000)) == 0:
            taken += 1
        assert producer.event(bytes(1000)) == -ENOSPC
        assert len(raw) == taken
        assert len(list(raw)) == taken
        assert producer.event(b"again") == 0
        lost, again = events_of(raw).take()
        assert lost == Event(data=b"", position=lost.position, lost=2)
        assert again.data.startswith(b"again")
        assert events_of(raw).lost == 2


def test_events_longer_than_a_record_can_be_are_refused() -> None:
    """The kernel's length field has 16 bits."""
    with produced(perf_spec()) as (raw, producer):
        assert producer.event(bytes(65_000)) == 0
        assert producer.event(bytes(65_530)) == -E2BIG
        assert [len(each) for each in raw] == [65_004]


def test_a_ring_whose_words_make_no_sense_is_told() -> None:
    """A record that reaches past the producers' position is damage, not data."""
    with produced(ring_spec()) as (raw, producer):
        assert producer.output(b"fine") == 0
        raw.arena.view[8192 + 3 * 4096 : 8192 + 3 * 4096 + 4] = (100_000).to_bytes(4, "little")
        with pytest.raises(MapError, match="damaged"):
            list(raw)
        # nor is one that is longer than the ring, wherever producers say they are
        raw.arena.set_word(8192 + 8192, 1 << 40)
        with pytest.raises(MapError, match="damaged"):
            list(raw)


def test_maps_of_elements_hold_no_events() -> None:
    """Asking a hash for events is the user's mistake; a closed ring says so."""
    with (
        create(spec_of("hash", 4, 4, 4), MAPPINGS["hash"], cpus=1) as raw,
        pytest.raises(InputError, match="no events"),
    ):
        events_of(raw)
    with produced(ring_spec()) as (raw, producer):
        assert isinstance(producer, Producer)
        raw.close()
        with pytest.raises(MapError) as caught:
            list(raw)
        assert caught.value.errno == EBADF
