"""Natives as machine code that Python calls through ctypes, one call at a time, without the interpreter's lock.

Not here: natives that are part of a program; those are linked into it and inlined.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Final, final

from runtime.errors import InternalError
from runtime.native import cache as disk
from runtime.native import llvm
from runtime.native.function import NativeFunction
from runtime.native.references import closure, own_digest

if TYPE_CHECKING:
    from runtime.spec import NativeFunction as AnyNative

__all__ = ["Library", "library"]

_libraries: Final[dict[tuple[str, ...], Library]] = {}
_making: Final = Lock()


@final
class Library:
    """Compiled natives: `lib[f](*words) → word`, words signed. Stays loaded for the life of the process."""

    __slots__ = ("_calls", "_loaded")

    def __init__(self, loaded: llvm.Loaded, functions: Iterable[NativeFunction]) -> None:
        self._loaded = loaded
        self._calls: dict[str, Callable[..., int]] = {}
        for each in functions:
            prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * each.arity)
            self._calls[each.symbol] = prototype(loaded.address(each.symbol))

    def __getitem__(self, function: AnyNative) -> Callable[..., int]:
        """The compiled native, to be called with as many words as it has parameters; raises InternalError."""
        found = self._calls.get(function.symbol)
        if found is None:
            raise InternalError(f"{function.symbol} is not in this library")
        return found

    def address(self, function: AnyNative) -> int:
        """The address of the compiled native, i64 (i64, …); raises InternalError."""
        return self._loaded.address(function.symbol)


def library(functions: Iterable[AnyNative]) -> Library:
    """The natives, compiled for this processor: from memory, from disk, or now.

    Raises InternalError for natives that need a program around them (call_program) or that do not compile.
    """
    exported = natives(functions)
    everything = closure(exported)
    key = *sorted(each.symbol for each in exported), *(own_digest(each) for each in everything)
    with _making:
        if key not in _libraries:
            name = f"{disk.key('library', llvm.host(), *key)}.o"
            data = disk.load(name)
            if data is None:
                data = _compile(exported, everything)
                disk.store(name, data)
            loaded = llvm.load(data, imports={}, exports=[each.symbol for each in exported])
            _libraries[key] = Library(loaded, exported)
        return _libraries[key]


def natives(functions: Iterable[AnyNative]) -> tuple[NativeFunction, ...]:
    """The same functions, once it is certain that `@native` made them; raises InternalError."""
    checked = []
    for each in functions:
        if not isinstance(each, NativeFunction):
            raise InternalError(f"{each!r} was not made by @native")
        checked.append(each)
    return tuple(checked)


def _compile(exported: Iterable[NativeFunction], everything: Iterable[NativeFunction]) -> bytes:
    from runtime.native.compiler import bitcode

    public = {each.symbol for each in exported}
    module = llvm.parse("")
    llvm.link(module, [bitcode(each) for each in everything])
    llvm.internalise(module, public)
    llvm.optimise(module)
    missing = llvm.unresolved(module)
    if missing:
        raise InternalError(f"a library of natives cannot have {', '.join(sorted(missing))}")
    title = " ".join(sorted(public))
    llvm.debug("ir", title, lambda: str(module))
    llvm.debug("asm", title, lambda: llvm.assembly(module))
    return llvm.emit(module)
