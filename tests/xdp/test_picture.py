"""The picture of a replay: well-formed, inside its frame, with units that suit the capture's time."""

from __future__ import annotations

import dataclasses
import itertools
import re
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


def _points(picture: ET.Element) -> list[list[tuple[float, float]]]:
    """The corners of each area: of what was dropped, of what passed."""
    paths = [re.findall(r"([\d.]+),([\d.]+)", each.attrib["d"]) for each in picture.iter(f"{SVG}path")]
    return [[(float(x), float(y)) for x, y in each] for each in paths]


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
        ([10**9], "one packet"),
        ([], "no packets"),
    ],
)
def test_the_axis_has_the_unit_of_the_time(tmp_path: Path, times: list[int], label: str) -> None:
    """Seconds down to nanoseconds; a single instant has no axis of time."""
    picture = _drawn(_capture(tmp_path / "c.pcap", times), tmp_path / "c.svg")
    assert label in _texts(picture)


def test_rates_are_not_made_up(tmp_path: Path) -> None:
    """Less than a second, or a handful of packets, is shown as counts, many packets over seconds as packets/s."""
    short = _texts(_drawn(_capture(tmp_path / "a.pcap", [i * 1000 for i in range(500)]), tmp_path / "a.svg"))
    few = _texts(_drawn(_capture(tmp_path / "b.pcap", [0, 10**10]), tmp_path / "b.svg"))
    many = _texts(_drawn(_capture(tmp_path / "c.pcap", [i * 10**8 for i in range(500)]), tmp_path / "c.svg"))
    for texts in (short, few):
        assert not any("packets/s" in each for each in texts)
        assert any("packets in" in each for each in texts)
    assert "packets/s" in many


def test_an_instant_is_one_bar_of_all_its_packets(tmp_path: Path) -> None:
    """500 packets of one timestamp: the axis counts to 500 in whole packets, and one bar in the middle reaches it."""
    picture = _drawn(_capture(tmp_path / "c.pcap", [10**9] * 500), tmp_path / "c.svg")
    assert _texts(picture)[0] == "xdp_pass: 500 packets, 0 dropped"
    assert {"packets", "0", "500"} <= set(_texts(picture))
    passed = _points(picture)[1]
    assert len({x for x, _ in passed}) == 2
    assert min(y for _, y in passed) == min(float(each.attrib["y1"]) for each in picture.iter(f"{SVG}line"))
    middle = (float(picture.attrib["width"]) + 74 - 30) / 2
    assert sum(x for x, _ in passed) / len(passed) == pytest.approx(middle)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_few_packets_are_counted_in_whole_numbers(tmp_path: Path, count: int) -> None:
    """The rows are labelled 0, 1, 2 and so on: there are no parts of packets."""
    picture = _drawn(_capture(tmp_path / "c.pcap", [10**9] * count), tmp_path / "c.svg")
    rows = [each.text for each in picture.iter(f"{SVG}text") if each.attrib.get("text-anchor") == "end"]
    assert all(each is not None and each.isdecimal() for each in rows)
    assert rows[0] == "0"
    assert int(rows[-1] or 0) >= count


def test_areas_add_up_to_the_packets(tmp_path: Path) -> None:
    """Heights of the steps, read back from the picture with its own axis, sum to the frames of the capture."""
    times = [int(i**1.5 * 10**6) for i in range(400)]
    picture = _drawn(_capture(tmp_path / "c.pcap", times), tmp_path / "c.svg")
    span = (times[-1] - times[0]) / 1e9
    rows = {
        float(each.text.replace(",", "")): float(each.attrib["y"]) - 4
        for each in picture.iter(f"{SVG}text")
        if each.text and each.attrib.get("text-anchor") == "end"
    }
    top = max(rows)
    passed = _points(picture)[1]
    steps = [(b[0] - a[0], a[1]) for a, b in itertools.pairwise(passed) if b[0] > a[0]]
    wide = sum(width for width, _ in steps)
    total = sum(w / wide * span * (rows[0] - y) / (rows[0] - rows[top]) * top for w, y in steps)
    assert total == pytest.approx(400, rel=0.02)


def test_names_that_xml_cannot_hold_are_shown_as_far_as_they_go(tmp_path: Path) -> None:
    """Control characters become question marks, markup is escaped, and what has no room is cut."""
    with runtime.load(ROOT / "examples" / "pass.o", registry=xdp.default_registry()) as obj:
        capture = _capture(tmp_path / "c.pcap", [0])
        report = xdp.replay(next(iter(obj.programs.values())), capture, timeline=True)
    draw(dataclasses.replace(report, program="<a>&\x01" + "b" * 100), tmp_path / "c.svg")
    title = _texts(ET.fromstring((tmp_path / "c.svg").read_text()))[0]
    assert title.startswith("<a>&?bbb")
    assert "…: 1 packet, 0 dropped" in title


@pytest.mark.parametrize("times", [[0, 123_456_789_012], [i * 10**8 for i in range(500)], [0, 999], [10**9] * 2])
def test_every_label_lies_inside_the_picture(tmp_path: Path, times: list[int]) -> None:
    """Numbers at the edges have room: 7 units for a character is more than any of them takes."""
    picture = _drawn(_capture(tmp_path / "c.pcap", times), tmp_path / "c.svg")
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    assert picture.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    for each in picture.iter(f"{SVG}text"):
        if "x" not in each.attrib:
            continue
        x, long = float(each.attrib["x"]), 7 * len(each.text or "")
        left = {"middle": x - long / 2, "end": x - long}.get(each.attrib.get("text-anchor", ""), x)
        assert left >= 0
        assert left + long <= width
        assert 0 < float(each.attrib["y"]) < height
