"""A TypeTable made by hand."""

from __future__ import annotations

from runtime.spec import ArrayType, CType, EnumType, FloatType, IntType, Member, PointerType, StructType

U8 = IntType(size=1, signed=False, name="unsigned char", typedef="__u8")
CHAR = IntType(size=1, signed=True, char=True, name="char")
U16 = IntType(size=2, signed=False, name="unsigned short", typedef="__u16")
U32 = IntType(size=4, signed=False, name="unsigned int", typedef="__u32")
S32 = IntType(size=4, signed=True, name="int")
U64 = IntType(size=8, signed=False, name="unsigned long long", typedef="__u64")
U128 = IntType(size=16, signed=False, name="unsigned __int128")
BE16 = IntType(size=2, signed=False, name="unsigned short", typedef="__be16")
BE32 = IntType(size=4, signed=False, name="unsigned int", typedef="__be32")
BOOL = IntType(size=1, signed=False, boolean=True, name="_Bool")
DOUBLE = FloatType(8)
POINTER = PointerType()
COLOR = EnumType(size=4, signed=True, name="color", values=(("RED", 0), ("BLUE", -2)))
IN6 = StructType(
    name="in6_addr", size=16, members=(Member(name="b", type=ArrayType(element=U8, count=16), bit_offset=0),)
)


def struct(name: str, *members: tuple[str, CType], union: bool = False) -> StructType:
    """A packed struct, or a union, of those members."""
    at, placed = 0, []
    for label, ctype in members:
        placed.append(Member(name=label, type=ctype, bit_offset=0 if union else at * 8))
        at += ctype.size
    size = max(ctype.size for _, ctype in members) if union else at
    return StructType(name=name, size=size, members=tuple(placed), union=union)


class Types:
    """Types by id; ids begin at 1."""

    def __init__(self, *types: CType) -> None:
        self._types = types

    def ctype(self, type_id: int) -> CType | None:
        """The type with that id."""
        return self._types[type_id - 1] if 0 < type_id <= len(self._types) else None
