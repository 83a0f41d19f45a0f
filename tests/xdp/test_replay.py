"""Replay held against tshark, against running each frame by itself, and against the five lines of the README."""

from __future__ import annotations

import json
import time
from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

import runtime
import xdp
from netdev.capture import open_capture
from netdev.errors import CaptureError
from runtime.errors import InputError, VerificationError
from tests.support.captures import OWN, ROOT, needs_tshark, pcap, record, seen_by_tshark
from tests.support.sources import PROGRAMS, as_root, needs_clang, open_c, open_example
from xdp.verdict import Verdict

FLOOD: Final = OWN / "syn-flood-mixed.pcap"
DNS: Final = OWN / "dns-amplification.pcap"
MIXED: Final = OWN / "mixed.pcapng"
SESSIONS: Final = OWN / "sessions.pcap"
NAMES: Final = tuple(each.name for each in Verdict)

every_engine = pytest.mark.parametrize(
    "engine", ["jit", "interpreter", pytest.param("kernel", marks=[pytest.mark.root, as_root])]
)


def _program(name: str) -> Any:
    loaded = open_example(name)
    return loaded.programs[loaded.program(PROGRAMS.get(name)).name]


def _frames(path: Path) -> list[bytes]:
    opened = open_capture(path)
    try:
        return [batch.frame(i) for batch in opened.batches(1000) for i in range(len(batch))]
    finally:
        opened.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _packet(source: str = "10.0.0.1") -> Any:
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=source, dst="10.0.0.2") / UDP() / (b"q" * 9)


def test_the_five_lines_of_the_readme() -> None:
    """Load, choose a program, run one packet, replay a capture, block a source: each line works as it is written."""
    packet_bytes = bytes(_packet())
    obj = runtime.load(ROOT / "examples" / "dos_filter.o", registry=xdp.default_registry())
    program = obj.programs["xdp_filter"]
    result = program.run(packet_bytes)
    assert (result.verdict, result.data) == (xdp.Verdict.XDP_PASS, packet_bytes)
    report = xdp.replay(program, FLOOD)
    assert report.verdicts["XDP_DROP"] > 0
    obj.maps["blocked"][IPv4Address("10.0.0.1")] = 1
    assert program.run(packet_bytes).verdict is xdp.Verdict.XDP_DROP
    assert obj.maps["blocked"][IPv4Address("10.0.0.1")] == 2
    assert program.run(bytes(_packet("10.0.0.3"))).verdict is xdp.Verdict.XDP_PASS
    obj.close()


def test_a_capture_is_named_as_a_string_too() -> None:
    """A capture and an object may be given as text, as the README does."""
    obj = runtime.load(str(ROOT / "examples" / "pass.o"), registry=xdp.default_registry())
    assert xdp.replay(obj.programs["xdp_pass"], str(SESSIONS)).captures == (str(SESSIONS),)


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_scapy_packets_go_in_and_come_out(engine: str) -> None:
    """A packet built with scapy is run as its bytes, and the answer can be read as a packet."""
    ping = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=7)
    result = _program("reflector").run(ping, engine=engine)
    assert result.verdict is Verdict.XDP_TX
    assert result.data == _program("reflector").run(bytes(ping)).data
    assert (result.packet[IP].src, result.packet[IP].dst, result.packet[ICMP].type) == ("10.0.0.2", "10.0.0.1", 0)
    assert result.packet[Ether].dst == "02:00:00:00:00:01"


@needs_tshark
@pytest.mark.parametrize("capture", [FLOOD, DNS, MIXED, SESSIONS], ids=lambda path: path.name)
def test_packets_and_bytes_are_what_tshark_counts(capture: Path) -> None:
    """The report's frames and captured bytes are tshark's; verdicts add up to the frames."""
    truth = seen_by_tshark(capture)
    report = xdp.replay(_program("parser"), capture)
    assert (report.packets, report.bytes) == (len(truth), sum(each.caplen for each in truth))
    assert sum(report.verdicts.values()) == report.packets
    assert tuple(report.verdicts) == NAMES
    assert report.captures == (str(capture),)
    assert (report.skipped, report.damage) == (0, ())
    assert 0 < report.run_ns <= report.elapsed_ns


@every_engine
@pytest.mark.parametrize("example", ["reflector", "ipip_encap", "pass", "dispatcher"])
def test_verdicts_and_changed_frames_are_those_of_single_runs(example: str, engine: str) -> None:
    """The counts of a replay are those of running each frame by itself; the kernel counts what it cannot run apart."""
    frames = [frame for frame in _frames(MIXED) if engine != "kernel" or 14 <= len(frame) <= 3520]
    single = _program(example)
    results = [single.run(frame) for frame in frames]
    counts = Counter(result.verdict.name for result in results)
    report = xdp.replay(_program(example), MIXED, engine=engine)
    assert report.engine == engine
    assert report.verdicts == {name: counts[name] for name in NAMES}
    assert report.modified == sum(result.data != frame for result, frame in zip(results, frames, strict=True))
    assert report.packets == len(frames)
    assert report.packets + report.skipped == len(_frames(MIXED))


