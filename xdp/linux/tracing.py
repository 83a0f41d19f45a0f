"""The contexts of tracing programs: registers, the record of a tracepoint, the arguments of a raw one.

Not here: what the numbers mean; a tracepoint's record depends on the tracepoint.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextField, ContextLayout
from xdp.linux.fields import field

__all__ = ["PERF_EVENT_CONTEXT", "PT_REGS_CONTEXT", "RAW_TRACEPOINT_CONTEXT", "TRACEPOINT_CONTEXT"]

_WORD: Final = (1, 2, 4, 8)
_REGISTERS: Final = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss"),
)
_RECORD_MAX: Final = 8192
_ARGUMENTS: Final = 12


def _registers(*, reads: tuple[int, ...]) -> tuple[ContextField, ...]:
    """The fields of struct pt_regs on x86-64."""
    return tuple(field(name, 8 * index, 8, reads=reads) for index, name in enumerate(_REGISTERS))


PT_REGS_CONTEXT: Final = ContextLayout(
    name="pt_regs",
    size=8 * len(_REGISTERS),
    record_size=8 * len(_REGISTERS),
    fields=_registers(reads=_WORD),
)

PERF_EVENT_CONTEXT: Final = ContextLayout(
    name="bpf_perf_event_data",
    size=184,
    record_size=184,
    fields=(
        *_registers(reads=(8,)),
        field("sample_period", 168, 8, reads=_WORD),
        field("addr", 176, 8, reads=_WORD),
    ),
)

TRACEPOINT_CONTEXT: Final = ContextLayout(
    name="trace_entry",
    size=_RECORD_MAX,
    record_size=_RECORD_MAX,
    fields=(field("fields", 8, _RECORD_MAX - 8, reads=_WORD),),
)
"""The first eight bytes, common to all tracepoints, are not for programs."""

RAW_TRACEPOINT_CONTEXT: Final = ContextLayout(
    name="bpf_raw_tracepoint_args",
    size=8 * _ARGUMENTS,
    record_size=8 * _ARGUMENTS,
    fields=tuple(field(f"args[{index}]", 8 * index, 8, reads=_WORD) for index in range(_ARGUMENTS)),
)
