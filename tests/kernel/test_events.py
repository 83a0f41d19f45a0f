"""Rings of events against the kernel's: the same programs on the same packets, every result, record and head."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from netdev.port import pack
from runtime.errors import MapError
from runtime.loader import LoadedObject
from runtime.maps import HEADER_SIZE, Map, create
from runtime.spec import MapSpec
from tests.support.kernel_maps import KernelMap
from tests.support.sources import as_root, open_c
from xdp.events import EVENT_MAP_KINDS, Event, KernelPerf, KernelRing, events_of
from xdp.hooks import Hook, hook_on
from xdp.hooks.kernel import KernelHook

pytestmark = [pytest.mark.root, as_root]

RING = """
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(".maps");

struct wide { __u64 word[125]; };
struct huge { __u64 word[256]; };

#define KEEP(TYPE, FLAGS, END)                                       \\
    {                                                                \\
        struct TYPE *kept = bpf_ringbuf_reserve(&events, sizeof(struct TYPE), 0); \\
        if (!kept)                                                   \\
            return 77;                                               \\
        kept->word[0] = at[3] * 0x0101010101010101ULL;               \\
        for (int i = 1; i < sizeof(struct TYPE) / 8; i++)            \\
            kept->word[i] = kept->word[i - 1] + i;                   \\
        END(kept, FLAGS);                                            \\
        return 78;                                                   \\
    }

static long pair(__u8 fill)
{
    __u32 *first = bpf_ringbuf_reserve(&events, 12, 0);
    __u32 *second = bpf_ringbuf_reserve(&events, 20, 0);
    long open = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

    if (second) {
        for (int i = 0; i < 5; i++)
            second[i] = fill + i;
        bpf_ringbuf_submit(second, BPF_RB_FORCE_WAKEUP);
    }
    if (first) {
        first[0] = first[1] = first[2] = fill;
        if (fill & 1)
            bpf_ringbuf_discard(first, 0);
        else
            bpf_ringbuf_submit(first, 0);
    }
    return open << 2 | !!first << 1 | !!second;
}

SEC("xdp") int tell(struct xdp_md *ctx)
{
    __u8 *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u8 bytes[256];

    if (at + 300 > end)
        return 0;
    for (int i = 0; i < 256; i++)
        bytes[i] = at[8 + (i & 31)];
    switch (at[0] & 7) {
    case 0: return bpf_ringbuf_output(&events, bytes, at[1], at[2] & 3);
    case 1: return bpf_ringbuf_output(&events, bytes, at[1], at[2]);
    case 2: KEEP(wide, at[2] & 3, bpf_ringbuf_submit)
    case 3: KEEP(wide, 0, bpf_ringbuf_discard)
    case 4: KEEP(huge, 0, bpf_ringbuf_submit)
    case 5: return bpf_ringbuf_query(&events, at[1] & 7);
    case 6: return pair(at[3]);
    }
    void *none = bpf_ringbuf_reserve(&events, 8, at[1]);
    if (none)
        bpf_ringbuf_discard(none, 0);
    return none ? 1 : 2;
}
"""

PERF = """
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 3); }
    events SEC(".maps");

