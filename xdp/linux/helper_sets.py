"""Which helpers each program type of Linux may call, as Linux 6.18 says when it is asked.

Not here: what reads it (helpers.py). Written by `python -m tests.support.kernel_types`; tests/kernel asks again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BY_ATTACH_TYPE", "BY_TYPE", "EVERYWHERE"]

EVERYWHERE: Final = (
    "1-3 5-8 12 14-17 22 25 35 37 42 55 80 87-89 93-94 105-106 109 112-115 117-118 120 123 125 "
    "130-134 141 149 153-154 156-158 164-165 169-172 175-177 180-182 194-195 197-203 208-211"
)
"""All types."""

BY_TYPE: Final = {
    "socket_filter": "26 46-47 68 122 136-140 160 178 196",
    "kprobe": "4 27 45 67 173-174",
    "sched_cls": (
        "9-11 13 18-21 23-24 26 28-34 38-41 43 46-48 50 66 68-69 79 83-86 95-100 107-108 110 122 124 "
        "135-140 151-152 155 160 163 178 192 196 204-207"
    ),
    "sched_act": (
        "9-11 13 18-21 23-24 26 28-34 38-41 43 46-48 50 66 68-69 79 83-86 95-100 107-108 110 122 124 "
        "135-140 151-152 155 160 163 178 192 196 204-207"
    ),
    "tracepoint": "4 27 45 67 174",
    "perf_event": "4 27 45 56 67 119 174",
    "cgroup_skb": "26 46-47 68 79 81 83-86 95-99 107-108 122 128-129 136-140 160 178 196",
    "cgroup_sock": "46 81 107 122 160 186-187",
    "sock_ops": "46 49 53 57 59 70 81 96 107-108 122 136-140 142-144 160 178 196",
    "raw_tracepoint": "4 27 45 67 174",
    "cgroup_sock_addr": "46 49 57 81 84-86 99 107-108 122 136-140 160 178 196",
}
"""Beyond that, by program type."""

BY_ATTACH_TYPE: Final = {
    "cgroup_inet4_bind": "186-187",
    "cgroup_inet6_bind": "186-187",
    "cgroup_inet4_connect": "64 186-187",
    "cgroup_inet6_connect": "64 186-187",
    "cgroup_udp4_sendmsg": "186-187",
    "cgroup_udp6_sendmsg": "186-187",
    "cgroup_unix_connect": "186-187",
    "cgroup_unix_sendmsg": "186-187",
}
"""Beyond both, by attach type."""
