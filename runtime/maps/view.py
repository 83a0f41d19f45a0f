"""A struct or union read from a map: attributes by member name, a frozen copy.

Not here: how bytes become members (values.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Never, final

__all__ = ["StructValue"]


@final
class StructValue(Mapping[str, Any]):
    """Members as attributes (`value.packets`) and as a mapping (`value["packets"]`, `dict(value)`).

    It is a copy of what the map held when it was read: changing the map does not change it, and it cannot be changed.
    `value.replace(packets=0)` is another one, to be stored with `map[key] = …`. It equals any mapping with the same
    members.
    """

    __slots__ = ("_members", "_name")

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_members", dict(members))

    _name: str
    _members: dict[str, Any]

    def replace(self, **changes: Any) -> StructValue:
        """The same with some members changed; raises AttributeError for members that there are not."""
        for each in changes:
            if each not in self._members:
                raise AttributeError(f"struct {self._name} has no member {each!r}")
        return StructValue(self._name, {**self._members, **changes})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._members[name]
        except KeyError:
            raise AttributeError(f"struct {self._name} has no member {name!r}") from None

    def __setattr__(self, name: str, _value: object) -> Never:
        raise AttributeError(f"{name}: a value read from a map is a copy; store map[key] = value.replace({name}=…)")

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __hash__(self) -> int:
        return hash((self._name, tuple(self._members.items())))

    def __eq__(self, other: object) -> bool:
        return dict(self) == dict(other) if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self._members.items())
        return f"{self._name or 'struct'}({members})"
