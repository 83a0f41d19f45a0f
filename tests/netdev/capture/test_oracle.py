"""Every capture on disk as tshark and capinfos see it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from netdev.capture import Wrapping, link_type_name, open_capture
from netdev.capture.linktypes import wrapping
from netdev.errors import CaptureError
from tests.support.captures import (
    ON_DISK,
    SHARED,
    Seen,
    enhanced,
    fields,
    interface,
    needs_shared,
    needs_tshark,
    obsolete,
    option,
    pcap,
    record,
    section,
    seen_by_tshark,
    simple,
)

pytestmark = needs_tshark


REFUSED = "802_15_4-oobr-1.pcap"
TAKEN = [path for path in ON_DISK if path.name != REFUSED]
LONGER = {Wrapping.NONE: 0, Wrapping.IP: 14, Wrapping.IP_AFTER_4: 10, Wrapping.SLL: -2, Wrapping.SLL2: -6}


def _seen_by_us(path: Path) -> list[Seen]:
    """The frames of a file, wrapped, with the lengths that they had before."""
    frames = []
    with open_capture(path, wrap=True) as capture:
        for batch in capture.batches():
            columns = (batch.lengths, batch.caplens, batch.timestamps, batch.interfaces)
            for length, caplen, timestamp, number in zip(*(column.tolist() for column in columns), strict=True):
                how = wrapping(capture.interfaces[number].link_type)
                assert how is not None
                longer = LONGER[how]
                frames.append(Seen(length=length - longer, caplen=caplen - longer, timestamp=timestamp))
    return frames


@needs_shared
def test_the_shared_captures_are_there() -> None:
    """The list of captures that the tests below run over is not empty by accident."""
    assert len(ON_DISK) > 20


@pytest.mark.parametrize("path", TAKEN, ids=lambda path: path.name)
def test_frames_are_those_of_tshark(path: Path) -> None:
    """Number, lengths and times of all frames."""
    assert _seen_by_us(path) == seen_by_tshark(path)


@needs_shared
def test_frames_that_cannot_be_wrapped_are_refused() -> None:
    """One capture on disk is of a radio."""
    with pytest.raises(CaptureError, match=r"link type 195 \(IEEE802_15_4_WITHFCS\)"):
        open_capture(SHARED / "hostile" / REFUSED, wrap=True)


@pytest.mark.parametrize("path", [path for path in TAKEN if path.suffix == ".pcapng"], ids=lambda path: path.name)
def test_interfaces_are_those_of_tshark(path: Path) -> None:
    """Each frame belongs to the interface that tshark names."""
    with open_capture(path, wrap=True) as capture:
        numbers = [number for batch in capture.batches() for number in batch.interfaces.tolist()]
    assert numbers == [int(number) for (number,) in fields(path, "frame.interface_id")]


@pytest.mark.parametrize("path", TAKEN, ids=lambda path: path.name)
def test_sums_are_those_of_capinfos(path: Path) -> None:
    """Number of frames and their bytes on the wire."""
    words = ["capinfos", "-T", "-M", "-r", "-c", "-d", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    _, count, wire = done.stdout.strip().split("\t")
    frames = _seen_by_us(path)
    assert (len(frames), sum(frame.length for frame in frames)) == (int(count), int(wire))


MIXED = b"".join(
    (
        section("<"),
        interface("<", option(9, b"\x86"), snaplen=8),
        interface("<", option(9, b"\x8a"), option(14, b"\x05" + bytes(7))),
        enhanced(b"A" * 60, time=1_700_000_000_000_000),
        enhanced(b"B" * 61, number=1, time=1_700_000_000 << 10 | 7, length=1000),
        obsolete(b"C" * 33, number=1, time=1 << 40),
        simple(b"D" * 8, length=90),
        section(">"),
        interface(">", option(9, b"\x0a", ">")),
        enhanced(b"E" * 20, ">", time=1_700_000_000_123_456_789),
        enhanced(b"", ">", time=0),
        simple(b"F" * 30, ">"),
    )
)


@pytest.mark.parametrize(
    "data",
    [
        MIXED,
        pcap(*(record(bytes(n), seconds=n, fraction=999_999, length=n + 7) for n in range(0, 90, 7))),
        pcap(*(record(bytes(n), fraction=n, order=">") for n in range(9)), order=">", magic=0xA1B23C4D),
        pcap(*(record(bytes(60)) for _ in range(5)))[:-1],
        pcap(record(bytes(262_144)), record(bytes(262_145))),
        pcap(record(b"x", caplen=0xFFFF_FFFF)),
    ],
    ids=["pcapng", "pcap", "big-endian nanoseconds", "cut", "longest frame", "absurd"],
)
def test_frames_of_made_captures_are_those_of_tshark(tmp_path: Path, data: bytes) -> None:
    """The same for what the captures on disk do not have: units of time, simple packets, sections, damage."""
    path = tmp_path / "made"
    path.write_bytes(data)
    assert _seen_by_us(path) == seen_by_tshark(path)


def test_link_types_have_names() -> None:
    """Numbers of the registry are named, others are unknown."""
    assert link_type_name(113) == "LINUX_SLL"
    assert link_type_name(65_000) == "unknown"
