"""A struct or union read from a map: attributes by member name, a frozen copy.

Not here: how bytes become members (values.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Never, final

from runtime.spec import StructType

__all__ = ["StructValue"]


@final
class StructValue(Mapping[str, Any]):
    """Members as attributes (`value.packets`) and as a mapping (`value["packets"]`, `dict(value)`).

    It is a copy of what the map held when it was read: changing the map does not change it, and it cannot be changed.
    `value.replace(packets=0)` is another one, to be stored with `map[key] = …`. Members of unnamed structs and unions
    count as members of what holds them. It equals any mapping with the same members.
    """

    __slots__ = ("_members", "_type")

    def __init__(self, ctype: StructType, members: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_type", ctype)
        object.__setattr__(self, "_members", dict(members))

    _type: StructType
    _members: dict[str, Any]

    def replace(self, **changes: Any) -> StructValue:
        """The same with some members changed; other members of the same union are left out of the result.

        Raises AttributeError for members that there are not.
        """
        places = dict(_places(self._type, 0))
        for each in changes:
            if each not in places:
                raise AttributeError(f"struct {self._type.name} has no member {each!r}")
        kept = {
            name: value
            for name, value in self._members.items()
            if not any(name != each and _overlap(places[name], places[each]) for each in changes)
        }
        return StructValue(self._type, {**kept, **changes})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(f"struct {self._type.name} has no member {name!r}") from None

    def __setattr__(self, name: str, _value: object) -> Never:
        raise AttributeError(f"{name}: a value read from a map is a copy; store map[key] = value.replace({name}=…)")

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __hash__(self) -> int:
        return hash(tuple(self._members.items()))

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self._members.items())
        return f"{self._type.name or 'struct'}({members})"


def _places(ctype: StructType, base: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Each member's name, and where its bits begin and end."""
    for member in ctype.members:
        start = base + member.bit_offset
        if member.name:
            yield member.name, (start, start + (member.bits or 8 * member.type.size))
        elif isinstance(member.type, StructType):
            yield from _places(member.type, start)


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]
