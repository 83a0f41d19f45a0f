"""The program types of Linux that are verified here and run by nothing yet.

Not here: contexts, helper sets, section names; these rows put them together. Return values are those that the kernel's
verifier enforces.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import AttachType, ProgramType
from xdp.linux.helpers import CURRENT_PROTOTYPES, SOCK_PROTOTYPES, helper_numbers
from xdp.linux.skb import CGROUP_SKB_CONTEXT, CLASSIFIER_CONTEXT, SOCKET_FILTER_CONTEXT
from xdp.linux.sock import SOCK_CONTEXT
from xdp.linux.tracing import PERF_EVENT_CONTEXT, PT_REGS_CONTEXT, RAW_TRACEPOINT_CONTEXT, TRACEPOINT_CONTEXT

__all__ = ["LINUX_PROGRAM_TYPES"]

_YES_NO: Final = (0, 1)
_TWO_BITS: Final = (0, 3)
_LOCKS: Final = ("bpf_spin_lock",)
_TRACING_REFUSES: Final = ("bpf_spin_lock", "bpf_timer")


def _ways(program_type: str, *rows: tuple[str, int, tuple[int, int] | None]) -> tuple[AttachType, ...]:
    return tuple(
        AttachType(name=name, linux=number, helpers=helper_numbers(program_type, name), returns=returns)
        for name, number, returns in rows
    )


_SOCK_WAYS: Final = _ways(
    "cgroup_sock",
    ("cgroup_inet_sock_create", 2, _YES_NO),
    ("cgroup_inet_sock_release", 34, _YES_NO),
    ("cgroup_inet4_post_bind", 12, _YES_NO),
    ("cgroup_inet6_post_bind", 13, _YES_NO),
)

_SKB_WAYS: Final = _ways("cgroup_skb", ("cgroup_inet_ingress", 0, _YES_NO), ("cgroup_inet_egress", 1, _TWO_BITS))

_PROBE_WAYS: Final = _ways(
    "kprobe",
    ("kprobe", 0, None),
    ("trace_kprobe_multi", 42, None),
    ("trace_uprobe_multi", 48, None),
    ("trace_kprobe_session", 56, _YES_NO),
    ("trace_uprobe_session", 57, _YES_NO),
)

LINUX_PROGRAM_TYPES: Final = (
    ProgramType(
        name="socket_filter",
        refuses=_LOCKS,
        linux_type=1,
        context=SOCKET_FILTER_CONTEXT,
        helpers=helper_numbers("socket_filter"),
        prototypes=CURRENT_PROTOTYPES,
        legacy_packet_loads=True,
    ),
    ProgramType(
        name="kprobe",
        refuses=_TRACING_REFUSES,
        linux_type=2,
        context=PT_REGS_CONTEXT,
        helpers=helper_numbers("kprobe"),
        prototypes=CURRENT_PROTOTYPES,
        attach_types=_PROBE_WAYS,
    ),
    ProgramType(
        name="sched_cls",
        linux_type=3,
        context=CLASSIFIER_CONTEXT,
        helpers=helper_numbers("sched_cls"),
        legacy_packet_loads=True,
    ),
    ProgramType(
        name="sched_act",
        linux_type=4,
        context=CLASSIFIER_CONTEXT,
        helpers=helper_numbers("sched_act"),
        legacy_packet_loads=True,
    ),
    ProgramType(
        name="tracepoint",
        refuses=_TRACING_REFUSES,
        linux_type=5,
        context=TRACEPOINT_CONTEXT,
        helpers=helper_numbers("tracepoint"),
        prototypes=CURRENT_PROTOTYPES,
    ),
    ProgramType(
        name="perf_event",
        refuses=_TRACING_REFUSES,
        linux_type=7,
        context=PERF_EVENT_CONTEXT,
        helpers=helper_numbers("perf_event"),
        prototypes=CURRENT_PROTOTYPES,
    ),
    ProgramType(
        name="cgroup_skb",
        linux_type=8,
        context=CGROUP_SKB_CONTEXT,
        helpers=helper_numbers("cgroup_skb"),
        prototypes=CURRENT_PROTOTYPES,
        attach_types=_SKB_WAYS,
    ),
    ProgramType(
        name="cgroup_sock",
        linux_type=9,
        context=SOCK_CONTEXT,
        helpers=helper_numbers("cgroup_sock"),
        prototypes=SOCK_PROTOTYPES,
        attach_types=_SOCK_WAYS,
    ),
    ProgramType(
        name="raw_tracepoint",
        refuses=_TRACING_REFUSES,
        linux_type=17,
        context=RAW_TRACEPOINT_CONTEXT,
        helpers=helper_numbers("raw_tracepoint"),
        prototypes=CURRENT_PROTOTYPES,
    ),
)
"""In order of their UAPI numbers."""
