"""The senders and the kernel's filter, which later tests lean on."""

from __future__ import annotations

import time

import pytest

from tests.support.kernel_live import blocked, forwarded, generic, mode_of
from tests.support.objects import EXAMPLES
from tests.support.senders import LiveFrames, RingSender, received
from tests.support.wires import bump, privileged

pytestmark = [pytest.mark.root, pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")]

FRAME = bytes.fromhex("020000000002020000000001" + "88b5") + bytes(50)
COUNT = 10_000


def test_a_ring_delivers_every_frame() -> None:
    """What the ring says it sent is what the other end of the wire counts."""
    with bump() as line, blocked(line.middle, "a"):
        with line.client.entered():
            sender = RingSender("eth0", [FRAME, FRAME + b"x"])
        before = received(line.middle, "a")
        with sender:
            assert sender.send(COUNT) == COUNT
        assert COUNT <= received(line.middle, "a") - before < COUNT + 50


def test_live_frames_pass_generic_xdp_and_are_forwarded() -> None:
    """Live frames run through the kernel's generic program and the redirection behind it, all of them."""
    with bump() as line, generic(line.middle, "a", EXAMPLES / "parser.o") as kernel, forwarded(line.middle, "a", "b"):
        assert mode_of(line.middle, "a") == "generic"
        before = received(line.server, "eth0")
        with line.middle.entered(), LiveFrames("a", FRAME) as sender:
            sender.send(COUNT)
        deadline = time.monotonic() + 5
        while received(line.server, "eth0") - before < COUNT and time.monotonic() < deadline:
            time.sleep(0.01)
        assert COUNT <= received(line.server, "eth0") - before < COUNT + 50
        assert kernel.map("ethertypes")


def test_the_kernel_forwards_pings_behind_generic_xdp() -> None:
    """The oracle's topology works for real traffic both ways."""
    with bump() as line, generic(line.middle, "a", EXAMPLES / "pass.o"), forwarded(line.middle, "a", "b"):
        line.client.run(["ping", "-c1", "-W2", "10.9.0.2"])
        line.client.run(["ping", "-6", "-c1", "-W2", "fd09::2"])
