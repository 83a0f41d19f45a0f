"""struct __sk_buff, of which each program type sees a part.

Not here: the packet itself; rules for that are those of the region that a layout declares.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextField, ContextLayout, FieldKind
from xdp.linux.fields import NARROW, WHOLE, field, members

__all__ = ["CGROUP_SKB_CONTEXT", "CLASSIFIER_CONTEXT", "SOCKET_FILTER_CONTEXT"]

_SIZE: Final = 192
_ANY_CELLS: Final = (1, 2, 4, 8)

_CB: Final = field("cb", 48, 20, reads=_ANY_CELLS, writes=_ANY_CELLS)
_SK: Final = field("sk", 168, 8, reads=(8,), kind=FieldKind.SOCK_COMMON_OR_NULL)
_LAST: Final = (field("gso_segs", 164, reads=NARROW), _SK, field("gso_size", 176, reads=NARROW))
_TSTAMP: Final = field("tstamp", 152, 8, reads=(8,), writes=(8,))
_HWTSTAMP: Final = field("hwtstamp", 184, 8, reads=(8,))
_PACKET: Final = (
    field("data", 76, kind=FieldKind.REGION),
    field("data_end", 80, kind=FieldKind.REGION_END),
)
_NAPI_ID: Final = field("napi_id", 84, reads=NARROW)


def _head(*writable: str) -> tuple[ContextField, ...]:
    """The fields up to `hash`, of which all can be read in any width and these be written whole."""
    names = (
        *("len", "pkt_type", "mark", "queue_mapping", "protocol", "vlan_present", "vlan_tci", "vlan_proto"),
        *("priority", "ingress_ifindex", "ifindex", "tc_index"),
    )
    first = tuple(
        field(name, 4 * index, reads=NARROW, writes=WHOLE if name in writable else ())
        for index, name in enumerate(names)
    )
    return *first, _CB, field("hash", 68, reads=NARROW)


SOCKET_FILTER_CONTEXT: Final = ContextLayout(
    name="__sk_buff", size=_SIZE, record_size=_SIZE, fields=(*_head(), _NAPI_ID, *_LAST)
)

CLASSIFIER_CONTEXT: Final = ContextLayout(
    name="__sk_buff",
    size=_SIZE,
    record_size=_SIZE,
    fields=(
        *_head("mark", "queue_mapping", "priority", "tc_index"),
        field("tc_classid", 72, reads=NARROW, writes=WHOLE),
        *_PACKET,
        _NAPI_ID,
        field("data_meta", 140, kind=FieldKind.REGION_META),
        _TSTAMP,
        field("wire_len", 160, reads=NARROW),
        *_LAST,
        field("tstamp_type", 180, 1, reads=(1,)),
        _HWTSTAMP,
    ),
    region_writable=True,
)
"""What sched_cls and sched_act see."""

CGROUP_SKB_CONTEXT: Final = ContextLayout(
    name="__sk_buff",
    size=_SIZE,
    record_size=_SIZE,
    fields=(
        *_head("mark", "priority"),
        *_PACKET,
        _NAPI_ID,
        field("family", 88, reads=NARROW),
        *members("remote_ip4 local_ip4", 92),
        field("remote_ip6", 100, 16),
        field("local_ip6", 116, 16),
        *members("remote_port local_port", 132, reads=NARROW),
        _TSTAMP,
        *_LAST,
        _HWTSTAMP,
    ),
)
