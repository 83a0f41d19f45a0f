"""What a replay leaves on disk: lines and frames held against single runs and tshark; whole files or none."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import pytest

import xdp
from netdev.capture import open_capture
from tests.support.captures import OWN, ROOT, Seen, fields, needs_tshark, pcap, record, seen_by_tshark
from tests.support.sources import PROGRAMS, as_root, needs_clang, open_c, open_example
from xdp.verdict import Verdict

FLOOD: Final = OWN / "syn-flood-mixed.pcap"
DNS: Final = OWN / "dns-amplification.pcap"
MIXED: Final = OWN / "mixed.pcapng"
LINE: Final = ("n", "ts_ns", "caplen", "len", "verdict", "retval", "out_len")
FILES: Final = {
    "XDP_PASS": "pass.pcapng",
    "XDP_DROP": "drop.pcapng",
    "XDP_TX": "tx.pcapng",
    "XDP_ABORTED": "aborted.pcapng",
}

each_case = pytest.mark.parametrize(
    ("example", "capture"),
    [("ipip_encap", MIXED), ("reflector", MIXED), ("dns_amp", DNS), ("dos_filter", FLOOD), ("dispatcher", MIXED)],
    ids=lambda value: getattr(value, "name", value),
)


def _program(name: str) -> Any:
    loaded = open_example(name)
    return loaded.programs[loaded.program(PROGRAMS.get(name)).name]


def _frames(path: Path) -> list[tuple[bytes, int]]:
    """The frames of a capture and their times."""
    opened = open_capture(path)
    try:
        return [(batch.frame(i), int(batch.timestamps[i])) for batch in opened.batches(1000) for i in range(len(batch))]
    finally:
        opened.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """An enhanced packet block, as the text of the format describes it."""

    data: bytes
    length: int
    time: int
    options: dict[int, bytes]


def _blocks(path: Path) -> Iterator[Block]:
    """The packets of a little-endian pcapng file, read by a parser of the test's own."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        kind, total = struct.unpack_from("<II", data, at)
        assert total % 4 == 0
        assert struct.unpack_from("<I", data, at + total - 4)[0] == total
        if kind == 6:
            _, high, low, caplen, length = struct.unpack_from("<5I", data, at + 8)
            start = at + 28
            options = dict(_options(data[start + (caplen + 3 & -4) : at + total - 4]))
            yield Block(data=data[start : start + caplen], length=length, time=high << 32 | low, options=options)
        at += total
    assert at == len(data)


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 3 & -4)


@needs_tshark
@each_case
def test_each_line_tells_what_a_single_run_gives(example: str, capture: Path, tmp_path: Path) -> None:
    """Number, time and lengths are tshark's; verdict, return value, length and hash are those of running that frame."""
    path = tmp_path / "v.jsonl"
    report = xdp.replay(_program(example), capture, verdicts=path, hashes=True)
    single = _program(example)
    lines = _lines(path)
    assert len(lines) == report.packets
    truth = seen_by_tshark(capture)
    for n, (line, (frame, time_ns), seen) in enumerate(zip(lines, _frames(capture), truth, strict=True)):
        result = single.run(frame, clock_ns=time_ns)
        assert line == {
            "n": n,
            "ts_ns": seen.timestamp,
            "caplen": seen.caplen,
            "len": seen.length,
            "verdict": result.verdict.name,
            "retval": result.returned,
            "out_len": len(result.data),
            "out_sha256": hashlib.sha256(result.data).hexdigest(),
        }


def test_lines_have_their_fields_in_order_and_hashes_only_when_asked(tmp_path: Path) -> None:
    """Without hashes a line has seven fields, with them eight, always in the same order."""
    xdp.replay(_program("parser"), MIXED, verdicts=tmp_path / "bare")
    xdp.replay(_program("parser"), MIXED, verdicts=tmp_path / "hashed", hashes=True)
    assert {tuple(line) for line in _lines(tmp_path / "bare")} == {LINE}
    assert {tuple(line) for line in _lines(tmp_path / "hashed")} == {(*LINE, "out_sha256")}


