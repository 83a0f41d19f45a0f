"""The context of programs about sockets: struct bpf_sock.

Not here: who may be attached where (programs.py); fields name the attach types that see them.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextLayout
from xdp.linux.fields import NARROW, WHOLE, field

__all__ = ["SOCK_CONTEXT"]

_SETUP: Final = ("cgroup_inet_sock_create", "cgroup_inet_sock_release")
_POST_BIND4: Final = ("cgroup_inet4_post_bind",)
_POST_BIND6: Final = ("cgroup_inet6_post_bind",)

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
