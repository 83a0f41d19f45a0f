"""The contexts of programs about sockets: struct bpf_sock, struct bpf_sock_addr, struct bpf_sock_ops.

Not here: who may be attached where (programs.py); fields name the attach types that see them.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextLayout, FieldKind
from xdp.linux.fields import NARROW, WHOLE, field, members

__all__ = ["SOCK_ADDR_CONTEXT", "SOCK_CONTEXT", "SOCK_OPS_CONTEXT"]

_ADDRESS: Final = (1, 2, 4, 8)
_SETUP: Final = ("cgroup_inet_sock_create", "cgroup_inet_sock_release")
_POST_BIND4: Final = ("cgroup_inet4_post_bind",)
_POST_BIND6: Final = ("cgroup_inet6_post_bind",)
_SENDMSG4: Final = ("cgroup_udp4_sendmsg",)
_SENDMSG6: Final = ("cgroup_udp6_sendmsg",)
_INET4: Final = (
    "cgroup_inet4_bind",
    "cgroup_inet4_connect",
    "cgroup_udp4_sendmsg",
    "cgroup_udp4_recvmsg",
    "cgroup_inet4_getpeername",
    "cgroup_inet4_getsockname",
)
_INET6: Final = tuple(name.replace("4", "6") for name in _INET4)

SOCK_CONTEXT: Final = ContextLayout(
    name="bpf_sock",
    size=80,
    record_size=80,
    fields=(
        field("bound_dev_if", 0, writes=WHOLE, attach=_SETUP),
        field("family", 4, reads=NARROW, from_start=True),
        field("type", 8, reads=NARROW, from_start=True),
        field("protocol", 12, reads=NARROW, from_start=True),
        field("mark", 16, writes=WHOLE, attach=_SETUP),
        field("priority", 20, writes=WHOLE, attach=_SETUP),
        field("src_ip4", 24, reads=NARROW, attach=_POST_BIND4),
        field("src_ip6", 28, 16, reads=NARROW, attach=_POST_BIND6),
        field("src_port", 44, reads=NARROW, attach=(*_POST_BIND4, *_POST_BIND6), from_start=True),
        field("dst_port", 48, 2, reads=(1, 2)),
        field("dst_port", 48, from_start=True),  # a word, as when the field was one
        field("dst_ip4", 52, reads=NARROW),
        field("dst_ip6", 56, 16, reads=NARROW),
        field("state", 72, reads=NARROW, from_start=True),
        field("rx_queue_mapping", 76, reads=NARROW, from_start=True),
    ),
)

SOCK_ADDR_CONTEXT: Final = ContextLayout(
    name="bpf_sock_addr",
    size=72,
    record_size=72,
    fields=(
        field("user_family", 0),
        field("user_ip4", 4, reads=NARROW, writes=WHOLE, attach=_INET4),
        field("user_ip6", 8, 16, reads=_ADDRESS, writes=(4, 8), attach=_INET6),
        field("user_port", 24, reads=NARROW, writes=WHOLE),
        *members("family type protocol", 28),
        field("msg_src_ip4", 40, reads=NARROW, writes=WHOLE, attach=_SENDMSG4),
        field("msg_src_ip6", 44, 16, reads=_ADDRESS, writes=(4, 8), attach=_SENDMSG6),
        field("sk", 64, 8, reads=(8,), kind=FieldKind.SOCKET),
    ),
)

SOCK_OPS_CONTEXT: Final = ContextLayout(
    name="bpf_sock_ops",
    size=224,
    record_size=224,
    fields=(
        field("op", 0),
        field("reply", 4, writes=WHOLE),  # and args[0]
        field("args[1..3]", 8, 12),
        *members("family remote_ip4 local_ip4", 20),
        field("remote_ip6", 32, 16),
        field("local_ip6", 48, 16),
        *members(
            "remote_port local_port is_fullsock snd_cwnd srtt_us bpf_sock_ops_cb_flags state rtt_min snd_ssthresh "
            "rcv_nxt snd_nxt snd_una mss_cache ecn_flags rate_delivered rate_interval_us packets_out retrans_out "
            "total_retrans segs_in data_segs_in segs_out data_segs_out lost_out sacked_out",
            64,
        ),
        field("sk_txhash", 164, writes=WHOLE),
        field("bytes_received", 168, 8, reads=(8,)),
        field("bytes_acked", 176, 8, reads=(8,)),
        field("sk", 184, 8, reads=(8,), kind=FieldKind.SOCKET_OR_NULL),
        field("skb_data", 192, 8, reads=(8,), kind=FieldKind.REGION),
        field("skb_data_end", 200, 8, reads=(8,), kind=FieldKind.REGION_END),
        field("skb_len", 208),
        field("skb_tcp_flags", 212, reads=NARROW, from_start=True),
        field("skb_hwtstamp", 216, 8, reads=(8,)),
    ),
    region="TCP header",
    region_in_helpers=False,
)
