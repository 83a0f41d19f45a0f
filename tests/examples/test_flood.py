"""The flood demonstration, shortened: what it promises as ratios, and that it leaves its picture."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from examples.flood import picture
from examples.flood.__main__ import main
from tests.support.wires import privileged


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")
def test_the_filter_keeps_an_honest_client_served(tmp_path: Path) -> None:
    """Under attack nearly nobody is served without the filter, and 99 % with it, about as fast as without an attack."""
    assert main(["--seconds", "2.5", "--rate", "50000", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "flood.json").read_text())
    calm, attacked, filtered, defended = document["phases"]
    assert calm["success"] == 1.0
    assert attacked["success"] < 0.5
    assert filtered["success"] >= 0.99
    assert defended["success"] >= 0.99
    dropped = document["filter"]["verdicts"]["XDP_DROP"]
    assert dropped > 0.9 * document["filter"]["received"]
    ET.parse(tmp_path / "flood.svg")


def test_a_phase_without_answers_is_drawn() -> None:
    """A phase in which every request failed has no median, and the picture says so."""
    phase = picture.Phase(
        name="a < b", flooded=True, filtered=False, start=0.0, end=2.0, requests=[(0.5, None), (1.0, None)]
    )
    root = ET.fromstring(picture.draw([phase], "title"))
    said = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert "a < b" in said
    assert "0.0% answered" in said
