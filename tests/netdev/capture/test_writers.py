"""Writing captures: what was written is read again, by us and by tshark, and a file is whole or not there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdev.capture import NO_COMMENT, AtomicFile, CaptureFile, Interface, PcapngWriter, PcapWriter, open_capture
from netdev.errors import CaptureError
from netdev.port import FrameBatch, pack
from tests.support.captures import fields, needs_tshark

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def batches(draw: st.DrawFn) -> FrameBatch:
    """Batches of frames with any times and lengths, on three interfaces."""
    frames = draw(st.lists(st.binary(max_size=70), max_size=12))

    def column(elements: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(elements, min_size=len(frames), max_size=len(frames)))

    return pack(
        frames,
        timestamps=column(st.integers(0, (1 << 64) - 1)),
        lengths=[len(frame) + more for frame, more in zip(frames, column(st.integers(0, 2000)), strict=True)],
        interfaces=column(st.integers(0, 2)),
    )


Row = tuple[bytes, int, int, int]


def _rows(batch: FrameBatch) -> list[Row]:
    columns = (batch.lengths.tolist(), batch.timestamps.tolist(), batch.interfaces.tolist())
    return [(batch.frame(at), *rest) for at, rest in enumerate(zip(*columns, strict=True))]


def _read(capture: CaptureFile) -> list[Row]:
    return [row for batch in capture.batches(5) for row in _rows(batch)]


@in_one_folder
@given(batch=batches(), chosen=st.lists(st.integers(0, 11), max_size=15))
def test_pcapng_gives_back_what_was_written(tmp_path: Path, batch: FrameBatch, chosen: list[int]) -> None:
    """Frames in the order of the selection, with every length, time and interface; twice into one file."""
    selection = np.array([at for at in chosen if at < len(batch)], np.uint32)
    path = tmp_path / "out.pcapng"
    with PcapngWriter(path) as writer:
        for name in ("a", "b", "c", "d", "e", "f"):
            writer.interface(Interface(name=name))
        writer.write(batch, selection)
        writer.write(batch, first_interface=3)
    rows = _rows(batch)
    later = [(*row[:3], row[3] + 3) for row in rows]
    with open_capture(path) as capture:
        assert _read(capture) == [rows[at] for at in selection] + later
        assert [each.name for each in capture.interfaces] == ["a", "b", "c", "d", "e", "f"]
        assert capture.damage is None


@in_one_folder
@given(batch=batches(), nanoseconds=st.booleans())
def test_pcap_gives_back_what_was_written(tmp_path: Path, batch: FrameBatch, nanoseconds: bool) -> None:
    """The same for classic files, whose seconds have 32 bits and whose fraction may be in microseconds."""
    path = tmp_path / "out.pcap"
    with PcapWriter(path, nanoseconds=nanoseconds) as writer:
        writer.write(batch)
    unit = 1 if nanoseconds else 1000

    def written(timestamp: int) -> int:
        seconds, rest = divmod(timestamp, 10**9)
        return seconds % (1 << 32) * 10**9 + rest // unit * unit

    with open_capture(path) as capture:
        assert _read(capture) == [(frame, length, written(time), 0) for frame, length, time, _ in _rows(batch)]


def test_a_frame_that_grew_is_as_long_as_it_is(tmp_path: Path) -> None:
    """A length on the wire below the frame's own is raised to it, as readers expect."""
    for writer in (PcapWriter(tmp_path / "a"), PcapngWriter(tmp_path / "b")):
        with writer:
            if isinstance(writer, PcapngWriter):
                writer.interface(Interface())
            writer.write(pack([b"0123456789"], lengths=[4]))
    for name in "ab":
        with open_capture(tmp_path / name) as capture:
            assert capture.batch(0, 1).lengths.tolist() == [10]


@needs_tshark
def test_tshark_reads_verdicts_ids_and_comments(tmp_path: Path) -> None:
    """Every option of every frame in tshark's words, and the interfaces by name."""
    path = tmp_path / "out.pcapng"
    batch = pack([b"x" * size for size in (60, 61, 62, 63, 0)], interfaces=[1, 0, 0, 1, 0])
    with PcapngWriter(path, application="a test") as writer:
        writer.interface(Interface(name="eth0", description="upper"))
        writer.interface(Interface(name="eth1"))
        numbers = [writer.comment(text) for text in ("blocked", "", "über dem Limit", "blocked")]
        writer.write(
            batch,
            packet_ids=np.array([7, 1 << 40, 0, (1 << 64) - 1, 3], np.uint64),
            verdicts=np.array([1, 2, 0, -1, 4]),
            comments=np.array([*numbers, NO_COMMENT], np.uint32),
        )
    assert numbers == [0, 1, 2, 0]
    names = ("frame.verdict.ebpf_xdp", "frame.packet_id", "frame.comment", "frame.interface_name", "frame.len")
    assert fields(path, *names) == [
        ["1", "7", "blocked", "eth1", "60"],
        ["2", str(1 << 40), "", "eth0", "61"],
        ["0", "0", "über dem Limit", "eth0", "62"],
        ["-1", str((1 << 64) - 1), "blocked", "eth1", "63"],
        ["4", "3", "", "eth0", "0"],
    ]


