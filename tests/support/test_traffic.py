"""The scripts of real traffic work where nothing filters, so what fails elsewhere is the filter's doing."""

from __future__ import annotations

import pytest

from tests.support.live_captures import captured
from tests.support.real_traffic import SCRIPTS, ping, served
from tests.support.wires import pair, privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]


def test_every_script_works_over_a_plain_wire() -> None:
    """No filter, no failure."""
    with pair() as ends, served(ends.host):
        for script in SCRIPTS:
            script(ends.client)


def test_a_capture_holds_what_arrived() -> None:
    """Five pings are five echo requests in the capture, in order."""
    with pair() as ends, captured(ends.host, "eth0") as seen:
        ping(ends.client)
    echoes = [each for each in seen.frames if each[12:14] == b"\x08\x00" and each[23] == 1]
    assert [len(each) for each in echoes] == [98] * 3 + [1514] * 2
