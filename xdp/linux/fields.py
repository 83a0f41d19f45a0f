"""How context fields are written down here: by name, offset and size, in the few ways that Linux permits accesses.

Not here: any field.
"""

from __future__ import annotations

from typing import Final

from runtime.spec import ContextField, FieldKind

__all__ = ["NARROW", "WHOLE", "field", "members"]

NARROW: Final = (1, 2, 4)
"""A 32-bit field, or any aligned part of it."""

WHOLE: Final = (4,)
"""A 32-bit field as a whole."""


def field(
    name: str,
    offset: int,
    size: int = 4,
    *,
    reads: tuple[int, ...] = WHOLE,
    writes: tuple[int, ...] = (),
    kind: FieldKind = FieldKind.SCALAR,
    attach: tuple[str, ...] = (),
    from_start: bool = False,
) -> ContextField:
    """A field of a context that no engine fills: its place in the record is its place in the layout."""
    return ContextField(
        name=name,
        offset=offset,
        size=size,
        kind=kind,
        reads=reads,
        writes=writes,
        record_offset=offset,
        record_size=size,
        attach_types=attach,
        from_start=from_start,
    )


def members(names: str, offset: int, *, reads: tuple[int, ...] = WHOLE) -> tuple[ContextField, ...]:
    """Read-only 32-bit fields, one after the other."""
    return tuple(field(name, offset + 4 * index, reads=reads) for index, name in enumerate(names.split()))