@pytest.mark.parametrize("engine", ["interpreter", pytest.param("kernel", marks=[pytest.mark.root, as_root])])
def test_engines_write_the_same_lines(engine: str, tmp_path: Path) -> None:
    """Lines with hashes are the same from every engine, byte for byte."""
    for name in ("jit", engine):
        xdp.replay(_program("dns_amp"), DNS, engine=name, verdicts=tmp_path / name, hashes=True)
    assert (tmp_path / "jit").read_bytes() == (tmp_path / engine).read_bytes()


def test_numbers_go_on_over_captures_and_rounds(tmp_path: Path) -> None:
    """The number of a line counts all frames of the run."""
    report = xdp.replay(_program("pass"), [MIXED, DNS], loop=2, verdicts=tmp_path / "v")
    assert [line["n"] for line in _lines(tmp_path / "v")] == list(range(report.packets))


@needs_tshark
@each_case
def test_frames_lie_in_the_file_of_their_verdict(example: str, capture: Path, tmp_path: Path) -> None:
    """Each file holds the frames of its verdict as the program left them, in order, with number, verdict and comment."""
    report = xdp.replay(_program(example), capture, out=tmp_path / "out")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == sorted(FILES.values())
    single = _program(example)
    name = single.name
    wanted: dict[str, list[Block]] = {verdict: [] for verdict in FILES}
    for n, (frame, time_ns) in enumerate(_frames(capture)):
        result = single.run(frame, clock_ns=time_ns)
        options = {
            1: f"{result.verdict.name} by {name}".encode(),
            5: struct.pack("<Q", n),
            7: b"\x02" + struct.pack("<q", result.returned),
        }
        block = Block(data=result.data, length=len(result.data), time=time_ns, options=options)
        wanted[result.verdict.name].append(block)
    for verdict, file in FILES.items():
        assert list(_blocks(tmp_path / "out" / file)) == wanted[verdict]
        assert len(wanted[verdict]) == report.verdicts[verdict]


@needs_tshark
def test_tshark_reads_frames_and_what_is_said_of_them(tmp_path: Path) -> None:
    """Wireshark's own reader finds the counts, times, lengths, packet ids, verdicts and comments."""
    report = xdp.replay(_program("ipip_encap"), MIXED, out=tmp_path, verdicts=tmp_path / "v")
    names = ("frame.packet_id", "frame.verdict.ebpf_xdp", "frame.comment")
    for verdict, file in FILES.items():
        lines = [line for line in _lines(tmp_path / "v") if line["verdict"] == verdict]
        assert len(lines) == report.verdicts[verdict]
        assert seen_by_tshark(tmp_path / file) == [
            Seen(length=line["out_len"], caplen=line["out_len"], timestamp=line["ts_ns"]) for line in lines
        ]
        assert fields(tmp_path / file, *names) == [
            [str(line["n"]), str(line["retval"]), f"{verdict} by xdp_encap"] for line in lines
        ]


REDIRECT: Final = """
SEC("xdp")
int send(struct xdp_md *ctx) { return bpf_redirect(9, 0); }
"""


@needs_clang
def test_redirected_frames_get_a_file_only_when_there_are_some(tmp_path: Path) -> None:
    """A program that redirects leaves redirect.pcapng beside the four files."""
    with open_c(REDIRECT) as loaded:
        report = xdp.replay(loaded.programs["send"], MIXED, out=tmp_path)
    assert report.verdicts["XDP_REDIRECT"] == report.packets == len(list(_blocks(tmp_path / "redirect.pcapng")))
    assert {each.name for each in tmp_path.iterdir()} == {*FILES.values(), "redirect.pcapng"}


def test_a_frame_that_was_cut_keeps_its_length_on_the_wire(tmp_path: Path) -> None:
    """What the capture did not hold of a frame is still missing in the output, and the lengths say so."""
    (tmp_path / "cut.pcap").write_bytes(pcap(record(bytes(60), length=1500), record(bytes(70))))
    xdp.replay(_program("pass"), tmp_path / "cut.pcap", out=tmp_path / "out")
    blocks = list(_blocks(tmp_path / "out" / "pass.pcapng"))
    assert [(len(block.data), block.length) for block in blocks] == [(60, 1500), (70, 70)]