def test_changed_frames_are_counted_alike_with_and_without_outputs(tmp_path: Path) -> None:
    """Frames that are kept for outputs and frames in one slot that is used again give the same report."""
    bare = xdp.replay(_program("ipip_encap"), FLOOD)
    kept = xdp.replay(_program("ipip_encap"), FLOOD, verdicts=tmp_path / "v.jsonl")
    assert (bare.verdicts, bare.modified, bare.bytes) == (kept.verdicts, kept.modified, kept.bytes)
    assert bare.modified == bare.verdicts["XDP_TX"] > 0


def test_loops_and_limits_count_all_rounds() -> None:
    """A loop replays everything again, a limit ends it in the middle of a round, several captures follow one another."""
    once = len(_frames(MIXED))
    assert xdp.replay(_program("pass"), MIXED, loop=3).packets == 3 * once
    assert xdp.replay(_program("pass"), MIXED, loop=3, limit=2 * once + 5).packets == 2 * once + 5
    assert xdp.replay(_program("pass"), MIXED, limit=10 * once).packets == once
    both = xdp.replay(_program("pass"), [MIXED, SESSIONS], limit=once + 1)
    assert both.packets == once + 1
    assert both.bytes == sum(map(len, _frames(MIXED))) + len(_frames(SESSIONS)[0])
    assert both.captures == (str(MIXED), str(SESSIONS))


