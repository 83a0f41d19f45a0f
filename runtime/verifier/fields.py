"""Whether a field of a struct may be read or written in that way, by its row.

Not here: structs. Contexts and kernel objects have the same kind of rows.
"""

from __future__ import annotations

from runtime.spec import ContextLayout, FieldKind
from runtime.verifier.failure import Failure, FailureCode

__all__ = ["check_field"]


def check_field(layout: ContextLayout, offset: int, size: int, *, write: bool) -> Failure | None:
    """Whether `size` bytes at `offset` of the struct are a field, or a part of one, that may be read or written so."""
    field = layout.field_at(offset, size)
    verb = "written" if write else "read"
    if field is None:
        return Failure(
            FailureCode.CONTEXT,
            f"struct {layout.name} has no field at offset {offset} that is {verb} {size} bytes wide: "
            "use the struct of this program type",
        )
    widths = field.writes if write else field.reads
    if size not in widths:
        name = f"{layout.name}.{field.name}"
        if not widths:
            return Failure(
                FailureCode.CONTEXT,
                f"{name} may not be {verb} by programs of this type: keep such a number in a variable or a map",
            )
        ways = " or ".join(map(str, sorted(widths)))
        return Failure(
            FailureCode.CONTEXT,
            f"{name} is {verb} {size} bytes wide, and may only be {ways}: use the whole field",
        )
    if offset % size or (field.from_start and offset != field.offset):
        where = "from its first byte" if field.from_start else f"at multiples of {size}"
        return Failure(
            FailureCode.CONTEXT,
            f"{size} bytes of {layout.name}.{field.name} may be {verb} only {where}; this is offset {offset}",
        )
    if field.kind is not FieldKind.SCALAR and write:
        return Failure(FailureCode.CONTEXT, f"{layout.name}.{field.name} may not be written")
    return None
