"""Programs that ask whether an XSKMAP has a socket in a slot, as the default program of libxdp does."""

from __future__ import annotations

import struct
from typing import Final

import pytest

from netdev.port import pack
from runtime.errors import VerificationError
from tests.support.sources import needs_clang, open_c
from xdp.hooks import hook_on

pytestmark = needs_clang

_MAP: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");
"""
_ASK: Final = (
    _MAP
    + """
SEC("xdp") int ask(struct xdp_md *ctx) {
	__u32 key = 2;
	return bpf_map_lookup_elem(&sockets, &key) ? XDP_TX : XDP_DROP;
}
"""
)
_READ: Final = (
    _MAP
    + """
SEC("xdp") int ask(struct xdp_md *ctx) {
	__u32 key = 2;
	struct bpf_xdp_sock *socket = bpf_map_lookup_elem(&sockets, &key);
	return socket ? socket->queue_id : XDP_DROP;
}
"""
)
_TX, _DROP = 3, 1


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_a_lookup_says_whether_a_socket_is_there(engine: str) -> None:
    """The slot is empty at first, and has a socket once user space has put one there."""
    frames = pack([bytes(60)])
    with open_c(_ASK, engine) as loaded:
        hook = hook_on(loaded.program(), engine)
        assert hook.run(frames, checked=engine == "interpreter").verdicts.tolist() == [_DROP]
        loaded.maps["sockets"].update(struct.pack("<I", 2), struct.pack("<I", 7))
        assert hook.run(frames, checked=engine == "interpreter").verdicts.tolist() == [_TX]
        hook.close()


def test_the_socket_is_not_read() -> None:
    """There is no queue behind a socket here, so that its fields are not read."""
    with open_c(_READ) as loaded, pytest.raises(VerificationError, match="AF_XDP socket"):
        assert loaded.program().verified
