"""Links over ports in memory: what happens to frames, what is counted, what changes while they run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdev.backends import MemoryPort
from netdev.port import PortState
from runtime.errors import InputError, UnsupportedError, VerificationError
from tests.support.live_links import BY_BYTE, frame, link_over, until
from tests.support.sources import compile_c, needs_clang, open_c
from xdp.context import MAX_FRAME
from xdp.live import Counters, Link
from xdp.verdict import Verdict

pytestmark = needs_clang

ABORTED, DROP, PASS, TX, REDIRECT = (int(each) for each in Verdict)


def _by_byte(name: str = "choose", place: int = 0) -> str:
    return BY_BYTE.replace("NAME", name).replace("PLACE", str(place))


def _object(folder: Path, text: str, name: str = "test") -> Path:
    path = folder / f"{name}.o"
    path.write_bytes(compile_c(text))
    return path


def _ports() -> tuple[MemoryPort, MemoryPort]:
    return MemoryPort(name="near", ifindex=7), MemoryPort(name="far", ifindex=8)


def _received(link: Link, count: int) -> None:
    until(lambda: link.stats().received >= count)


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_verdicts_are_carried_out(engine: str, tmp_path: Path) -> None:
    """PASS goes on, TX comes back, the rest goes nowhere; what comes from the peer passes unseen."""
    near, far = _ports()
    with link_over(_object(tmp_path, _by_byte()), near, far, engine=engine) as link:
        frames = [
            frame(verdict, number) for number, verdict in enumerate((PASS, DROP, TX, ABORTED, PASS, 77, REDIRECT))
        ]
        for each in frames:
            near.queue(each)
        far.queue(b"back" * 10)
        _received(link, 7)
        until(lambda: link.stats().backward["received"] == 1)
        stats = link.stats()
    assert far.sent == [frames[0], frames[4]]
    assert sorted(near.sent) == sorted([frames[2], b"back" * 10])
    assert stats.verdicts == {"XDP_ABORTED": 2, "XDP_DROP": 1, "XDP_PASS": 2, "XDP_TX": 1, "XDP_REDIRECT": 1}
    assert {name: n for name, n in stats.drops.items() if n} == {"drop": 1, "aborted": 2, "no_target": 1}
    assert stats.bytes["XDP_PASS"] == 120
    assert link.stats().received == 7  # the counts of the end stay
    assert link.state == "detached"


def test_a_frame_that_no_program_takes_is_named(tmp_path: Path) -> None:
    """It is dropped and counted for its length; the rest of its batch is run."""
    near, far = _ports()
    short, long = frame(PASS), frame(PASS, size=MAX_FRAME + 1)
    for each in (short, long, short):
        near.queue(each)
    with link_over(_object(tmp_path, _by_byte()), near, far) as link:
        _received(link, 3)
    assert far.sent == [short, short]
    assert link.stats().drops["too_long_to_run"] == 1
    assert link.stats().drops["aborted"] == 0


def test_a_dry_run_counts_and_passes_all(tmp_path: Path) -> None:
    """Every frame goes on as it was, also when the program wrote to it."""
    text = """
	SEC("xdp") int scribble(struct xdp_md *ctx) {
		__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
		if (data + 14 > end)
			return XDP_ABORTED;
		data[13] = 1;
		return data[0];
	}
	"""
    near, far = _ports()
    frames = [frame(verdict) for verdict in (PASS, DROP, TX, ABORTED)]
    with link_over(_object(tmp_path, text), near, far, dry_run=True) as link:
        for each in frames:
            near.queue(each)
        _received(link, 4)
    assert far.sent == frames
    assert link.stats().verdicts["XDP_DROP"] == 1
    assert not near.sent


def test_an_observer_sends_nothing(tmp_path: Path) -> None:
    """In monitor mode verdicts are counted, that is all."""
    near, _ = _ports()
    with link_over(_object(tmp_path, _by_byte()), near, None) as link:
        for verdict in (PASS, DROP, TX):
            near.queue(frame(verdict))
        _received(link, 3)
    assert not near.sent
    assert link.stats().words["observed"] == 3
    assert link.stats().verdicts["XDP_TX"] == 1


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_a_chain_runs_in_order_of_priority(engine: str, tmp_path: Path) -> None:
    """The next program sees what those before it let go on, as they left it; the last word counts."""
    write = """
	SEC("xdp") int stamp(struct xdp_md *ctx) {
		__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
		if (data + 14 > end)
			return XDP_ABORTED;
		data[12] += 1;
		return data[1];
	}
	"""
    near, far = _ports()
    with link_over(_object(tmp_path, _by_byte("first", 0), "a"), near, far, priority=20, engine=engine) as link:
        link.insert(_object(tmp_path, write, "b"), priority=30, goes_on=frozenset({Verdict.XDP_PASS, Verdict.XDP_DROP}))
        link.insert(_object(tmp_path, _by_byte("last", 2), "c"), priority=99)
        link.insert(_object(tmp_path, _by_byte("zeroth", 3), "d"), priority=1)
        assert [each.name for each in link.programs] == ["zeroth", "first", "stamp", "last"]
        frames = {
            "passes all": frame(PASS, PASS, PASS, PASS),
            "ends at the first": frame(PASS, PASS, PASS, DROP),
            "ends at the second": frame(TX, PASS, PASS, PASS),
            "goes on after a drop": frame(PASS, DROP, PASS, PASS),
            "ends at the third": frame(PASS, TX, PASS, PASS),
            "ends at the last": frame(PASS, PASS, TX, PASS),
        }
        for each in frames.values():
            near.queue(each)
        _received(link, len(frames))
        stats = link.stats()
    stamped = [bytes(each[:12]) + bytes([each[12] + 1]) + each[13:] for each in frames.values()]
    assert far.sent == [stamped[0], stamped[3]]
    assert near.sent == [frames["ends at the second"], stamped[4], stamped[5]]
    seen = {each["name"]: sum(each["packets"].values()) for each in stats.programs}
    assert seen == {"zeroth": 6, "first": 5, "stamp": 4, "last": 3}
    assert stats.verdicts["XDP_DROP"] == 1


REDIRECTS: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

SEC("xdp") int send(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return XDP_ABORTED;
	if (data[0] == 0)
		return bpf_redirect(data[1], 0);
	return bpf_redirect_map(&ports, data[1], data[2]);
}
"""


