"""What one compiled unit needs besides its functions: maps, natives, and the little functions that join them.

Not here: instructions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from runtime.engine.jit.emit import word
from runtime.errors import UnsupportedError
from runtime.native import NativeFunction
from runtime.native.library import natives
from runtime.native.lowering import ATTRIBUTES
from runtime.spec import MapKind, MapOp, MapSpec

if TYPE_CHECKING:
    from runtime.spec import NativeFunction as AnyNative

__all__ = ["MapShape", "Operation", "Unit", "inside_call", "parameters"]

_SHAPE_WORDS: Final = 6  # map, key size, value size, entries, flags, environment
_ALWAYS_INSIDE: Final = frozenset({MapOp.LOOKUP, MapOp.LOOKUP_PERCPU, MapOp.PEEK, MapOp.REDIRECT})


@final
@dataclass(frozen=True, slots=True)
class MapShape:
    """A map as code sees it: everything but where it lies."""

    spec: MapSpec
    kind: MapKind

    @property
    def constants(self) -> tuple[int, int, int, int]:
        """Key size, value size, entries and flags, as the natives of its kind take them."""
        return self.spec.key_size, self.spec.value_size, self.spec.max_entries, int(self.spec.flags)


@final
@dataclass(frozen=True, slots=True)
class Operation:
    """A map operation compiled for one shape of maps, outside of the programs that call it: (map, env, words…)."""

    symbol: str
    native: NativeFunction
    shape: tuple[int, int, int, int]

    @property
    def words(self) -> int:
        """How many words it takes after the environment."""
        return self.native.arity - _SHAPE_WORDS


def parameters(count: int) -> list[str]:
    """The typed names of `count` words, %a0 and so on."""
    return [f"i64 %a{at}" for at in range(count)]


def inside_call(native: NativeFunction, constants: Iterable[int], address: str) -> str:
    """The call of a map's native with the map's constants, to be inlined; %env and %a0 and on are its words."""
    words = [f"i64 {address}", *(f"i64 {word(each)}" for each in constants), "i64 %env"]
    words += parameters(native.arity - _SHAPE_WORDS)
    return f"call i64 @{native.symbol}({', '.join(words)}) alwaysinline"


@final
class Unit:
    """Collects what the functions of a unit refer to. `maps` are all maps of the object, by index."""

    def __init__(self, maps: Sequence[MapShape]) -> None:
        self.maps = maps
        self.used_maps: set[int] = set()
        self.tail_calls = False
        self.operations: dict[str, Operation] = {}
        self._natives: dict[str, NativeFunction] = {}
        self._joints: dict[str, str] = {}

    @property
    def callees(self) -> tuple[NativeFunction, ...]:
        """The natives that are called directly, in order of symbol."""
        return tuple(self._natives[symbol] for symbol in sorted(self._natives))

    @property
    def text(self) -> str:
        """The declarations and joints, as IR."""
        globals_ = [f"@map{index} = external global [0 x i8], align 8\n" for index in sorted(self.used_maps)]
        called = [(each.symbol, each.arity) for each in self.callees]
        called += [(each.symbol, 2 + each.words) for each in self.operations.values()]
        declared = [f"declare i64 @{symbol}({', '.join(['i64'] * count)})\n" for symbol, count in called]
        return "".join([*globals_, *declared, *(self._joints[name] for name in sorted(self._joints))])

    def native(self, function: AnyNative) -> NativeFunction:
        """Note that the unit calls a native."""
        (known,) = natives([function])
        return self._natives.setdefault(known.symbol, known)

    def map_address(self, index: int) -> str:
        """The map's address as a constant expression."""
        self.used_maps.add(index)
        return f"ptrtoint (ptr @map{index} to i64)"

    def map_op(self, index: int, op: MapOp) -> tuple[str, int]:
        """A function op(env, r2, …) of that map, and how many words it takes after env.

        Lookups, and whatever arrays do, are inlined; updates of the other kinds are large and shared by all programs.
        Raises UnsupportedError when the kind has no such operation.
        """
        name = f"map{index}.{op.value}"
        shape = self.maps[index]
        function = shape.kind.ops.get(op)
        if function is None:
            raise UnsupportedError(f"map {shape.spec.name!r}: a {shape.kind.name} map has no {op.value}")
        (native,) = natives([function])
        count = native.arity - _SHAPE_WORDS
        if name not in self._joints:
            if self.is_inside(index, op):
                call = inside_call(self.native(native), shape.constants, self.map_address(index))
            else:
                call = self._outside_call(native, shape, self.map_address(index))
            self._joints[name] = (
                f"define internal i64 @{name}({', '.join(['i64 %env', *parameters(count)])}) inlinehint {ATTRIBUTES} {{\n"
                f"%r = {call}\nret i64 %r\n}}\n"
            )
        return name, count

    def is_inside(self, index: int, op: MapOp) -> bool:
        """Whether that operation of that map is inlined into the program."""
        return op in _ALWAYS_INSIDE or self.maps[index].kind.bounded_array

    def _outside_call(self, native: NativeFunction, shape: MapShape, address: str) -> str:
        digest = hashlib.sha256(f"{native.symbol} {shape.constants}".encode()).hexdigest()
        operation = Operation(f"op_{digest[:24]}", native, shape.constants)
        self.operations[operation.symbol] = operation
        words = ", ".join([f"i64 {address}", "i64 %env", *parameters(operation.words)])
        return f"call i64 @{operation.symbol}({words})"

    def map_value(self, index: int) -> str:
        """A function of no words that gives the address of the value of a one-element map."""
        name = f"map{index}.value"
        if name not in self._joints:
            lookup, _ = self.map_op(index, MapOp.LOOKUP)
            self._joints[name] = (
                f"@{name}.key = private constant i64 0\n"
                f"define internal i64 @{name}() alwaysinline {ATTRIBUTES} {{\n"
                f"%r = call i64 @{lookup}(i64 0, i64 ptrtoint (ptr @{name}.key to i64))\nret i64 %r\n}}\n"
            )
        return name
