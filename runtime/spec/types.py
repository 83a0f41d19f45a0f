"""C types as BTF describes them: enough to read and write map keys and values by name.

Not here: the BTF wire format (runtime.object.btf).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

__all__ = [
    "ArrayType",
    "CType",
    "EnumType",
    "FloatType",
    "IntType",
    "Member",
    "OpaqueType",
    "PointerType",
    "StructType",
    "TypeTable",
]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IntType:
    """An integer of `size` bytes; `typedef` is the outermost typedef it was reached through ("__be32")."""

    size: int
    signed: bool
    boolean: bool = False
    char: bool = False
    name: str = ""
    typedef: str = ""


@final
@dataclass(frozen=True, slots=True)
class FloatType:
    """A floating-point number of `size` bytes."""

    size: int


@final
@dataclass(frozen=True, slots=True)
class PointerType:
    """A pointer, 8 bytes."""

    size: int = 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EnumType:
    """An enumeration of `size` bytes."""

    size: int
    signed: bool
    name: str
    values: tuple[tuple[str, int], ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayType:
    """`count` elements of one type."""

    element: CType
    count: int

    @property
    def size(self) -> int:
        """The width in bytes."""
        return self.element.size * self.count


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a struct or union: `bit_offset` from the start, `bits` 0 unless a bit field."""

    name: str
    type: CType
    bit_offset: int
    bits: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StructType:
    """A struct or union of `size` bytes."""

    name: str
    size: int
    members: tuple[Member, ...]
    union: bool = False


@final
@dataclass(frozen=True, slots=True)
class OpaqueType:
    """Something of `size` bytes that has no reading here."""

    size: int
    name: str = ""


CType = IntType | FloatType | PointerType | EnumType | ArrayType | StructType | OpaqueType


class TypeTable(Protocol):
    """BTF, read: ids to types."""

    def ctype(self, type_id: int) -> CType | None:
        """The type with modifiers and typedefs resolved, or None for void, 0 and ids out of range."""
        ...