def test_progress_is_told_up_to_the_end() -> None:
    """The callback hears of rising counts of the same total, the last of them the total."""
    told: list[tuple[int, int]] = []
    report = xdp.replay(_program("pass"), FLOOD, loop=2, progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {total for _, total in told} == {report.packets}
    assert told[-1][0] == report.packets


@needs_tshark
def test_the_timeline_is_a_histogram_of_the_captures_times() -> None:
    """Every bin holds as many frames as tshark sees in its span, and the bins cover the capture."""
    times = np.array([each.timestamp for each in seen_by_tshark(FLOOD)], np.int64)
    report = xdp.replay(_program("pass"), FLOOD, timeline=True)
    line = report.timeline
    assert line is not None
    assert line.start_ns == times.min()
    assert line.start_ns + line.width_ns * line.counts.shape[1] > times.max()
    expected = np.bincount((times - line.start_ns) // line.width_ns, minlength=line.counts.shape[1])
    assert (line.counts[Verdict.XDP_PASS] == expected).all()
    assert line.counts.sum() == report.packets


def test_the_timeline_tells_verdicts_apart(tmp_path: Path) -> None:
    """Each verdict's row is the histogram of the frames that got it, as the file of verdicts lists them."""
    report = xdp.replay(_program("dns_amp"), DNS, timeline=True, verdicts=tmp_path / "v.jsonl")
    line = report.timeline
    assert line is not None
    for verdict in Verdict:
        times = [each["ts_ns"] for each in _lines(tmp_path / "v.jsonl") if each["verdict"] == verdict.name]
        bins = Counter((each - line.start_ns) // line.width_ns for each in times)
        assert {bin_: int(count) for bin_, count in enumerate(line.counts[verdict]) if count} == dict(bins)
    assert xdp.replay(_program("dns_amp"), DNS).timeline is None


CLOCK: Final = """
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4096); __type(key, __u32); __type(value, __u64); }
	times SEC(".maps");
__u32 at;

SEC("xdp")
int clock(struct xdp_md *ctx)
{
	__u32 key = at++;
	__u64 now = bpf_ktime_get_ns();
	bpf_map_update_elem(&times, &key, &now, BPF_ANY);
	return XDP_PASS;
}
"""


@needs_clang
@needs_tshark
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_the_clock_is_the_captures(engine: str) -> None:
    """With the clock "packet", bpf_ktime_get_ns is each frame's own time, to the nanosecond."""
    truth = [each.timestamp for each in seen_by_tshark(DNS)]
    with open_c(CLOCK) as loaded:
        xdp.replay(loaded.programs["clock"], DNS, engine=engine)
        assert [loaded.maps["times"][i] for i in range(len(truth))] == truth


@needs_clang
def test_the_clock_is_the_machines_when_asked() -> None:
    """With the clock "wall", bpf_ktime_get_ns goes on from frame to frame between the moments around the replay."""
    with open_c(CLOCK) as loaded:
        before = time.monotonic_ns()
        report = xdp.replay(loaded.programs["clock"], DNS, clock="wall")
        after = time.monotonic_ns()
        times = [loaded.maps["times"][i] for i in range(report.packets)]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after


CHANCE: Final = """
SEC("xdp")
int chance(struct xdp_md *ctx) { return 1 + bpf_get_prandom_u32() % 3; }
"""


@needs_clang
def test_a_seed_gives_the_same_run_again(tmp_path: Path) -> None:
    """The same seed gives the same verdict for each frame, on every engine; another seed gives others."""
    runs = {}
    for name, seed, engine in (("a", 5, "jit"), ("b", 5, "jit"), ("c", 5, "interpreter"), ("d", 6, "jit")):
        with open_c(CHANCE) as loaded:
            xdp.replay(loaded.programs["chance"], MIXED, seed=seed, engine=engine, verdicts=tmp_path / name)
        runs[name] = (tmp_path / name).read_bytes()
    assert runs["a"] == runs["b"] == runs["c"] != runs["d"]
    counts = Counter(line["retval"] for line in _lines(tmp_path / "a"))
    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > len(_frames(MIXED)) // 6


CONTEXT: Final = """
SEC("xdp")
int where(struct xdp_md *ctx) { return ctx->ingress_ifindex == 4294967295u && ctx->rx_queue_index == 9 ? 1 : 2; }
"""


@needs_clang
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_programs_see_the_interface_and_the_queue_that_were_asked_for(engine: str) -> None:
    """Interface index and queue number reach the context, whole."""
    with open_c(CONTEXT) as loaded:
        program = loaded.programs["where"]
        asked = xdp.replay(program, MIXED, engine=engine, ifindex=0xFFFFFFFF, queue=9)
        assert asked.verdicts["XDP_DROP"] == asked.packets
        assert xdp.replay(program, MIXED, engine=engine).verdicts["XDP_PASS"] == asked.packets


@needs_clang
@every_engine
@pytest.mark.parametrize("returned", [5, 255, 0x80000001, 0xFFFFFFFF])
def test_what_is_no_verdict_aborts(returned: int, engine: str, tmp_path: Path) -> None:
    """Return values outside the five actions count as XDP_ABORTED, and the file of verdicts keeps the value."""
    text = f'SEC("xdp") int odd(struct xdp_md *ctx) {{ return {returned:#x}; }}'
    with open_c(text) as loaded:
        report = xdp.replay(loaded.programs["odd"], SESSIONS, engine=engine, limit=5, verdicts=tmp_path / "v")
        assert loaded.programs["odd"].run(bytes(60)).returned == returned
    assert report.verdicts["XDP_ABORTED"] == 5
    assert {(line["verdict"], line["retval"]) for line in _lines(tmp_path / "v")} == {("XDP_ABORTED", returned)}


def test_a_capture_without_frames_gives_an_empty_report(tmp_path: Path) -> None:
    """No frame: all counts are zero, the rates too, and the timeline is empty."""
    (tmp_path / "empty.pcap").write_bytes(pcap())
    report = xdp.replay(_program("parser"), tmp_path / "empty.pcap", timeline=True)
    assert (report.packets, report.bytes, report.modified) == (0, 0, 0)
    assert set(report.verdicts.values()) == {0}
    assert report.ns_per_packet == 0.0
    assert report.packets_per_second == 0
    assert report.timeline is not None
    assert report.timeline.counts.sum() == 0


def test_damage_is_told_and_what_is_good_is_used(tmp_path: Path) -> None:
    """Frames before a damaged record are replayed, and the report says which file is damaged."""
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap(record(bytes(60)), record(bytes(61)))[:-10])
    report = xdp.replay(_program("parser"), path)
    assert (report.packets, report.bytes) == (1, 60)
    assert len(report.damage) == 1
    assert str(path) in report.damage[0]


def test_what_cannot_be_replayed_raises(tmp_path: Path) -> None:
    """A missing capture, a missing program and a frame of another link type are errors of the input."""
    program = _program("pass")
    with pytest.raises(CaptureError, match=r"none\.pcap"):
        xdp.replay(program, tmp_path / "none.pcap")
    (tmp_path / "wifi.pcap").write_bytes(pcap(record(bytes(60)), link_type=105))
    with pytest.raises(CaptureError, match="link type"):
        xdp.replay(program, tmp_path / "wifi.pcap")
    with open_example("dispatcher") as loaded, pytest.raises(InputError, match="several programs"):
        loaded.program()


UNSAFE: Final = """
SEC("xdp")
int unsafe(struct xdp_md *ctx) { return *(__u8 *)(long)ctx->data; }
"""


@needs_clang
def test_a_program_that_is_not_safe_never_runs() -> None:
    """Asking for the replay of a program that cannot be proven raises VerificationError."""
    with open_c(UNSAFE) as loaded, pytest.raises(VerificationError):
        xdp.replay(loaded.programs["unsafe"], MIXED)
