"""pcapng: sections, interfaces, units of time, kinds of packet blocks, and blocks that do not hold together."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdev.capture import CaptureFile, Interface, open_capture
from netdev.capture.format import Block, interface_block, interface_of
from netdev.errors import CaptureError
from tests.support.captures import block, enhanced, interface, obsolete, option, section, simple


def _open(folder: Path, *blocks: bytes) -> CaptureFile:
    path = folder / "c.pcapng"
    path.write_bytes(b"".join(blocks))
    return open_capture(path)


def _frames(capture: CaptureFile) -> list[bytes]:
    return [batch.frame(at) for batch in capture.batches(3) for at in range(len(batch))]


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_packet_block_is_a_frame(tmp_path: Path, order: str) -> None:
    """Enhanced, obsolete and simple packets, other blocks between them, in both byte orders."""
    capture = _open(
        tmp_path,
        section(order),
        interface(order, snaplen=6),
        interface(order),
        enhanced(b"first", order, number=1, time=2_000_000, length=99),
        block(5, b"statistics", order),
        obsolete(b"second", order, number=1, drops=7, time=1 << 33),
        block(0x0000_0BAD, bytes(40), order),
        simple(b"third, cut at 6"[:6], order, length=15),
        simple(b"4th", order),
    )
    batch = capture.batch(0, 9)
    assert _frames(capture) == [b"first", b"second", b"third,", b"4th"]
    assert batch.lengths.tolist() == [99, 6, 15, 3]
    assert batch.timestamps.tolist() == [2 * 10**9, (1 << 33) * 1000, 0, 0]
    assert batch.interfaces.tolist() == [1, 1, 0, 0]
    assert capture.damage is None


def test_sections_have_their_own_order_and_interfaces(tmp_path: Path) -> None:
    """Interface numbers start again in each section and go on in the capture; times use each one's unit."""
    capture = _open(
        tmp_path,
        *(section("<"), interface("<"), enhanced(b"a", time=5)),
        *(section(">"), interface(">", option(9, b"\x09", ">"), option(2, b"two", ">")), enhanced(b"b", ">", time=5)),
        *(section("<"), interface("<"), enhanced(b"c"), interface("<", option(2, b"late")), enhanced(b"d", number=1)),
    )
    assert _frames(capture) == [b"a", b"b", b"c", b"d"]
    assert capture.batch(0, 4).interfaces.tolist() == [0, 1, 2, 3]
    assert capture.batch(0, 2).timestamps.tolist() == [5000, 5]
    assert [each.name for each in capture.interfaces] == ["", "two", "", "late"]
    assert capture.batch(2, 2).frame(1) == b"d"


def test_a_capture_of_many_interfaces_and_frames_is_read_from_anywhere(tmp_path: Path) -> None:
    """Marks in the middle of a capture know their section."""
    blocks = [section(), interface(), *(enhanced(b"", time=n) for n in range(20_000))]
    blocks += [interface(), *(enhanced(b"", number=1, time=n) for n in range(20_000, 40_000))]
    blocks += [section(">"), interface(">"), *(enhanced(b"", ">", time=n) for n in range(40_000, 70_000))]
    capture = _open(tmp_path, *blocks)
    assert len(capture) == 70_000
    for first in (0, 39_998, 40_000, 65_535, 65_536, 69_999):
        assert capture.batch(first, 3).timestamps.tolist() == [n * 1000 for n in range(first, min(first + 3, 70_000))]


