"""What a native refers to: other natives, intrinsics, constants; and the digest of all of it.

Not here: the source text. The digest is taken from the byte code, so that a warm start reads no source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import EnumType
from types import FunctionType
from typing import Any, Final

from runtime.errors import InternalError
from runtime.native.function import NativeFunction
from runtime.native.intrinsics import INTRINSICS

__all__ = ["closure", "constants", "own_digest", "references"]

_INTRINSICS: Final[dict[object, str]] = {function: function.__name__ for function in INTRINSICS}

Reference = NativeFunction | str | int | EnumType


def references(function: NativeFunction) -> dict[str, Reference]:
    """Global names of a native's code: natives, names of intrinsics, integers, enumerations.

    Names that mean something else (`range`) are left out.
    """
    scope = function.python.__globals__
    found: dict[str, Reference] = {}
    for name in function.python.__code__.co_names:
        value = scope.get(name)
        if isinstance(value, NativeFunction | EnumType):
            found[name] = value
        elif isinstance(value, int):
            found[name] = int(value)
        elif isinstance(value, FunctionType) and value in _INTRINSICS:
            found[name] = _INTRINSICS[value]
    return found


def constants(names: EnumType) -> dict[str, int]:
    """The members of an integer enumeration."""
    members: Mapping[str, Any] = names.__members__
    return {name: int(member.value) for name, member in members.items()}


def own_digest(function: NativeFunction) -> str:
    """SHA-256, in hex, of a native's code and the constants and names that it refers to, without its callees' code."""
    if function not in _digests:
        code = function.python.__code__
        parts: list[object] = [function.symbol, function.arity, code.co_code.hex(), code.co_consts, code.co_varnames]
        for name, value in references(function).items():
            match value:
                case NativeFunction():
                    parts.append((name, value.symbol, value.arity))
                case EnumType():
                    parts.append((name, constants(value)))
                case _:
                    parts.append((name, value))
        _digests[function] = hashlib.sha256(repr(parts).encode()).hexdigest()
    return _digests[function]


_digests: Final[dict[NativeFunction, str]] = {}


def closure(functions: Iterable[NativeFunction]) -> tuple[NativeFunction, ...]:
    """The natives and everything that they call, in order of symbol; raises InternalError when two share a symbol."""
    found: dict[str, NativeFunction] = {}
    waiting = list(functions)
    while waiting:
        each = waiting.pop()
        known = found.get(each.symbol)
        if known is not None and known is not each:
            raise InternalError(f"two natives are called {each.symbol}")
        if known is None:
            found[each.symbol] = each
            waiting += (r for r in references(each).values() if isinstance(r, NativeFunction))
    return tuple(found[symbol] for symbol in sorted(found))