SEC("xdp") int tell(struct xdp_md *ctx)
{
    __u8 *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u8 bytes[256];
    __u64 flags = BPF_F_CURRENT_CPU;

    if (at + 300 > end)
        return 0;
    for (int i = 0; i < 256; i++)
        bytes[i] = at[8 + (i & 31)];
    switch (at[0] & 7) {
    case 0: flags |= (__u64)at[2] << 32; break;
    case 1: flags |= 0x10000ULL << 32; break;
    case 2: flags |= 1ULL << 63; break;
    case 3: flags = at[3] & 3; break;
    case 4: flags |= 301ULL << 32; break;
    case 5: flags |= 299ULL << 32; break;
    }
    return bpf_perf_event_output(ctx, &events, flags, bytes, at[1]);
}
"""


@contextmanager
def _both(text: str, engine: str) -> Iterator[tuple[Any, LoadedObject, KernelHook]]:
    """The program on our engine, and in the kernel."""
    with ExitStack() as stack:
        loaded = stack.enter_context(open_c(text, engine))
        ours: Hook = hook_on(loaded.program(), engine)
        stack.callback(ours.close)
        theirs = KernelHook(loaded.program())
        stack.callback(theirs.close)
        yield ours, loaded, theirs


def _packets(draw: random.Random, count: int) -> list[bytes]:
    return [draw.randbytes(300) for _ in range(count)]


def _run(ours: Any, theirs: KernelHook, packets: Sequence[bytes]) -> None:
    """Both run the packets, with the same results."""
    batch = pack(packets, timestamps=range(len(packets)))
    assert ours.run(batch, checked=True).returned.tolist() == theirs.run(batch).returned.tolist()


def _heads(raw: Map) -> list[bytes]:
    """The heads of unread records as they lie in our memory."""
    view, room = raw.arena.view, raw.spec.max_entries
    position, end = raw.arena.word(HEADER_SIZE + 4096), raw.arena.word(HEADER_SIZE + 8192)
    found = []
    while position < end:
        at = HEADER_SIZE + 3 * 4096 + (position & room - 1)
        found.append(bytes(view[at : at + 8]))
        position += (int.from_bytes(found[-1][:4], "little") & (1 << 30) - 1) + 15 & ~7
    return found


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
@pytest.mark.parametrize("seed", range(3))
def test_a_ring_buffer_is_the_kernels_byte_for_byte(engine: str, seed: int) -> None:
    """Output, reservations, discards, queries, full rings and records across the end: the same results, records and heads."""
    draw = random.Random(seed)
    wrapped = refused = 0
    with _both(RING, engine) as (ours, loaded, theirs):
        events, ring = events_of(loaded.maps["events"]), theirs.ring("events")
        assert isinstance(ring, KernelRing)
        for _ in range(40):
            _run(ours, theirs, _packets(draw, draw.randrange(1, 12)))
            assert _heads(loaded.maps["events"]) == ring.headers()
            assert events.peek() == ring.records()
            if draw.random() < 0.6:
                found = events.take()
                assert found == ring.records(take=True)
                wrapped += any(each.position // 4096 != (each.position + 8 + len(each.data)) // 4096 for each in found)
            refused = events.lost
    assert wrapped
    assert refused


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
@pytest.mark.parametrize("seed", range(3))
def test_perf_events_are_the_kernels(engine: str, seed: int) -> None:
    """Flags, packet bytes, indices, full rings and what was lost: the same results, and the same records but for padding."""
    draw = random.Random(seed)
    lost = 0

    def settled(found: Sequence[Event]) -> list[tuple[object, ...]]:
        return [
            (each.data[: max(0, len(each.data) - 7)], len(each.data), each.position, each.index, each.lost)
            for each in found
        ]

    with _both(PERF, engine) as (ours, loaded, theirs):
        events, rings = events_of(loaded.maps["events"]), theirs.ring("events")
        assert isinstance(rings, KernelPerf)
        for turn in range(25):
            _run(ours, theirs, _packets(draw, draw.randrange(40, 80)))
            assert settled(events.peek()) == settled(rings.records())
            if turn % 12 == 10:
                found = events.take()
                assert settled(found) == settled(rings.records(take=True))
                lost += sum(each.lost for each in found)
        assert lost
        assert events.lost >= lost


SHAPES = [
    *((27, 0, 0, entries, 0) for entries in (0, 1, 2048, 4095, 4096, 6144, 8192, 12288, 1 << 16)),
    *((27, key, value, 4096, 0) for key, value in ((4, 0), (0, 4), (4, 4))),
    *((27, 0, 0, 4096, 1 << bit) for bit in range(13) if bit not in (2, 7)),  # but for NUMA nodes
    *((4, key, value, 2, 0) for key, value in ((4, 4), (4, 8), (8, 4), (0, 4), (4, 0), (0, 0))),
    *((4, 4, 4, entries, 0) for entries in (0, 1, 3, 100)),
    *((4, 4, 4, 2, 1 << bit) for bit in range(13) if bit not in (2, 7)),
    (4, 4, 4, 2, 1 << 3 | 1 << 4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_maps_are_made_where_the_kernel_makes_them(shape: tuple[int, int, int, int, int]) -> None:
    """Sizes and flags: both make the map, or both fail with the same errno."""
    kind, key, value, entries, flags = shape
    spec = MapSpec(name="m", kind=kind, key_size=key, value_size=value, max_entries=entries, flags=flags)
    row = next(each for each in EVENT_MAP_KINDS if each.id == kind)
    outcomes = []
    for make in (
        lambda: create(spec, row, cpus=2).close(),
        lambda: os.close(KernelMap(spec, cpus=2, per_cpu=False).fd),
    ):
        try:
            make()
            outcomes.append(0)
        except MapError as error:
            outcomes.append(error.errno)
    assert outcomes[0] == outcomes[1]
