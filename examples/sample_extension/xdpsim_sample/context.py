"""What a program is handed: struct sample_context as rows, and the record of 64-bit words behind it."""

from enum import IntEnum

from runtime.spec import ContextField, ContextLayout, FieldKind


class Record(IntEnum):
    """Byte offsets in the record. NUMBER is for a helper only: no field leads there."""

    DATA = 0
    DATA_END = 8
    KIND = 16
    PORT = 24
    MARK = 32
    NUMBER = 40


RECORD_SIZE = 48
LONGEST = 4096

SAMPLE_CONTEXT = ContextLayout(
    name="sample_context",
    size=32,
    record_size=RECORD_SIZE,
    region="data",
    region_max=LONGEST,
    region_writable=True,
    fields=(
        ContextField(name="data", offset=0, size=8, kind=FieldKind.REGION, reads=(8,), record_offset=Record.DATA),
        ContextField(
            name="data_end", offset=8, size=8, kind=FieldKind.REGION_END, reads=(8,), record_offset=Record.DATA_END
        ),
        ContextField(name="kind", offset=16, size=4, reads=(4,), record_offset=Record.KIND),
        ContextField(name="port", offset=20, size=2, reads=(2,), record_offset=Record.PORT),
        ContextField(name="mark", offset=24, size=4, reads=(4,), writes=(4,), record_offset=Record.MARK),
    ),
)