@pytest.mark.parametrize(
    ("resolution", "offset", "units", "nanoseconds"),
    [
        (0, 0, 3, 3 * 10**9),
        (3, 0, 3, 3_000_000),
        (6, 0, 3, 3000),
        (9, 0, 1 << 62, 1 << 62),
        (12, 0, 12_345, 12),
        (19, 0, 1 << 63, (1 << 63) // 10**10),
        (28, 0, (1 << 64) - 1, 1),
        (29, 0, (1 << 64) - 1, 0),
        (127, 0, (1 << 64) - 1, 0),
        (0x80, 0, 7, 7 * 10**9),
        (0x80 + 1, 0, 7, 3_500_000_000),
        (0x80 + 30, 0, 1 << 40, 1024 * 10**9),
        (0x80 + 63, 0, (1 << 64) - 1, 1_999_999_999),
        (0x80 + 64, 0, (1 << 64) - 1, 999_999_999),
        (0x80 + 70, 0, 1 << 63, 10**9 >> 7),
        (0x80 + 127, 0, (1 << 64) - 1, 0),
        (6, 5, 1, 5 * 10**9 + 1000),
        (6, -1, 2_000_000, 10**9),
        (6, -1, 0, (1 << 64) - 10**9),
    ],
)
def test_units_of_time_become_nanoseconds(
    tmp_path: Path, resolution: int, offset: int, units: int, nanoseconds: int
) -> None:
    """if_tsresol in powers of ten and two, if_tsoffset, and numbers that leave the 64 bits."""
    described = interface("<", option(9, bytes([resolution])), option(14, struct.pack("<q", offset)))
    capture = _open(tmp_path, section(), described, enhanced(b"", time=units))
    assert capture.first_timestamp == nanoseconds


def _says(value: object) -> str:
    return value if isinstance(value, str) else ""


GOOD = (section(), interface(snaplen=64), enhanced(b"good"))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (block(6, bytes(40), length=0x7FFF_FFFC), "past the end"),
        (block(6, bytes(40), length=0xFFFF_FFFC), "past the end"),
        (block(6, b"", length=0), "impossible length"),
        (block(9, b"", length=0), "impossible length"),
        (block(9, bytes(8), length=8), "impossible length"),
        (block(9, bytes(8), length=19), "impossible length"),
        (block(6, bytes(16)), "impossible length"),
        (block(3, b""), "impossible length"),
        (block(9, bytes(8), trailer=24), "ends with another length"),
        (enhanced(b"x", number=1), "not described"),
        (enhanced(b"x", number=0xFFFF_FFFF), "not described"),
        (enhanced(b"abcd", caplen=5), "longer than its block"),
        (enhanced(b"abcd", caplen=262_145), "262,144"),
        (enhanced(b"abcd", caplen=0xFFFF_FFFF), "262,144"),
        (simple(b"abc", length=40), "longer than its block"),
        (block(1, bytes(4)), "interface description of 16 bytes"),
        (interface("<", struct.pack("<HH", 2, 500)), "option 2 of 500 bytes"),
        (interface("<", option(9, b"\x06\x06")), "interface option 9 of 2 bytes"),
        (block(1, bytes(20), trailer=99), "ends with another length"),
        (block(0x0A0D0D0A, bytes(16)), "byte-order"),
        (section().replace(b"\x01\x00\x00\x00\xff", b"\x02\x00\x00\x00\xff"), "version"),
        (section() + simple(b"frame of nothing"), "not described"),
        (section(">") + enhanced(b"", ">"), "not described"),
    ],
    ids=_says,
)
def test_frames_before_a_bad_block_are_used(tmp_path: Path, bad: bytes, says: str) -> None:
    """Whatever is wrong with a block, those before it count, and the damage is where it begins."""
    capture = _open(tmp_path, *GOOD, bad, enhanced(b"never seen"))
    assert _frames(capture) == [b"good"]
    assert capture.damage is not None
    assert says in capture.damage.reason
    start = sum(map(len, GOOD))
    assert capture.damage.offset in (start, start + len(section()))


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (b"\x06\x00\x00\x00\x20", "header of a record is cut"),
        (enhanced(b"x" * 40)[:-5], "past the end"),
        (interface("<")[:14], "cut"),
        (section()[:24], "cut"),
    ],
    ids=_says,
)
def test_frames_before_a_cut_are_used(tmp_path: Path, cut: bytes, says: str) -> None:
    """A file that ends inside a block has the frames before it."""
    capture = _open(tmp_path, *GOOD, cut)
    assert _frames(capture) == [b"good"]
    assert capture.damage is not None
    assert says in capture.damage.reason
    assert capture.damage.offset == sum(map(len, GOOD))


def test_a_first_section_that_is_no_good_is_no_capture(tmp_path: Path) -> None:
    """Damage before anything could be read is an error, not an empty capture."""
    with pytest.raises(CaptureError, match="another length"):
        _open(tmp_path, block(0x0A0D0D0A, section()[8:-4], trailer=9))


def test_sections_and_interfaces_are_limited(tmp_path: Path) -> None:
    """A file of nothing but interfaces ends as damage, not as a process without memory."""
    capture = _open(tmp_path, section(), interface() * 65_537)
    assert len(capture.interfaces) == 65_536
    assert capture.damage is not None
    assert "65,536 interfaces" in capture.damage.reason


@given(
    st.builds(
        Interface,
        name=st.text(max_size=20),
        description=st.text(max_size=20),
        link_type=st.integers(0, 0xFFFF),
        snaplen=st.integers(0, 0xFFFF_FFFF),
        resolution=st.integers(0, 255),
        offset=st.integers(-(1 << 63), (1 << 63) - 1),
    )
)
def test_interfaces_are_written_as_they_are_read(described: Interface) -> None:
    """An interface survives its block, options included."""
    whole = interface_block(described)
    assert struct.unpack_from("<II", whole) == (Block.INTERFACE, len(whole))
    assert interface_of(memoryview(whole), big=False) == described
