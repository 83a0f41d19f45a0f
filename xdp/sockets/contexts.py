"""The contexts of programs about socket calls: struct bpf_sock_addr, struct bpf_sock_ops, and bind_md of eBPF for Windows.

Not here: who fills them (drivers), and who is attached where (programs). Fields name the ways of attaching that see them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from runtime.spec import ContextField, ContextLayout, FieldKind
from xdp.linux.fields import NARROW, WHOLE, field, members
from xdp.sockets.layout import CONTEXT_ROOM, LONGEST_TEXT

__all__ = [
    "BIND_CONTEXT",
    "SOCK_ADDR_CONTEXT",
    "SOCK_OPS_CONTEXT",
    "BindMd",
    "SockAddr",
    "SockOps",
]

_ADDRESS: Final = (1, 2, 4, 8)
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
_UNIX: Final = tuple(f"cgroup_unix_{call}" for call in ("connect", "sendmsg", "recvmsg", "getpeername", "getsockname"))
_JUDGED4: Final = ("cgroup_inet4_recv_accept", "cgroup_inet4_listen", "cgroup_inet4_connect_authorization")
_JUDGED6: Final = tuple(name.replace("4", "6") for name in _JUDGED4)


class SockAddr(IntEnum):
    """Byte offsets of struct bpf_sock_addr, which is also the record behind it."""

    USER_FAMILY = 0
    USER_IP4 = 4
    USER_IP6 = 8
    USER_PORT = 24
    FAMILY = 28
    TYPE = 32
    PROTOCOL = 36
    MSG_SRC_IP4 = 40
    MSG_SRC_IP6 = 44
    SK = 64


class SockOps(IntEnum):
    """Byte offsets of struct bpf_sock_ops, which is also the record behind it."""

    OP = 0
    REPLY = 4
    FAMILY = 20
    REMOTE_IP4 = 24
    LOCAL_IP4 = 28
    REMOTE_IP6 = 32
    LOCAL_IP6 = 48
    REMOTE_PORT = 64
    LOCAL_PORT = 68
    IS_FULLSOCK = 72
    STATE = 88
    SK = 184
    SKB_DATA = 192
    SKB_DATA_END = 200


class BindMd(IntEnum):
    """Byte offsets of bind_md_t of eBPF for Windows, whose addresses have 64 bits; also of the record behind it."""

    APP_ID_START = 0
    APP_ID_END = 8
    PROCESS_ID = 16
    SOCKET_ADDRESS = 24
    SOCKET_ADDRESS_LENGTH = 40
    OPERATION = 44
    PROTOCOL = 48


SOCK_ADDR_CONTEXT: Final = ContextLayout(
    name="bpf_sock_addr",
    size=72,
    record_size=CONTEXT_ROOM,
    fields=(
        field("user_family", 0),
        field("user_ip4", 4, reads=NARROW, writes=WHOLE, attach=_INET4),
        field("user_ip4", 4, reads=NARROW, attach=_JUDGED4),
        field("user_ip6", 8, 16, reads=_ADDRESS, writes=(4, 8), attach=_INET6),
        field("user_ip6", 8, 16, reads=_ADDRESS, attach=_JUDGED6),
        field("user_port", 24, reads=NARROW, writes=WHOLE, attach=(*_INET4, *_INET6, *_UNIX)),
        field("user_port", 24, reads=NARROW, attach=(*_JUDGED4, *_JUDGED6)),
        *members("family type protocol", 28),
        field("msg_src_ip4", 40, reads=NARROW, writes=WHOLE, attach=_SENDMSG4),
        field("msg_src_ip4", 40, reads=NARROW, attach=_JUDGED4),
        field("msg_src_ip6", 44, 16, reads=_ADDRESS, writes=(4, 8), attach=_SENDMSG6),
        field("msg_src_ip6", 44, 16, reads=_ADDRESS, attach=_JUDGED6),
        field("sk", 64, 8, reads=(8,), kind=FieldKind.SOCKET),
    ),
)
"""As Linux has it; what eBPF for Windows adds as ways is only read, and shows both ends."""

SOCK_OPS_CONTEXT: Final = ContextLayout(
    name="bpf_sock_ops",
    size=224,
    record_size=CONTEXT_ROOM,
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


def _bind(
    name: str, offset: int, size: int, kind: FieldKind = FieldKind.SCALAR, *, part: bool = False, write: bool = False
) -> ContextField:
    """A field that is accessed whole, or in aligned parts; addresses only whole."""
    widths = tuple(width for width in (1, 2, 4, 8) if width <= size) if part else (size,)
    return field(name, offset, size, reads=widths, writes=widths if write else (), kind=kind)


BIND_CONTEXT: Final = ContextLayout(
    name="bind_md",
    size=56,
    record_size=CONTEXT_ROOM,
    fields=(
        _bind("app_id_start", BindMd.APP_ID_START, 8, FieldKind.REGION),
        _bind("app_id_end", BindMd.APP_ID_END, 8, FieldKind.REGION_END),
        _bind("process_id", BindMd.PROCESS_ID, 8, part=True),
        _bind("socket_address", BindMd.SOCKET_ADDRESS, 16, part=True, write=True),
        _bind("socket_address_length", BindMd.SOCKET_ADDRESS_LENGTH, 1),
        _bind("operation", BindMd.OPERATION, 4),
        _bind("protocol", BindMd.PROTOCOL, 1),
    ),
    region="app id",
    region_max=LONGEST_TEXT,
)
"""The app id is the path of the caller's program, in the bytes of its file system, without a zero at its end."""
