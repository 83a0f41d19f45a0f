"""Programs that hand out events, in replay, in comparisons of engines and in trials."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.errors import InputError, VerificationError
from runtime.loader import load
from tests.support.captures import OWN
from tests.support.commands import run, run_json
from tests.support.sources import as_root, compile_c, needs_clang, open_c
from xdp.compare import compare
from xdp.extension import default_registry
from xdp.offline import replay
from xdp.witness import find_witness

pytestmark = needs_clang

MIXED = OWN / "mixed.pcapng"
EVENTS = """
struct event { __u32 length; __u32 first; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); __type(value, struct event); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } samples SEC(".maps");

SEC("xdp") int tell(struct xdp_md *ctx)
{
    void *at = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct event *made;
    __u64 take = 32;

    if (at + 14 > end)
        return XDP_DROP;
    if (take > end - at)
        take = end - at;
    made = bpf_ringbuf_reserve(&events, sizeof *made, 0);
    if (made) {
        made->length = end - at;
        made->first = *(__u32 *)at;
        if (made->length & 1)
            bpf_ringbuf_discard(made, 0);
        else
            bpf_ringbuf_submit(made, 0);
    }
    return bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | take << 32, &take, 2) ? XDP_ABORTED : XDP_PASS;
}
"""


def test_replay_leaves_events_to_be_read() -> None:
    """After a replay every frame that was long enough has told of itself, with the time of the capture."""
    with open_c(EVENTS) as loaded:
        frames = replay(loaded.programs["tell"], MIXED).verdicts["XDP_PASS"]
        samples = loaded.maps["samples"].face.take()
        lengths = [event.length for event in loaded.maps["events"]]
    assert frames == len(samples) > 10
    assert all(first.time <= second.time for first, second in pairwise(samples))
    assert samples[0].time > 0
    assert lengths
    assert all(length % 2 == 0 for length in lengths)


def test_events_are_dumped_with_the_maps(tmp_path: Path) -> None:
    """`replay --dump-maps` has what nobody read, typed where BTF says what it is."""
    path = tmp_path / "tell.o"
    path.write_bytes(compile_c(EVENTS))
    dumped = tmp_path / "maps.json"
    report = run_json("replay", str(path), str(MIXED), "--dump-maps", str(dumped))
    maps = json.loads(dumped.read_text())
    assert len(maps["samples"]) == report["verdicts"]["XDP_PASS"]
    assert maps["samples"][0].keys() == {"value", "cpu", "index", "timestamp"}
    first = maps["events"][0]
    length = int.from_bytes(bytes(int(each, 16) for each in first["value"][:4]), "little")
    assert first["formatted"]["value"]["length"] == length


@pytest.mark.parametrize("other", ["interpreter", pytest.param("kernel", marks=[pytest.mark.root, as_root])])
def test_engines_are_compared_by_their_events(other: str) -> None:
    """The same records in the same places, also in the kernel; none is left out."""
    data = compile_c(EVENTS)
    found = compare(lambda: load(data, registry=default_registry()), None, [MIXED], engines=("jit", other))
    assert found.difference is None
    assert found.unsettled == {}
    assert {"events", "samples"} <= set(found.maps)


def test_another_record_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that one engine has otherwise is reported by its place."""
    data = compile_c(EVENTS)
    made = []

    def opened() -> object:
        made.append(load(data, registry=default_registry()))
        if len(made) == 2:
            made[-1].programs["tell"].run(bytes(64))
        return made[-1]

    found = compare(opened, None, [MIXED], engines=("jit", "interpreter"))  # type: ignore[arg-type]
    assert found.difference is not None
    assert found.difference.what.startswith("map 'events' at key")


REJECTED = (
    ("made[4] = 1; bpf_ringbuf_submit(made, 0);", "writes 4 bytes past the end of a record of 16"),
    ("made[3] = 1; bpf_ringbuf_submit(made, 0); made[0] = 1;", ""),
    ("bpf_ringbuf_output(&events, made, 20, 0); bpf_ringbuf_submit(made, 0);", "lets bpf_ringbuf_output read 20 bytes where 16 are left"),
)  # fmt: skip


@pytest.mark.parametrize(("code", "harm"), REJECTED, ids=["out of bounds", "given back", "handed over"])
def test_a_witness_knows_where_a_record_ends(code: str, harm: str) -> None:
    """Trials follow reserved records: a store past the end is harm, one inside is not, and after submit it is none any more."""
    data = compile_c(f"""
struct {{ __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); }} events SEC(".maps");
SEC("xdp") int tell(struct xdp_md *ctx)
{{
    volatile __u32 *given = bpf_ringbuf_reserve(&events, 16, 0);
    __u32 *made = (__u32 *)given;

    if (!made)
        return XDP_PASS;
    given[0] = given[1] = given[2] = given[3] = 5;
    {code.replace("made[", "given[")}
    return XDP_PASS;
}}
""")
    with load(data, registry=default_registry()) as loaded:
        with pytest.raises(VerificationError) as caught:
            _ = loaded.program().verified
        witness = find_witness(caught.value, loaded.spec, loaded.registry)
    assert witness is not None
    assert witness.harm
    assert harm in witness.text


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("bpf_ringbuf_output(&table, &key, 4, 0)", "does not take a map of type hash"),
        ("(long)bpf_map_lookup_elem(&events, &key)", "does not allow lookup"),
        ("bpf_perf_event_output(ctx, &events, 0, &key, 4)", "does not take a map of type ringbuf"),
    ],
)
def test_helpers_take_the_maps_that_they_are_for(call: str, why: str) -> None:
    """As the kernel's check of map and helper."""
    text = f"""
struct {{ __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); }} events SEC(".maps");
struct {{ __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u32); }} table SEC(".maps");
SEC("xdp") int tell(struct xdp_md *ctx)
{{
    __u32 key = 1;

    bpf_map_delete_elem(&table, &key);
    bpf_ringbuf_query(&events, 0);
    return {call} != 0;
}}
"""
    with open_c(text) as loaded, pytest.raises(VerificationError, match=why):
        _ = loaded.program().verified


def test_a_program_with_events_is_verified_and_replayed(tmp_path: Path) -> None:
    """From the command line, on both engines."""
    path = tmp_path / "tell.o"
    path.write_bytes(compile_c(EVENTS))
    assert run_json("verify", str(path))[0]["accepted"]
    for engine in ("jit", "interpreter"):
        assert run("replay", str(path), str(MIXED), "--engine", engine).returncode == 0


def test_events_are_not_filled_in(tmp_path: Path) -> None:
    """A file of elements for a map of events is the user's mistake, as an index is."""
    path, entries = tmp_path / "tell.o", tmp_path / "elements.json"
    path.write_bytes(compile_c(EVENTS))
    entries.write_text('[{"key": 1, "value": 2}]')
    done = run("replay", str(path), str(MIXED), "--map", f"events={entries}")
    assert (done.returncode, "holds events, which only programs write" in done.stderr) == (3, True)
    with open_c(EVENTS) as loaded, pytest.raises(InputError, match="for a map that has none"):
        loaded.maps["events"][1] = 2
