"""Captures that were bent at random: they open or are refused, quickly, and every frame lies inside the file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netdev.capture import MAX_CAPLEN, open_capture
from netdev.errors import CaptureError
from tests.support.captures import enhanced, interface, obsolete, option, pcap, record, section, simple

CLASSIC = pcap(*(record(bytes([n]) * (n * 5), length=100) for n in range(8)))
BLOCKS = b"".join(
    (
        section(),
        interface("<", option(2, b"eth0"), option(9, b"\x09"), snaplen=60),
        *(enhanced(bytes(n), time=n << 30, options=option(1, b"comment")) for n in range(5)),
        simple(b"simple"),
        interface("<", option(14, struct.pack("<q", -5))),
        obsolete(b"obsolete", number=1),
        section(">"),
        interface(">"),
        *(enhanced(bytes(9), ">") for _ in range(3)),
    )
)
WORDS = st.sampled_from([0, 1, 3, 4, 12, 28, 32, 0x0A0D0D0A, 0x7FFF_FFFC, 0x8000_0000, 0xFFFF_FFFC, 0xFFFF_FFFF])


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """One of the two captures above, with words, bytes and its end changed."""
    data = bytearray(draw(st.sampled_from([CLASSIC, BLOCKS])))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data) - 4))
        match draw(st.integers(0, 3)):
            case 0:
                struct.pack_into(draw(st.sampled_from("<>")) + "I", data, place // 4 * 4, draw(WORDS))
            case 1:
                data[place] = draw(st.integers(0, 255))
            case 2:
                del data[place : place + draw(st.integers(1, 40))]
            case _:
                data[place:place] = draw(st.binary(max_size=30))
        data += bytes(4)
    return bytes(data[: draw(st.integers(0, len(data)))])


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=bent(), wrap=st.booleans())
@example(data=CLASSIC, wrap=False)
@example(data=BLOCKS, wrap=True)
def test_a_bent_capture_is_used_or_refused(tmp_path: Path, data: bytes, wrap: bool) -> None:
    """No other error than CaptureError; frames inside the file, disjoint and in order; damage inside it as well."""
    path = tmp_path / "bent"
    path.write_bytes(data)
    try:
        capture = open_capture(path, wrap=wrap)
    except CaptureError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
        return
    found = list(capture.batches(3))
    assert sum(map(len, found)) == len(capture)
    for batch in found:
        ends = batch.offsets + batch.caplens
        assert np.all(ends[:-1] <= batch.offsets[1:])
        assert np.all(batch.caplens <= MAX_CAPLEN + 14)
        assert np.all(ends <= (len(data) if not capture_wraps(capture.interfaces) else 1 << 40))
        assert np.all(batch.interfaces < len(capture.interfaces))
    if capture.damage is not None:
        assert 0 < capture.damage.offset <= len(data)
        assert capture.damage.frames == len(capture)


def capture_wraps(interfaces: tuple[object, ...]) -> bool:
    """Whether some interface is not Ethernet's."""
    return any(getattr(each, "link_type", 1) != 1 for each in interfaces)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
@example(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00")
@example(b"\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x40")
@example(b"\x28\xb5\x2f\xfd\x00\xff\x00\x00\x00")
def test_noise_is_refused(tmp_path: Path, noise: bytes) -> None:
    """Random bytes behind every magic number are a CaptureError or an empty capture."""
    path = tmp_path / "noise"
    for head in (b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", section()[:12], pcap()[:8]):
        path.write_bytes(head + noise)
        try:
            with open_capture(path) as capture:
                assert capture.bytes <= len(noise) * 1000
        except CaptureError:
            pass
