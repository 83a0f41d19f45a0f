"""Opening captures: classic files, compression, link types, limits, and what is left of damaged ones."""

from __future__ import annotations

import gzip
import os
import random
import threading
from pathlib import Path

import pytest
import zstandard

from netdev.capture import CaptureFile, open_capture
from netdev.errors import CaptureError
from tests.support.captures import enhanced, interface, pcap, record, section

FRAMES = [bytes([n]) * (20 + 3 * n) for n in range(10)]


def _made(folder: Path, data: bytes, name: str = "c.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _frames(capture: CaptureFile, size: int = 4096) -> list[bytes]:
    return [batch.frame(at) for batch in capture.batches(size) for at in range(len(batch))]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_classic_files_come_in_two_orders_and_two_units(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    """Frames, lengths and nanoseconds are the same whatever the byte order and the unit."""
    records = [record(f, seconds=7 + n, fraction=n, length=1000, order=order) for n, f in enumerate(FRAMES)]
    with open_capture(_made(tmp_path, pcap(*records, order=order, magic=magic))) as capture:
        batch = capture.batch(0, 100)
        assert _frames(capture) == FRAMES
        assert batch.lengths.tolist() == [1000] * 10
        assert batch.timestamps.tolist() == [(7 + n) * 10**9 + n * unit for n in range(10)]
        assert (capture.first_timestamp, capture.last_timestamp) == (7 * 10**9, 16 * 10**9 + 9 * unit)
        assert (len(capture), capture.bytes) == (10, sum(map(len, FRAMES)))
        assert capture.damage is None


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_batches_hold_every_frame_once(tmp_path: Path, size: int) -> None:
    """Whatever the size of batches, together they are the capture, in order."""
    with open_capture(_made(tmp_path, pcap(*map(record, FRAMES)))) as capture:
        assert _frames(capture, size) == FRAMES
        assert [len(batch) for batch in capture.batches(size)][:-1] == [size] * ((len(FRAMES) - 1) // size)


def test_a_reader_starts_anywhere(tmp_path: Path) -> None:
    """Frames behind a mark, on it and past the end are found by number."""
    count = 70_000
    data = pcap(*(record(b"", seconds=n) for n in range(count)))
    with open_capture(_made(tmp_path, data)) as capture:
        assert len(capture) == count
        for first in (0, 1, 65_535, 65_536, 65_537, count - 1):
            assert capture.batch(first, 2).timestamps.tolist() == [
                n * 10**9 for n in range(first, min(first + 2, count))
            ]
        assert len(capture.batch(count, 5)) == len(capture.batch(count + 9, 5)) == 0


def test_a_limit_ends_the_capture_early(tmp_path: Path) -> None:
    """With a limit, what lies behind it is neither counted nor judged."""
    data = pcap(*map(record, FRAMES)) + b"no record"
    with open_capture(_made(tmp_path, data), limit=4) as capture:
        assert _frames(capture) == FRAMES[:4]
        assert capture.damage is None


def test_a_batch_outlives_its_capture(tmp_path: Path) -> None:
    """After close, batches still read the file's bytes; the capture itself says that it is closed."""
    capture = open_capture(_made(tmp_path, pcap(*map(record, FRAMES))))
    batch = capture.batch(0, 10)
    capture.close()
    capture.close()
    assert batch.frame(9) == FRAMES[9]
    with pytest.raises(CaptureError, match="closed"):
        capture.batch(0, 1)


def test_an_empty_capture_has_no_times(tmp_path: Path) -> None:
    """A file header alone is a capture of no frames."""
    with open_capture(_made(tmp_path, pcap())) as capture:
        assert len(capture) == 0
        assert capture.first_timestamp is None
        assert capture.last_timestamp is None
        assert list(capture.batches()) == []


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
        lambda data: gzip.compress(data) + bytes(512),
        lambda data: zstandard.compress(data[:50]) + zstandard.compress(data[50:]),
        lambda data: b"\x53\x2a\x4d\x18\x03\x00\x00\x00abc" + zstandard.compress(data),
    ],
    ids=["gzip", "zstd", "gzip members", "gzip padded", "zstd frames", "zstd skippable frame"],
)
def test_compression_is_known_by_content(tmp_path: Path, pack: object) -> None:
    """Whatever its name, a compressed capture opens as the same frames."""
    assert callable(pack)
    with open_capture(_made(tmp_path, pack(pcap(*map(record, FRAMES))), "named.wrongly")) as capture:
        assert _frames(capture) == FRAMES
        assert capture.damage is None


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_cut_compressed_capture_gives_what_it_holds(tmp_path: Path, pack: object, keep: float) -> None:
    """Frames before the end of a cut stream are used, and the cut is reported."""
    assert callable(pack)
    noise = [os.urandom(1400) for _ in range(400)]
    packed = pack(pcap(*map(record, noise)))
    with open_capture(_made(tmp_path, packed[: int(len(packed) * keep)])) as capture:
        found = _frames(capture)
        assert 0 < len(found) <= len(noise)
        assert found == noise[: len(found)]
        assert capture.damage is not None
        assert "cut" in capture.damage.reason


def test_a_damaged_gzip_stream_is_reported(tmp_path: Path) -> None:
    """A wrong checksum at the end costs the last frame at most, and is said."""
    packed = bytearray(gzip.compress(pcap(*map(record, FRAMES))))
    packed[-6] ^= 1
    with open_capture(_made(tmp_path, bytes(packed))) as capture:
        assert _frames(capture)[:9] == FRAMES[:9]
        assert capture.damage is not None
        assert "gzip" in str(capture.damage)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_compressed_capture_damaged_in_the_middle_gives_its_beginning(tmp_path: Path, pack: object) -> None:
    """Frames well before a damaged place are used, and the stream's fault is reported."""
    assert callable(pack)
    noise = [bytes(random.Random(n).choices(b"abc", k=1400)) for n in range(1500)]
    packed = bytearray(pack(pcap(*map(record, noise))))
    middle = len(packed) * 2 // 3
    packed[middle : middle + 40] = b"\xff" * 40
    with open_capture(_made(tmp_path, bytes(packed))) as capture:
        found = _frames(capture)
        assert found[:700] == noise[:700]
        assert capture.damage is not None
        assert "stream is damaged" in capture.damage.reason


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_compressed_capture_has_a_limit_in_memory(tmp_path: Path, pack: object) -> None:
    """A small file that unpacks to a large one is refused at the limit, in one line that says what to do."""
    assert callable(pack)
    packed = pack(pcap(*map(record, FRAMES)) + bytes(20_000_000))
    with pytest.raises(CaptureError, match="unpack it into a file first"):
        open_capture(_made(tmp_path, packed), unpack_limit=4_000_000)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """What cannot be mapped is read, compressed or not."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    feeder = threading.Thread(target=path.write_bytes, args=(gzip.compress(pcap(*map(record, FRAMES))),))
    feeder.start()
    with open_capture(path) as capture:
        assert _frames(capture) == FRAMES
    feeder.join()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, this is text", "neither pcap nor pcapng"),
        (b"\xd4\xc3", "neither pcap nor pcapng"),
        (pcap()[:10], "cut"),
        (pcap().replace(b"\x02\x00\x04\x00", b"\x09\x00\x04\x00"), "version"),
        (pcap(magic=0xA1B2CD34), "Kuznetzov"),
        (section()[:20], "cut"),
        (gzip.compress(b"text"), "neither pcap nor pcapng"),
        (gzip.compress(b""), "nothing"),
        (gzip.compress(pcap())[:12], "cut"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
    ids=["empty", "text", "two bytes", "cut header", "version", "variant", "cut section", "gzip of text",
         "gzip of nothing", "cut gzip", "cut zstd"],
)  # fmt: skip
def test_what_is_no_capture_is_refused_by_name(tmp_path: Path, data: bytes, says: str) -> None:
    """The error names the file and what is wrong with it."""
    with pytest.raises(CaptureError, match=says) as caught:
        open_capture(_made(tmp_path, data, "odd.file"))
    assert "odd.file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """What the system says becomes a CaptureError with the path."""
    with pytest.raises(CaptureError, match=r"none\.pcap: No such file"):
        open_capture(tmp_path / "none.pcap")
    with pytest.raises(CaptureError, match="directory"):
        open_capture(tmp_path)


@pytest.mark.parametrize(
    ("tail", "says"),
    [
        (b"\x00" * 7, "header of a record is cut"),
        (record(b"abcdef")[:-1], "past the end"),
        (record(b"", caplen=100), "past the end"),
        (record(b"x" * 60, caplen=0x7FFF_FFFF), "262,144"),
        (record(b"x" * 60, caplen=0xFFFF_FFFF), "262,144"),
        (record(b"x" * 60, caplen=262_145), "262,144"),
    ],
)
def test_frames_before_the_damage_are_used(tmp_path: Path, tail: bytes, says: str) -> None:
    """The damage has its offset, the number of good frames, and a reason."""
    good = pcap(*map(record, FRAMES))
    with open_capture(_made(tmp_path, good + tail)) as capture:
        assert _frames(capture) == FRAMES
        assert capture.damage is not None
        assert (capture.damage.offset, capture.damage.frames) == (len(good), 10)
        assert says in capture.damage.reason
        assert f"{len(good):,}" in str(capture.damage)


def test_another_link_type_is_refused_with_its_name(tmp_path: Path) -> None:
    """What could be wrapped names the option; what could not says so, with the option as well."""
    raw = _made(tmp_path, pcap(record(b"E" * 20), link_type=101))
    with pytest.raises(CaptureError, match=r"link type 101 \(RAW\).*'wrap'"):
        open_capture(raw)
    radio = _made(tmp_path, pcap(record(b"E" * 20), link_type=105), "radio.pcap")
    for wrap in (False, True):
        with pytest.raises(CaptureError, match=r"105 \(IEEE802_11\).*no way to wrap"):
            open_capture(radio, wrap=wrap)


def test_an_interface_without_frames_is_not_refused(tmp_path: Path) -> None:
    """Only link types of frames count, not those that are merely described."""
    data = section() + interface(link_type=105) + interface() + enhanced(b"frame", number=1)
    with open_capture(_made(tmp_path, data)) as capture:
        assert _frames(capture) == [b"frame"]


V4, V6 = b"\x45" + bytes(19), b"\x60" + bytes(39)
MAC = b"\x02\x11\x22\x33\x44\x55"
SLL = b"\x00\x00\x00\x01\x00\x06" + MAC + b"\x00\x00\x08\x00"
SLL2 = b"\x86\xdd\x00\x00\x00\x00\x00\x02\x00\x01\x00\x06" + MAC + b"\x00\x00"


@pytest.mark.parametrize(
    ("link_type", "frame", "wrapped"),
    [
        (101, V4, bytes(12) + b"\x08\x00" + V4),
        (12, V6, bytes(12) + b"\x86\xdd" + V6),
        (229, V6, bytes(12) + b"\x86\xdd" + V6),
        (228, b"\x10odd", bytes(14) + b"\x10odd"),
        (101, b"", bytes(14)),
        (0, b"\x02\x00\x00\x00" + V4, bytes(12) + b"\x08\x00" + V4),
        (108, b"\x00\x00\x00\x18" + V6, bytes(12) + b"\x86\xdd" + V6),
        (0, b"\x02", bytes(14)),
        (113, SLL + V4, bytes(6) + MAC + b"\x08\x00" + V4),
        (113, SLL.replace(b"\x00\x06", b"\x00\x00") + V4, bytes(12) + b"\x08\x00" + V4),
        (113, SLL[:15], bytes(14)),
        (276, SLL2 + V6, bytes(6) + MAC + b"\x86\xdd" + V6),
        (276, SLL2[:19], bytes(14)),
        (1, b"an Ethernet frame", b"an Ethernet frame"),
    ],
)
def test_wrapping_puts_an_ethernet_header_in_front(
    tmp_path: Path, link_type: int, frame: bytes, wrapped: bytes
) -> None:
    """Each link type that can be wrapped, whole and cut; lengths on the wire move along."""
    path = _made(tmp_path, pcap(record(frame, length=len(frame) + 100), link_type=link_type))
    with open_capture(path, wrap=True) as capture:
        batch = capture.batch(0, 1)
        assert batch.frame(0) == wrapped
        assert batch.lengths.tolist() == [len(wrapped) + 100]
        assert [each.link_type for each in capture.ethernet_interfaces] == [1]


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    """When records are no longer where the index saw them, reading stops with an error."""
    path = _made(tmp_path, pcap(*map(record, FRAMES)))
    with open_capture(path) as capture, path.open("r+b") as file:
        file.seek(24 + 8)
        file.write(b"\xff" * 4)
        file.flush()
        for first in (0, 5):
            with pytest.raises(CaptureError, match="changed"):
                capture.batch(first, 10)
        assert len(capture.batch(0, -1)) == 0
