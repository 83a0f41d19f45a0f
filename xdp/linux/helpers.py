"""Helpers as the program types of Linux have them: which they may call, with which prototypes, on which maps.

Not here: the sets as the running kernel has them (helper_sets.py), and what runs a helper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from runtime.helpers import LINUX_HELPERS, linux_helper
from runtime.spec import Arg, ArgType, Helper, Prototype
from xdp.linux.helper_sets import BY_ATTACH_TYPE, BY_TYPE, EVERYWHERE

__all__ = ["CURRENT_PROTOTYPES", "LINUX_HELPER_ROWS", "SOCKET_OPTION_PROTOTYPES", "SOCK_PROTOTYPES", "helper_numbers"]

_ELSEWHERE: Final = {
    "kprobe": frozenset({36, 58}),
    "tracepoint": frozenset({36}),
    "perf_event": frozenset({36}),
    "raw_tracepoint": frozenset({36}),
}
"""What the types may call on other kernels: probe_write_user where the kernel is not locked down, override_return where it
is built with CONFIG_BPF_KPROBE_OVERRIDE."""

_NAMES: Final = {
    44: "xdp_adjust_head", 54: "xdp_adjust_meta", 65: "xdp_adjust_tail", 121: "xdp_output",
    188: "xdp_get_buff_len", 189: "xdp_load_bytes", 190: "xdp_store_bytes",
}  # fmt: skip

_MAP_TYPES: Final = {
    **dict.fromkeys((22, 25, 55, 111, 121), (4,)),
    27: (7,),
    **dict.fromkeys((33, 37), (8,)),
    **dict.fromkeys((52, 53, 60), (15,)),
    **dict.fromkeys((70, 71, 72), (18,)),
    81: (19, 21),
    82: (15, 18, 20),
    **dict.fromkeys((87, 89), (22, 23, 30)),
    88: (22, 23),
    **dict.fromkeys((107, 108), (24,)),
    **dict.fromkeys((130, 131, 134, 198), (27,)),
    **dict.fromkeys((145, 146), (28,)),
    **dict.fromkeys((156, 157), (29,)),
    169: (1, 2, 9),
    209: (31,),
    **dict.fromkeys((210, 211), (32,)),
}
"""Map types (UAPI numbers) by helper, for helpers that take no other: check_map_func_compatibility of the kernel."""

LINUX_HELPER_ROWS: Final[tuple[Helper, ...]] = tuple(
    replace(row, name=_NAMES.get(row.id, row.name), map_types=_MAP_TYPES.get(row.id, ())) for row in LINUX_HELPERS
)
"""All of Linux, known and not run. An extension that runs some of them registers its own rows instead."""


def _on_context(number: int, position: int) -> tuple[int, Prototype]:
    """The helper takes the context where others take a socket."""
    prototype = linux_helper(number).prototype
    args = list(prototype.args)
    args[position - 1] = Arg(ArgType.CONTEXT)
    return number, replace(prototype, args=tuple(args))


CURRENT_PROTOTYPES: Final = ((17, replace(linux_helper(17).prototype, args=())),)
"""get_cgroup_classid of programs about the current task: only a packet's comes from the context."""

SOCKET_OPTION_PROTOTYPES: Final = (*CURRENT_PROTOTYPES, _on_context(49, 1), _on_context(57, 1))
"""Those, and setsockopt and getsockopt of programs whose context is a socket's."""

SOCK_PROTOTYPES: Final = (*CURRENT_PROTOTYPES, _on_context(107, 2))
"""Those, and sk_storage_get of programs whose context is the socket itself."""


def _numbers(text: str) -> Iterator[int]:
    for word in text.split():
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def helper_numbers(program_type: str, attach_type: str = "") -> frozenset[int]:
    """The helpers that programs of a type may call, attached in that way (in any way by default)."""
    texts = EVERYWHERE, BY_TYPE[program_type], BY_ATTACH_TYPE.get(attach_type, "")
    return frozenset(number for text in texts for number in _numbers(text)) | _ELSEWHERE.get(program_type, frozenset())
