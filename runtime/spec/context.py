"""The context that a program type hands to its programs: fields, permissions, and where they really live.

Not here: any context. The layout a program was compiled against (`offset`, `size`) is one thing, the record
that an engine passes (`record_offset`, 64-bit words) another; a field's row maps the first to the second,
so that several layouts can share one record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import final

__all__ = ["ContextField", "ContextLayout", "FieldKind"]


class FieldKind(Enum):
    """What a load of the field yields."""

    SCALAR = "scalar"
    REGION = "region start"
    REGION_END = "region end"
    REGION_META = "metadata start"
    SOCKET = "sock"
    SOCK_COMMON_OR_NULL = "sock_common_or_null"
    SOCKET_OR_NULL = "sock_or_null"
    RESERVED = "reserved"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ContextField:
    """One field. `offset` and `size` in bytes of the declared layout.

    `reads` and `writes` are the permitted access widths in bytes, at any offset of the layout inside the field that is a
    multiple of the width, or with `from_start` only where the field begins; empty means forbidden. `record_offset` is the byte in the engine's record where the value
    lives, and `record_size` its width there (a REGION pointer is 8). `attach_types` restricts
    the field to some attach types; empty means all.
    """

    name: str
    offset: int
    size: int
    kind: FieldKind = FieldKind.SCALAR
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    record_offset: int = 0
    record_size: int = 8
    attach_types: tuple[str, ...] = ()
    from_start: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLayout:
    """A context type: its C name, its size as declared, its fields, and the size of the record behind it.

    `region` names the memory between REGION and REGION_END in messages ("packet"); `region_max` is the largest
    length in bytes that it can have; `region_writable` says whether programs may store into it, `region_in_helpers`
    whether helpers that take such memory may be given it. A field may lie inside a later one that allows wider accesses.
    """

    name: str
    size: int
    record_size: int
    fields: tuple[ContextField, ...]
    region: str = "packet"
    region_max: int = 0xFFFF
    region_writable: bool = False
    region_in_helpers: bool = True

    def field_at(self, offset: int, width: int) -> ContextField | None:
        """The field that holds [offset, offset + width), or None."""
        for field in self.fields:
            if field.offset <= offset and offset + width <= field.offset + field.size:
                return field
        return None
