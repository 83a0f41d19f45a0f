"""Map operations that programs call and do not inline: one compiled function for each shape of maps.

Not here: which operations those are (unit.py). They are compiled once, cached on disk, and stay loaded.
"""

from __future__ import annotations

from threading import Lock
from typing import Final

from runtime.engine.jit.unit import Operation, inside_call, parameters
from runtime.native import cache as disk
from runtime.native import llvm
from runtime.native.lowering import ATTRIBUTES
from runtime.native.references import closure, own_digest

__all__ = ["address_of", "digest_of"]

_loaded: Final[dict[str, llvm.Loaded]] = {}
_loading: Final = Lock()


def digest_of(operation: Operation) -> str:
    """What the operation's code depends on."""
    return disk.key(
        "operation", llvm.host(), _text(operation), *(own_digest(each) for each in closure([operation.native]))
    )


def address_of(operation: Operation) -> int:
    """Where the operation is: from memory, from disk, or compiled now."""
    digest = digest_of(operation)
    with _loading:
        if digest not in _loaded:
            name = f"{digest}.o"
            data = disk.load(name)
            if data is None:
                data = _compile(operation)
                disk.store(name, data)
            _loaded[digest] = llvm.load(data, imports={}, exports=[operation.symbol])
        return _loaded[digest].address(operation.symbol)


def _text(operation: Operation) -> str:
    declared = ", ".join(["i64"] * operation.native.arity)
    given = ", ".join(["i64 %map", "i64 %env", *parameters(operation.words)])
    return (
        f"declare i64 @{operation.native.symbol}({declared})\n"
        f"define i64 @{operation.symbol}({given}) {ATTRIBUTES} {{\n"
        f"%r = {inside_call(operation.native, operation.shape, '%map')}\nret i64 %r\n}}\n"
    )


def _compile(operation: Operation) -> bytes:
    from runtime.native.compiler import bitcode

    module = llvm.parse(llvm.header() + _text(operation))
    llvm.link(module, [bitcode(each) for each in closure([operation.native])])
    llvm.internalise(module, {operation.symbol})
    llvm.optimise(module, level=1, vectorise=False)  # as fast as level 2 here, and sooner done
    title = f"{operation.native.symbol} {operation.shape}"
    llvm.debug("ir", title, lambda: str(module))
    llvm.debug("asm", title, lambda: llvm.assembly(module))
    return llvm.emit(module)