@needs_tshark
def test_capinfos_finds_nothing_odd(tmp_path: Path) -> None:
    """The file's own description: application, interfaces, number of frames, nanoseconds."""
    path = tmp_path / "out.pcapng"
    with PcapngWriter(path, application="a test") as writer:
        writer.interface(Interface(name="eth0", snaplen=262_144))
        writer.write(pack([b"frame"] * 1000, timestamps=range(1000)), packet_ids=np.arange(1000, dtype=np.uint64))
    done = subprocess.run(["capinfos", str(path)], capture_output=True, text=True, check=True)
    assert "a test" in done.stdout
    assert "Name = eth0" in done.stdout
    assert "Number of packets = 1000" in done.stdout
    assert "Time precision = nanoseconds (9)" in done.stdout
    assert done.stderr.replace('Running as user "root" and group "root". This could be dangerous.', "").strip() == ""


def test_large_frames_and_comments_fit(tmp_path: Path) -> None:
    """Frames and comments larger than the buffer grow it; many small ones fill it several times."""
    path = tmp_path / "out.pcapng"
    frames = [bytes(262_144), b"small"] * 4
    with PcapngWriter(path) as writer:
        writer.interface(Interface())
        longest = writer.comment("x" * 65_535)
        writer.write(pack(frames), comments=np.full(len(frames), longest, np.uint32))
        writer.write(pack([bytes(100)] * 20_000))
    with open_capture(path) as capture:
        assert len(capture) == 20_008
        assert [row[0] for row in _read(capture)][:8] == frames
        assert capture.damage is None


def test_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Interfaces and comments that were not announced, columns of another length, frames out of range."""
    batch = pack([b"a", b"b"])
    with PcapngWriter(tmp_path / "out") as writer:
        with pytest.raises(CaptureError, match="interface 0"):
            writer.write(batch)
        writer.interface(Interface())
        with pytest.raises(CaptureError, match="interface 4"):
            writer.write(batch, first_interface=4)
        with pytest.raises(CaptureError, match="3 packet ids for 2 frames"):
            writer.write(batch, packet_ids=np.zeros(3, np.uint64))
        with pytest.raises(CaptureError, match="comment"):
            writer.write(batch, comments=np.zeros(2, np.uint32))
        with pytest.raises(CaptureError, match="65,536 bytes"):
            writer.comment("x" * 65_536)
        with pytest.raises(CaptureError, match="frames 2 to 2"):
            writer.write(batch, np.array([2], np.uint32))
        writer.write(batch, np.array([], np.uint32))


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Until close there is no file of that name; an older one stays until then."""
    path = tmp_path / "out.pcap"
    path.write_bytes(b"old")
    writer = PcapWriter(path)
    writer.write(pack([b"frame"]))
    assert path.read_bytes() == b"old"
    writer.close()
    writer.close()
    assert len(open_capture(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    """What a with block did not finish is removed."""
    with pytest.raises(KeyboardInterrupt), PcapngWriter(tmp_path / "out.pcapng"):
        raise KeyboardInterrupt
    writer = PcapWriter(tmp_path / "out.pcap")
    writer.abort()
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    """When the system takes no more bytes the error names the file, and nothing of it stays."""
    script = (
        "import signal, sys\n"
        "from netdev.capture import PcapWriter\nfrom netdev.port import pack\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n    with PcapWriter(sys.argv[1]) as w:\n        w.write(pack([bytes(1000)] * 5000))\n"
        "except OSError as error:\n    sys.exit(f'{error.filename}: {error.strerror}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out.pcap")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 1
    assert "out.pcap: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing_of_that_name(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: the final name does not exist."""
    script = (
        "import os, signal, sys\n"
        "from netdev.capture import PcapWriter\nfrom netdev.port import pack\n"
        "w = PcapWriter(sys.argv[1]); w.write(pack([bytes(1000)] * 50)); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "out.pcap"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -9
    assert not path.exists()


def test_paths_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    """A missing folder, a folder in the place of the file."""
    with pytest.raises(FileNotFoundError) as missing:
        PcapWriter(tmp_path / "no" / "out.pcap")
    assert missing.value.filename == str(tmp_path / "no" / "out.pcap")
    with pytest.raises(IsADirectoryError):
        PcapWriter(tmp_path)


def test_what_is_no_regular_file_is_written_directly(tmp_path: Path) -> None:
    """A device has no place to rename to."""
    with AtomicFile("/dev/null") as file:
        file.write(b"gone")
    with pytest.raises(OSError, match="/dev/full"), AtomicFile("/dev/full") as full:
        full.write(b"no room")
    assert Path("/dev/full").exists()


def test_a_link_is_followed_and_the_mask_respected(tmp_path: Path) -> None:
    """The file that a symbolic link names is replaced, not the link; new files get the usual mode."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    mask = os.umask(0o027)
    try:
        with AtomicFile(tmp_path / "link") as file:
            file.write(b"new")
    finally:
        os.umask(mask)
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
