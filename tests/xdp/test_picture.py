"""The picture of a replay: well-formed, inside its frame, with units that suit the capture's time."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import runtime
import xdp
from xdp.picture import draw

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def _capture(path: Path, times_ns: list[int]) -> Path:
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for each in times_ns:
        data += struct.pack("<IIII", each // 10**9, each % 10**9, 60, 60) + bytes(60)
    path.write_bytes(data)
    return path


def _drawn(capture: Path, target: Path) -> ET.Element:
    with runtime.load(ROOT / "examples" / "pass.o", registry=xdp.default_registry()) as obj:
        report = xdp.replay(next(iter(obj.programs.values())), capture, timeline=True)
    draw(report, target)
    return ET.fromstring(target.read_text())


def _texts(picture: ET.Element) -> list[str]:
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("times", "label"),
    [
        ([0, 5 * 10**9], "time since the first packet, s"),
        ([0, 40 * 10**6], "time since the first packet, ms"),
        ([0, 700 * 10**3], "time since the first packet, µs"),
        ([0, 90], "time since the first packet, ns"),
        ([10**9] * 3, "all packets have the same timestamp"),
        ([10**9], "all packets have the same timestamp"),
        ([], "all packets have the same timestamp"),
    ],
)
def test_the_axis_has_the_unit_of_the_time(tmp_path: Path, times: list[int], label: str) -> None:
    """Seconds down to nanoseconds; a single instant has no axis of time."""
    picture = _drawn(_capture(tmp_path / "c.pcap", times), tmp_path / "c.svg")
    assert label in _texts(picture)


def test_rates_are_not_made_up(tmp_path: Path) -> None:
    """A capture of less than a second shows counts, one of more than a second packets/s."""
    short = _texts(_drawn(_capture(tmp_path / "a.pcap", [0, 10**6]), tmp_path / "a.svg"))
    long = _texts(_drawn(_capture(tmp_path / "b.pcap", [0, 10**10]), tmp_path / "b.svg"))
    assert not any("packets/s" in each for each in short)
    assert any("packets in" in each for each in short)
    assert "packets/s" in long


def test_every_label_lies_inside_the_picture(tmp_path: Path) -> None:
    """Numbers at the edges have room for half their width."""
    picture = _drawn(_capture(tmp_path / "c.pcap", [0, 123_456_789_012]), tmp_path / "c.svg")
    width = float(picture.attrib["width"])
    for each in picture.iter(f"{SVG}text"):
        if each.attrib.get("text-anchor") == "middle" and "x" in each.attrib:
            half = 3.5 * len(each.text or "")
            assert half <= float(each.attrib["x"]) <= width - half
