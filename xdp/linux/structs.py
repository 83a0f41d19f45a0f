"""Objects of the kernel that programs hold pointers to: sockets with fields to read, and structs that are only handed on.

Not here: who gets such pointers (contexts, helpers and maps say it). Offsets and widths are those of the UAPI header and of the
kernel's checks (net/core/filter.c).
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextField, ContextLayout, KernelStruct
from xdp.linux.fields import field, members
from xdp.linux.sock import SOCK_CONTEXT

__all__ = ["LINUX_STRUCTS"]

_SOCKET: Final = frozenset({"sock_common", "any_sock_common"})
_TYPE, _PRIORITY_END = 8, 24


def _layout(name: str, size: int, fields: tuple[ContextField, ...]) -> ContextLayout:
    return ContextLayout(name=name, size=size, record_size=size, fields=fields)


def _readable(row: ContextField) -> ContextField:
    """The field without leave to write, and wherever the pointer comes from."""
    return field(row.name, row.offset, row.size, reads=row.reads, from_start=row.from_start)


_SOCK_FIELDS: Final = tuple(_readable(row) for row in SOCK_CONTEXT.fields)
_COMMON_FIELDS: Final = tuple(row for row in _SOCK_FIELDS if not _TYPE <= row.offset < _PRIORITY_END)
_TCP_SOCK: Final = (
    *members(
        "snd_cwnd srtt_us rtt_min snd_ssthresh rcv_nxt snd_nxt snd_una mss_cache ecn_flags rate_delivered rate_interval_us "
        "packets_out retrans_out total_retrans segs_in data_segs_in segs_out data_segs_out lost_out sacked_out",
        0,
    ),
    field("bytes_received", 80, 8, reads=(8,)),
    field("bytes_acked", 88, 8, reads=(8,)),
    *members("dsack_dups delivered delivered_ce icsk_retransmits", 96),
)

_BY_BTF: Final = {
    **dict.fromkeys(
        ("tcp_sock", "tcp6_sock", "tcp_timewait_sock", "tcp_request_sock", "udp6_sock", "unix_sock", "mptcp_sock"),
        frozenset({"any_sock_common"}),
    ),
    **dict.fromkeys(("task_struct", "pt_regs"), frozenset[str]()),
}
"""Structs whose fields differ from kernel to kernel, and what takes pointers to them."""

LINUX_STRUCTS: Final = (
    KernelStruct(name="sock", words="a socket", layout=_layout("bpf_sock", 80, _SOCK_FIELDS), passes_as=_SOCKET),
    KernelStruct(
        name="sock_common",
        words="the common part of a socket",
        layout=_layout("bpf_sock", 80, _COMMON_FIELDS),
        passes_as=_SOCKET,
    ),
    KernelStruct(
        name="tcp_sock", words="a TCP socket", layout=_layout("bpf_tcp_sock", 112, _TCP_SOCK), passes_as=_SOCKET
    ),
    KernelStruct(
        name="xdp_sock",
        words="an AF_XDP socket",
        layout=_layout("bpf_xdp_sock", 4, ()),  # of which there is a number here, and no queue
        passes_as=_SOCKET,
    ),
    *(
        KernelStruct(
            name=f"struct {name}", words=f"a struct {name} of the kernel", layout=_layout(name, 0, ()), passes_as=takers
        )
        for name, takers in _BY_BTF.items()
    ),
)
