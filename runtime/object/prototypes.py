"""What BTF says of the parameters of a function: what a caller may count on when the function is verified on its own.

Not here: what follows from it (runtime.verifier.functions).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, final

from runtime.errors import ObjectError
from runtime.object.btf import Btf, Kind
from runtime.spec import Parameter, Signature

__all__ = ["Prototypes"]

_TAG: Final = "arg:"
_NUMBERS: Final = frozenset({Kind.INT, Kind.ENUM, Kind.ENUM64})
_STRUCTS: Final = frozenset({Kind.STRUCT, Kind.UNION, Kind.FWD})


@final
class Prototypes:
    """The signatures of the functions of an object, by the id of the FUNC."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self._tags: defaultdict[tuple[int, int], set[str]] | None = None

    def signature(self, function: int) -> Signature | None:
        """The parameters of a function, or None where BTF does not describe them whole."""
        prototype = self._btf.type(self._btf.type(function).value)
        if prototype.kind is not Kind.FUNC_PROTO:
            return None
        found = self._btf.type(self._btf.resolve(prototype.value))
        parameters = tuple(
            self._parameter(prototype.words[2 * at + 1], frozenset(self._tagged(function, at)))
            for at in range(len(prototype.words) // 2)
        )
        return Signature(parameters=parameters, scalar=found.kind in _NUMBERS | {Kind.VOID})

    def _parameter(self, number: int, tags: frozenset[str]) -> Parameter:
        found = self._btf.type(self._btf.resolve(number))
        if found.kind in _NUMBERS:
            return Parameter(pointer=False, tags=tags)
        if found.kind is not Kind.PTR:
            return Parameter(pointer=True, tags=tags | {"unknown"})
        target = self._btf.type(self._btf.resolve(found.value))
        try:
            size = self._btf.size(found.value) if found.value else 0
        except ObjectError:
            size = 0
        return Parameter(pointer=True, size=size, struct=target.name if target.kind in _STRUCTS else "", tags=tags)

    def _tagged(self, function: int, parameter: int) -> set[str]:
        """The `arg:` tags of a parameter, without that prefix."""
        if self._tags is None:
            self._tags = defaultdict(set)
            for number in range(1, len(self._btf)):
                each = self._btf.type(number)
                if each.kind is Kind.DECL_TAG and each.name.startswith(_TAG):
                    self._tags[each.value, each.words[0]].add(each.name.removeprefix(_TAG))
        return self._tags.get((function, parameter), set())
