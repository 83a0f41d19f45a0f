"""Programs' IR and the natives under it to an object file, by way of the cache on disk.

Not here: what the IR says. A unit whose object is in the cache needs no compiler at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from runtime.engine.jit.lower import DRIVE, ENTRY, lower
from runtime.engine.jit.lower_origins import NUMBER, Tracker
from runtime.engine.jit.unit import MapShape, Operation, Unit
from runtime.engine.origins import origins as origins_of
from runtime.errors import InternalError
from runtime.native import cache as disk
from runtime.native import llvm
from runtime.native.references import closure, own_digest

if TYPE_CHECKING:
    from runtime.verifier.verified import VerifiedProgram

__all__ = ["Image", "image", "listing"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An object file with one external function, `symbol`, that wants the addresses of maps (by index) and operations.

    `numbered`: it wants the program's number, too.
    """

    symbol: str
    data: bytes
    maps: frozenset[int]
    operations: tuple[Operation, ...]
    tail_calls: bool
    numbered: bool = False


def image(program: VerifiedProgram, maps: Sequence[MapShape], *, driven: bool, origins: bool = False) -> Image:
    """The program inside its type's driver, or alone; from the cache, or compiled now. `origins`: it says where results come from.

    Raises UnsupportedError for what this engine cannot run.
    """
    unit, text = _text(program, maps, driven=driven, origins=origins)
    digests = [own_digest(each) for each in closure(unit.callees)]
    name = f"{disk.key('program', llvm.host(), text, *digests)}.o"
    data = disk.load(name)
    if data is None:
        module = _module(program.spec.name, unit, text, driven=driven)
        data = llvm.emit(module)
        disk.store(name, data)
    symbol = DRIVE if driven else ENTRY
    return Image(
        symbol=symbol,
        data=data,
        maps=frozenset(unit.used_maps),
        operations=tuple(unit.operations.values()),
        tail_calls=unit.tail_calls,
        numbered=origins,
    )


def listing(program: VerifiedProgram, maps: Sequence[MapShape]) -> tuple[str, str]:
    """The program alone as optimised IR and as assembly."""
    unit, text = _text(program, maps, driven=False)
    module = _module(program.spec.name, unit, text, driven=False)
    return str(module), llvm.assembly(module)


def _text(
    program: VerifiedProgram, maps: Sequence[MapShape], *, driven: bool, origins: bool = False
) -> tuple[Unit, str]:
    kind = program.program_type
    driver = (kind.origin_driver if origins else kind.driver) if driven else None
    if driven and driver is None:
        raise InternalError(f"program type {kind.name} has no driver{' for origins' if origins else ''}")
    unit = Unit(maps)
    return unit, lower(program, unit, driver=driver, tracker=Tracker(origins_of(program)) if origins else None)


def _module(name: str, unit: Unit, text: str, *, driven: bool) -> Any:
    from runtime.native.compiler import bitcode

    symbol = DRIVE if driven else ENTRY
    llvm.debug("ir", f"{name}, before optimisation", lambda: text)
    module = llvm.parse(llvm.header() + text)
    module.name = name
    llvm.link(module, [bitcode(each) for each in closure(unit.callees)])
    llvm.internalise(module, {symbol})
    llvm.optimise(module, vectorise=False)  # frames differ: what little could be vectorised became slower
    missing = llvm.unresolved(module) - {f"map{index}" for index in unit.used_maps} - unit.operations.keys() - {NUMBER}
    if missing:
        raise InternalError(f"program {name} would need {', '.join(sorted(missing))}")
    llvm.debug("ir", name, lambda: str(module))
    llvm.debug("asm", name, lambda: llvm.assembly(module))
    return module