def test_outputs_replace_what_was_there_before(tmp_path: Path) -> None:
    """A second run writes over the files of the first, and nothing else is left."""
    for example in ("reflector", "pass"):
        report = xdp.replay(_program(example), MIXED, out=tmp_path / "out", verdicts=tmp_path / "v")
    assert len(list(_blocks(tmp_path / "out" / "pass.pcapng"))) == report.packets
    assert list(_blocks(tmp_path / "out" / "tx.pcapng")) == []
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "v"]


def test_a_failing_run_leaves_no_files(tmp_path: Path) -> None:
    """An exception in the middle removes what was written, and the folder that was made for it."""

    class Stop(Exception):  # noqa: N818  not an error of the program
        pass

    def stop(done: int, _total: int) -> None:
        if done > 1000:
            raise Stop

    with pytest.raises(Stop):
        xdp.replay(_program("pass"), FLOOD, out=tmp_path / "out", verdicts=tmp_path / "v", progress=stop)
    assert list(tmp_path.iterdir()) == []


def _cli(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until_written(folder: Path, child: subprocess.Popen[str]) -> None:
    """Wait until a file that is not finished has grown."""
    for _ in range(600):
        if any(each.stat().st_size > 1 << 16 for each in folder.rglob("*.part")):
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    pytest.fail("nothing was written")


def test_a_killed_run_leaves_no_half_written_file(tmp_path: Path) -> None:
    """SIGKILL in the middle: what bore the final names before is untouched, and leftovers are hidden and end in .part."""
    (tmp_path / "v.jsonl").write_text("before\n")
    words = ("replay", str(ROOT / "examples" / "pass.o"), str(FLOOD), "--loop", "1000000")
    child = _cli(*words, "--verdicts", "v.jsonl", "--out", "out", cwd=tmp_path)
    try:
        _until_written(tmp_path, child)
    finally:
        child.kill()
        child.communicate()
    assert (tmp_path / "v.jsonl").read_text() == "before\n"
    files = [each for each in tmp_path.rglob("*") if each.is_file() and each.name != "v.jsonl"]
    assert files
    assert all(each.name.startswith(".") and each.name.endswith(".part") for each in files)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
@as_root
@pytest.mark.parametrize(("option", "name"), [("verdicts", "v.jsonl"), ("out", "out")])
def test_a_full_disk_is_told_and_leaves_nothing(option: str, name: str, small_disk: Path) -> None:
    """ENOSPC names the file that did not fit, and everything that was begun is removed."""
    with pytest.raises(OSError, match="No space left") as caught:
        xdp.replay(_program("pass"), FLOOD, **{option: small_disk / name})
    assert caught.value.errno == errno.ENOSPC
    assert str(caught.value.filename).startswith(str(small_disk / name))
    assert list(small_disk.iterdir()) == []


@pytest.mark.root
@as_root
def test_a_full_disk_is_one_line_on_the_command_line(small_disk: Path) -> None:
    """The command says which file did not fit and ends with the system's exit code."""
    child = _cli(
        "replay", str(ROOT / "examples" / "pass.o"), str(FLOOD), "--out", str(small_disk / "o"), cwd=small_disk
    )
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (4, "")
    assert err == f"xdpsim: {small_disk / 'o' / 'pass.pcapng'}: No space left on device\n"


@pytest.mark.parametrize(("option", "name"), [("verdicts", "v.jsonl"), ("out", "out")])
def test_a_folder_that_takes_no_files_is_named(option: str, name: str) -> None:
    """Where nobody can create files, not even root, the error is the system's and names the path."""
    place = Path("/sys/kernel")
    with pytest.raises(OSError, match=r"Permission denied|not permitted|Read-only") as caught:
        xdp.replay(_program("pass"), MIXED, **{option: place / name})
    assert str(caught.value.filename).startswith(str(place / name))


def test_lines_can_go_to_a_pipe(tmp_path: Path) -> None:
    """A name that is no regular file is written to as it is, so that /dev/stdout works."""
    words = ("replay", str(ROOT / "examples" / "pass.o"), str(MIXED), "--limit", "3", "--verdicts", "/dev/stdout")
    child = _cli(*words, cwd=tmp_path)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    assert [json.loads(line)["verdict"] for line in out.splitlines()[:3]] == [Verdict.XDP_PASS.name] * 3
