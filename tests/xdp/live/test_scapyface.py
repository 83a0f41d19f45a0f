"""scapy's face: a function for bridges and a socket for sniff."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sources import needs_clang, open_c
from tests.support.wires import pair, privileged
from xdp.live import FilterSocket

pytestmark = needs_clang

TEXT = """
SEC("xdp") int shorten(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 42 > end || data[12] != 8 || data[13] != 0)
		return XDP_DROP;
	if (data[22] == 7)
		data[22] = 6;
	return XDP_PASS;
}
"""


def _packets() -> list[Any]:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import ARP, Ether

    head = Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    return [head / IP(ttl=7) / UDP() / b"one", head / ARP(), head / IP(ttl=9) / UDP() / b"two"]


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_a_bridge_passes_drops_and_changes(engine: str) -> None:
    """True for what passes as it is, a packet for what was changed, False for the rest."""
    with open_c(TEXT) as loaded:
        forward = loaded.programs["shorten"].as_xfrm(engine=engine)
        changed, dropped, same = map(forward, _packets())
    assert changed.ttl == 6
    assert dropped is False
    assert same is True


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root: network namespaces")
def test_sniff_shows_what_passes() -> None:
    """Only packets that the program passes come out, as it left them; the others are counted."""
    from scapy.config import conf
    from scapy.sendrecv import sendp, sniff

    def send() -> None:
        conf.ifaces.reload()
        sendp(_packets(), iface="eth0", verbose=False)

    with pair() as ends, open_c(TEXT) as loaded, ends.host.entered():
        conf.ifaces.reload()  # scapy remembers interfaces of another namespace
        socket = FilterSocket(loaded.programs["shorten"], iface="eth0")
        ends.client.call(send)
        found = sniff(opened_socket=socket, timeout=10, stop_filter=lambda each: each["IP"].ttl == 9)
        socket.close()
    conf.ifaces.reload()
    assert [each["IP"].ttl for each in found if "UDP" in each] == [6, 9]
    assert socket.counts["XDP_DROP"] >= 1
