"""Section names as libbpf knows them, and as older loaders wrote them.

Not here: how a name is looked up (runtime.spec.Registry).
"""

from __future__ import annotations

from typing import Final

from runtime.spec import Section

__all__ = ["LINUX_SECTIONS"]


def _cgroup() -> tuple[Section, ...]:
    """cgroup/sock_create and its like."""
    rows = [
        ("cgroup/sock", "cgroup_sock", "cgroup_inet_sock_create"),
        ("cgroup/sock_create", "cgroup_sock", "cgroup_inet_sock_create"),
        ("cgroup/sock_release", "cgroup_sock", "cgroup_inet_sock_release"),
        ("cgroup/post_bind4", "cgroup_sock", "cgroup_inet4_post_bind"),
        ("cgroup/post_bind6", "cgroup_sock", "cgroup_inet6_post_bind"),
        ("cgroup/skb", "cgroup_skb", "cgroup_inet_ingress"),
        ("cgroup_skb/ingress", "cgroup_skb", "cgroup_inet_ingress"),
        ("cgroup_skb/egress", "cgroup_skb", "cgroup_inet_egress"),
    ]
    return tuple(Section(prefix=prefix, program_type=kind, attach_type=attach) for prefix, kind, attach in rows)


def _open(program_type: str, *prefixes: str, attach: str = "") -> tuple[Section, ...]:
    """Names after which a slash and anything may follow."""
    return tuple(
        Section(prefix=prefix, program_type=program_type, attach_type=attach, parameter=True) for prefix in prefixes
    )


LINUX_SECTIONS: Final = (
    *_open("socket_filter", "socket"),
    *_open("sched_cls", "tc", "tcx", "classifier", "netkit"),
    *_open("sched_act", "action"),
    *_open("kprobe", "kprobe", "kretprobe", "ksyscall", "kretsyscall", attach="kprobe"),
    *_open("kprobe", "uprobe", "uprobe.s", "uretprobe", "uretprobe.s", "usdt", "usdt.s", attach="kprobe"),
    *_open("kprobe", "kprobe.multi", "kretprobe.multi", attach="trace_kprobe_multi"),
    *_open("kprobe", "kprobe.session", attach="trace_kprobe_session"),
    *_open(
        "kprobe", "uprobe.multi", "uretprobe.multi", "uprobe.multi.s", "uretprobe.multi.s", attach="trace_uprobe_multi"
    ),
    *_open("kprobe", "uprobe.session", "uprobe.session.s", attach="trace_uprobe_session"),
    *_open("tracepoint", "tracepoint", "tp"),
    *_open("raw_tracepoint", "raw_tracepoint", "raw_tp"),
    *_open("perf_event", "perf_event"),
    *_cgroup(),
)
"""Programs of sections that end in `.s` may sleep in Linux; here they get the helpers of programs that may not."""
