"""Frames that end, counted by line: over workers, through replacements, and only where they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from netdev.backends import MemoryPort
from tests.support.live_links import BY_BYTE, frame, link_over, until
from tests.support.sources import compile_c, needs_clang
from xdp.live import Link
from xdp.verdict import Verdict

pytestmark = needs_clang

ABORTED, DROP, PASS, TX, _ = (int(each) for each in Verdict)

LINES: Final = """
SEC("xdp") int lines(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 14 > end)
		return XDP_ABORTED;
	if (data[0] == 1)
		return XDP_DROP;
	if (data[1] == 1)
		return XDP_DROP;
	return XDP_PASS;
}
"""


def _object(folder: Path, text: str, name: str) -> Path:
    path = folder / f"{name}.o"
    path.write_bytes(compile_c(text))
    return path


def _ports() -> tuple[MemoryPort, MemoryPort]:
    return MemoryPort(name="near", ifindex=7), MemoryPort(name="far", ifindex=8)


def _received(link: Link, count: int) -> None:
    until(lambda: link.stats().received >= count)


def _by_text(reasons: tuple[dict[str, Any], ...]) -> dict[tuple[str, str], tuple[int, int]]:
    return {(each["verdict"], each["text"]): (each["packets"], each["bytes"]) for each in reasons}


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_each_line_has_its_count(engine: str, tmp_path: Path) -> None:
    """Dropped and aborted frames are counted by the test that ended them; those that pass are not."""
    near, far = _ports()
    frames = [frame(1), frame(0, 1, size=100), frame(1), frame(0, 0), b"short"]
    with link_over(_object(tmp_path, LINES, "lines"), near, far, engine=engine) as link:
        for each in frames:
            near.queue(each)
        _received(link, len(frames))
        reasons = link.stats().reasons
    assert _by_text(reasons) == {
        ("XDP_DROP", "if (data[0] == 1)"): (2, 120),
        ("XDP_DROP", "if (data[1] == 1)"): (1, 100),
        ("XDP_ABORTED", "if (data + 14 > end)"): (1, 5),
    }
    assert {each["program"] for each in reasons} == {"lines"}
    assert all(each["line"] for each in reasons)
    assert link.stats().reasons == reasons  # those of the end stay


def test_replacing_keeps_the_counts(tmp_path: Path) -> None:
    """What earlier programs counted adds to what the present one counts, line by line."""
    near, far = _ports()
    path = _object(tmp_path, LINES, "lines")
    with link_over(path, near, far) as link:
        for turn in range(1, 4):
            near.queue(frame(1))
            _received(link, turn)
            link.replace(path)
        near.queue(frame(1))
        _received(link, 4)
        (reason,) = link.stats().reasons
    assert (reason["packets"], reason["verdict"]) == (4, "XDP_DROP")


def test_only_the_end_of_a_frame_counts(tmp_path: Path) -> None:
    """A verdict on which the chain goes on is no reason; the last program's is."""
    near, far = _ports()
    first = _object(tmp_path, BY_BYTE.replace("NAME", "first").replace("PLACE", "0"), "first")
    last = _object(tmp_path, BY_BYTE.replace("NAME", "last").replace("PLACE", "1"), "last")
    with link_over(last, near, far, priority=90) as link:
        link.insert(first, priority=10, goes_on=frozenset({Verdict.XDP_PASS, Verdict.XDP_DROP}))
        for each in (frame(DROP, PASS), frame(DROP, DROP), frame(ABORTED, PASS), frame(PASS, DROP), frame(77, PASS)):
            near.queue(each)
        _received(link, 5)
        reasons = link.stats().reasons
    found = {(each["program"], each["verdict"]): each["packets"] for each in reasons}
    assert found == {("last", "XDP_DROP"): 2, ("first", "XDP_ABORTED"): 2}


def test_the_other_direction_has_reasons_of_its_own(tmp_path: Path) -> None:
    """What the peer's program drops is told apart from what the filter drops."""
    near, far = _ports()
    path = _object(tmp_path, LINES, "lines")
    with link_over(path, near, far, peer_program=path) as link:
        near.queue(frame(1))
        far.queue(frame(0, 1))
        _received(link, 1)
        until(lambda: link.stats().backward["received"] == 1)
        stats = link.stats()
    assert _by_text(stats.reasons) == {("XDP_DROP", "if (data[0] == 1)"): (1, 60)}
    assert _by_text(stats.backward["reasons"]) == {("XDP_DROP", "if (data[1] == 1)"): (1, 60)}