def test_redirects_go_where_they_say(tmp_path: Path) -> None:
    """By index, by map, to nobody, and to all with or without the one that it came from."""
    near, far = _ports()
    third = MemoryPort(name="third", ifindex=9)
    with link_over(_object(tmp_path, REDIRECTS), near, far, others={9: third}) as link:
        link.maps["ports"][0] = 9
        link.maps["ports"][3] = 8
        link.maps["ports"][4] = 7
        to_third, nobody = frame(0, 9), frame(0, 200)
        by_map, empty = frame(1, 3, DROP), frame(1, 5, PASS)
        everybody, others = frame(1, 0, 8), frame(1, 7, 24)
        sent = (to_third, nobody, by_map, empty, everybody, others)
        for each in sent:
            near.queue(each)
        _received(link, len(sent))
        until(lambda: len(far.sent) == 4)
    assert Counter(third.sent) == Counter([to_third, everybody, others])
    assert Counter(far.sent) == Counter([by_map, empty, everybody, others])
    assert near.sent == [everybody]
    stats = link.stats()
    assert stats.drops["no_target"] == 1
    assert stats.words["redirected"] - stats.words["copies"] + stats.drops["no_target"] + stats.words["passed"] == 6


COUNTING: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

SEC("xdp") int count(struct xdp_md *ctx) {
	__u32 key = WHICH;
	__u64 *value = bpf_map_lookup_elem(&seen, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return XDP_PASS;
}
"""


def test_replacing_loses_nothing(tmp_path: Path) -> None:
    """While frames come, programs are replaced many times: each frame is seen by exactly one, in a map that stays."""
    near, far = _ports()
    objects = [_object(tmp_path, COUNTING.replace("WHICH", str(i)), f"p{i}") for i in range(2)]
    total = 0
    with link_over(objects[0], near, far) as link:
        handle = link.maps["seen"]
        for turn in range(20):
            for _ in range(50):
                near.queue(frame(turn))
                total += 1
            assert link.replace(objects[(turn + 1) % 2]) == {"seen"}
        _received(link, total)
        assert link.maps["seen"] is handle
        counts = [handle[i] for i in range(2)]
    assert sum(counts) == total
    assert len(far.sent) == total
    (program,) = link.stats().programs
    assert program["packets"]["XDP_PASS"] == total


def test_a_bad_replacement_changes_nothing(tmp_path: Path) -> None:
    """The old program goes on when the new one is refused."""
    bad = 'SEC("xdp") int bad(struct xdp_md *ctx) { return *(char *)(long)ctx->data; }'
    near, far = _ports()
    with link_over(_object(tmp_path, COUNTING.replace("WHICH", "0"), "good"), near, far) as link:
        link.maps["seen"][0] = 5
        with pytest.raises(VerificationError):
            link.replace(_object(tmp_path, bad, "bad"))
        with pytest.raises(InputError):
            link.replace(_object(tmp_path, bad, "bad"), name="unknown")
        with pytest.raises(InputError):
            link.remove("count")
        near.queue(frame(0))
        _received(link, 1)
        assert link.maps["seen"][0] == 6


@pytest.mark.parametrize(("kind", "says"), [("CPUMAP", "CPUMAP"), ("XSKMAP", "XSKMAP")])
def test_what_the_wire_cannot_give_is_refused(kind: str, says: str, tmp_path: Path) -> None:
    """Redirects to CPUs and sockets are errors at attach that name the map."""
    near, far = _ports()
    text = REDIRECTS.replace("TYPE_DEVMAP", f"TYPE_{kind}")
    with pytest.raises(UnsupportedError, match=says), link_over(_object(tmp_path, text), near, far):
        pass


def test_programs_of_loaded_objects_stay_open(tmp_path: Path) -> None:
    """A link does not close what it did not open."""
    near, far = _ports()
    with open_c(_by_byte()) as loaded:
        with link_over(loaded.programs["choose"], near, far) as link:
            near.queue(frame(PASS))
            _received(link, 1)
        assert loaded.programs["choose"].run(frame(TX)).verdict is Verdict.XDP_TX


def test_counters_are_readable_elsewhere(tmp_path: Path) -> None:
    """Who opens the memory by its path sees the same sums, and which programs they are of."""
    near, far = _ports()
    with link_over(_object(tmp_path, _by_byte()), near, far) as link:
        near.queue(frame(TX))
        _received(link, 1)
        counters = Counters.open(Path(link.describe()["counters"]))
        total = counters.total([0])
        assert total.packets["XDP_TX"] == 1
        assert [(each.name, each.packets["XDP_TX"]) for each in total.programs] == [("choose", 1)]
        counters.close()


def test_an_interface_that_goes_down_is_waited_for(tmp_path: Path) -> None:
    """The state says so, frames to it are counted by the port, and it goes on when the interface is up."""
    near, far = _ports()
    with link_over(_object(tmp_path, _by_byte()), near, far) as link:
        near.condition = PortState.DOWN
        until(lambda: link.state == "waiting")
        near.condition = PortState.UP
        until(lambda: link.state == "up")
        near.queue(frame(PASS))
        _received(link, 1)
    assert far.sent == [frame(PASS)]


def test_a_port_that_fails_ends_the_link_with_its_reason(tmp_path: Path) -> None:
    """An error in one worker is kept, told, and everything is taken back."""
    near, far = _ports()
    with link_over(_object(tmp_path, _by_byte()), near, far) as link:
        near.close()
        assert link.wait(20)
        assert link.state == "failed"
        assert link.error is not None
        assert "closed" in link.error


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.lists(st.tuples(st.lists(st.integers(0, 6), min_size=2, max_size=2), st.integers(14, 1514)), max_size=60),
    down=st.booleans(),
)
def test_counters_add_up(frames: list[tuple[list[int], int]], down: bool, tmp_path: Path) -> None:
    """Every frame that came is one that went on, came back, was redirected, or was dropped for one reason."""
    near, far = _ports()
    far.condition = PortState.DOWN if down else PortState.UP
    with link_over(_object(tmp_path, _by_byte("first", 0), "a"), near, far) as link:
        link.insert(_object(tmp_path, _by_byte("second", 1), "b"))
        for verdicts, size in frames:
            near.queue(frame(*verdicts, size=size))
        _received(link, len(frames))
    stats = link.stats()
    inside = ("drop", "aborted", "too_long_to_run", "no_target", "gone", "full")
    went = stats.words["passed"] + stats.words["returned"] + stats.words["redirected"] - stats.words["copies"]
    assert stats.received == len(frames) == went + sum(stats.drops[each] for each in inside)
    assert sum(stats.verdicts.values()) == len(frames)
    assert sum(stats.bytes.values()) == sum(size for _, size in frames) == stats.words["received_bytes"]
    assert stats.words["passed"] == len(far.sent) + stats.backward["drops"]["refused"]
