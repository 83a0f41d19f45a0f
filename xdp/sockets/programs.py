"""The program types about socket calls, as rows: where each is attached, what it may return, how sections name it.

Not here: contexts, helper natives, drivers; and the hooks that events go through (xdp.hooks).
"""

from __future__ import annotations

from typing import Final

from runtime.spec import AttachType, ProgramType, Section
from xdp.linux.helpers import SOCKET_OPTION_PROTOTYPES, helper_numbers
from xdp.sockets.contexts import BIND_CONTEXT, SOCK_ADDR_CONTEXT, SOCK_OPS_CONTEXT
from xdp.sockets.drivers import drive_bind, drive_sock_addr, drive_sock_ops
from xdp.sockets.helpers import BIND_NATIVES, REDIRECT_HELPERS, SOCK_ADDR_NATIVES, SOCK_OPS_NATIVES
from xdp.sockets.verdicts import BindAction, Verdict

__all__ = ["NOT_LINUX", "SOCKET_PROGRAM_TYPES", "SOCKET_SECTIONS"]

NOT_LINUX: Final = 1 << 16
"""Numbers of attach types from here on are not those of Linux."""

_YES_NO: Final = (0, 1)
_TWO_BITS: Final = (0, 3)
_ALWAYS: Final = (1, 1)
_ANY_VERDICT: Final = (0, 2)
_TYPE: Final = "cgroup_sock_addr"
_REDIRECTS: Final = frozenset(row.id for row in REDIRECT_HELPERS)
_ABOUT_SOCKETS: Final = frozenset({46, 81, 107, 122, 186, 187})

_LINUX_WAYS: Final = (
    ("cgroup_inet4_bind", 8, _TWO_BITS),
    ("cgroup_inet6_bind", 9, _TWO_BITS),
    ("cgroup_inet4_connect", 10, _YES_NO),
    ("cgroup_inet6_connect", 11, _YES_NO),
    ("cgroup_udp4_sendmsg", 14, _YES_NO),
    ("cgroup_udp6_sendmsg", 15, _YES_NO),
    ("cgroup_udp4_recvmsg", 19, _ALWAYS),
    ("cgroup_udp6_recvmsg", 20, _ALWAYS),
    ("cgroup_inet4_getpeername", 29, _ALWAYS),
    ("cgroup_inet6_getpeername", 30, _ALWAYS),
    ("cgroup_inet4_getsockname", 31, _ALWAYS),
    ("cgroup_inet6_getsockname", 32, _ALWAYS),
    ("cgroup_unix_connect", 49, _YES_NO),
    ("cgroup_unix_sendmsg", 50, _YES_NO),
    ("cgroup_unix_recvmsg", 51, _ALWAYS),
    ("cgroup_unix_getpeername", 52, _ALWAYS),
    ("cgroup_unix_getsockname", 53, _ALWAYS),
)
"""Those of AF_UNIX are verified, and no call leads to them."""

_ADDED_WAYS: Final = tuple(
    f"cgroup_inet{family}_{call}" for call in ("recv_accept", "listen", "connect_authorization") for family in "46"
)
"""Those of eBPF for Windows that Linux has not."""


def _linux(name: str, number: int, returns: tuple[int, int]) -> AttachType:
    return AttachType(name=name, linux=number, helpers=helper_numbers(_TYPE, name) | _REDIRECTS, returns=returns)


def _added(name: str, number: int) -> AttachType:
    return AttachType(name=name, linux=number, helpers=helper_numbers(_TYPE) | _REDIRECTS, returns=_ANY_VERDICT)


SOCKET_PROGRAM_TYPES: Final = (
    ProgramType(
        name=_TYPE,
        linux_type=18,
        context=SOCK_ADDR_CONTEXT,
        helpers=helper_numbers(_TYPE) | _REDIRECTS,
        prototypes=SOCKET_OPTION_PROTOTYPES,
        natives=SOCK_ADDR_NATIVES,
        driver=drive_sock_addr,
        verdicts=tuple((each.value, each.name) for each in Verdict),
        attach_types=(
            *(_linux(*row) for row in _LINUX_WAYS),
            *(_added(name, NOT_LINUX + at) for at, name in enumerate(_ADDED_WAYS)),
        ),
    ),
    ProgramType(
        name="sock_ops",
        linux_type=13,
        context=SOCK_OPS_CONTEXT,
        helpers=helper_numbers("sock_ops"),
        returns=_YES_NO,
        prototypes=SOCKET_OPTION_PROTOTYPES,
        natives=SOCK_OPS_NATIVES,
        driver=drive_sock_ops,
    ),
    ProgramType(
        name="bind",
        linux_type=None,
        context=BIND_CONTEXT,
        helpers=helper_numbers("cgroup_sock") - _ABOUT_SOCKETS,
        returns=(0, 3),
        natives=BIND_NATIVES,
        driver=drive_bind,
        verdicts=tuple((each.value, each.name) for each in BindAction),
    ),
)


def _sections() -> tuple[Section, ...]:
    families = {"bind": "inet", "connect": "inet", "sendmsg": "udp", "recvmsg": "udp"}
    families |= dict.fromkeys(("getpeername", "getsockname", "recv_accept", "listen", "connect_authorization"), "inet")
    rows = [(f"cgroup/{call}{n}", f"cgroup_{family}{n}_{call}") for call, family in families.items() for n in "46"]
    rows += [
        (f"cgroup/{call}_unix", f"cgroup_unix_{call}")
        for call in ("connect", "sendmsg", "recvmsg", "getpeername", "getsockname")
    ]
    return tuple(Section(prefix=prefix, program_type=_TYPE, attach_type=way) for prefix, way in rows)


SOCKET_SECTIONS: Final = (
    *_sections(),
    Section(prefix="sockops", program_type="sock_ops", parameter=True),
    Section(prefix="bind", program_type="bind", parameter=True),
)
"""Section names as libbpf knows them, and those that eBPF for Windows adds."""
