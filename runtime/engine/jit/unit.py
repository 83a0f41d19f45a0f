"""What one compiled unit needs besides its functions: maps, natives, and the little functions that join them.

Not here: instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from runtime.engine.jit.emit import word
from runtime.errors import UnsupportedError
from runtime.native import NativeFunction
from runtime.native.library import natives
from runtime.spec import MapKind, MapOp, MapSpec

if TYPE_CHECKING:
    from runtime.spec import NativeFunction as AnyNative

__all__ = ["MapShape", "Unit", "parameters"]

_SHAPE_WORDS: Final = 6  # map, key size, value size, entries, flags, environment


@final
@dataclass(frozen=True, slots=True)
class MapShape:
    """A map as code sees it: everything but where it lies."""

    spec: MapSpec
    kind: MapKind


def parameters(count: int, *, start: int = 0) -> list[str]:
    """The typed names of `count` words, %a0 and so on."""
    return [f"i64 %a{at}" for at in range(start, start + count)]


@final
class Unit:
    """Collects what the functions of a unit refer to. `maps` are all maps of the object, by index."""

    def __init__(self, maps: Sequence[MapShape]) -> None:
        self.maps = maps
        self.used_maps: set[int] = set()
        self.tail_calls = False
        self._natives: dict[str, NativeFunction] = {}
        self._joints: dict[str, str] = {}

    @property
    def natives(self) -> tuple[NativeFunction, ...]:
        """The natives that are called directly, in order of symbol."""
        return tuple(self._natives[symbol] for symbol in sorted(self._natives))

    @property
    def text(self) -> str:
        """The declarations and joints, as IR."""
        globals_ = [f"@map{index} = external global [0 x i8], align 8\n" for index in sorted(self.used_maps)]
        declared = [f"declare i64 @{each.symbol}({', '.join(['i64'] * each.arity)})\n" for each in self.natives]
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

        Raises UnsupportedError when the kind has no such operation.
        """
        name = f"map{index}.{op.value}"
        shape = self.maps[index]
        function = shape.kind.ops.get(op)
        if function is None:
            raise UnsupportedError(f"map {shape.spec.name!r}: a {shape.kind.name} map has no {op.value}")
        native = self.native(function)
        count = native.arity - _SHAPE_WORDS
        if name not in self._joints:
            spec = shape.spec
            constants = [spec.key_size, spec.value_size, spec.max_entries, int(spec.flags)]
            given = ", ".join(
                [
                    f"i64 {self.map_address(index)}",
                    *(f"i64 {word(each)}" for each in constants),
                    "i64 %env",
                    *parameters(count),
                ]
            )
            self._joints[name] = (
                f"define internal i64 @{name}({', '.join(['i64 %env', *parameters(count)])}) inlinehint nounwind null_pointer_is_valid {{\n"
                f"%r = call i64 @{native.symbol}({given}) alwaysinline\nret i64 %r\n}}\n"
            )
        return name, count

    def map_value(self, index: int) -> str:
        """A function of no words that gives the address of the value of a one-element map."""
        name = f"map{index}.value"
        if name not in self._joints:
            lookup, _ = self.map_op(index, MapOp.LOOKUP)
            self._joints[name] = (
                f"@{name}.key = private constant i64 0\n"
                f"define internal i64 @{name}() alwaysinline nounwind null_pointer_is_valid {{\n"
                f"%r = call i64 @{lookup}(i64 0, i64 ptrtoint (ptr @{name}.key to i64))\nret i64 %r\n}}\n"
            )
        return name
