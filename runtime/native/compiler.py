"""One native to LLVM bitcode: numba types and lowers it, everything of Python is taken off, LLVM cleans up.

Not here: what happens to the bitcode. This module is the only one that imports numba, and only when a native is
compiled that the cache does not hold.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from runtime.errors import InternalError
from runtime.native import cache as disk
from runtime.native import llvm, rewrite
from runtime.native.function import NativeFunction
from runtime.native.lowering import ATTRIBUTES, DECLARATIONS, PREFIX, SHAPES, definition
from runtime.native.notice import announce
from runtime.native.references import own_digest, references

__all__ = ["bitcode"]

_OVERFLOW: Final = re.compile(r"\b(add|sub|mul|shl) (?:nuw |nsw )+")
_WORDS: Final = re.compile(r"int64|bool|Literal\[(?:int|bool)\]\(.*\)|range_\w+|pair<int64, bool>|Function\(.*\)|none")
_STACK: Final = "stack_alloc_"

_bitcode: Final[dict[NativeFunction, bytes]] = {}


def bitcode(function: NativeFunction) -> bytes:
    """The native as a module with one external function, `symbol`; its callees are declarations.

    Kept in memory and on disk. Raises InternalError where the source is more than 64-bit words.
    """
    known = _bitcode.get(function)
    if known is None:
        name = f"{disk.key('native', own_digest(function))}.bc"
        known = disk.load(name)
        if known is None:
            announce()
            known = _compile(function)
            disk.store(name, known)
        _bitcode[function] = known
    return known


def _compile(function: NativeFunction) -> bytes:
    used: set[str] = set()

    def call(name: str, arity: int) -> tuple[str, Any]:
        if name.startswith(_STACK):
            return name, _Numba.get().stack(int(name.removeprefix(_STACK)))
        symbol = PREFIX + name if name in SHAPES else name
        used.add(name)
        return symbol, _Numba.get().external(symbol, arity)

    rewritten = rewrite.addressed(function.python, references(function), call=call, shapes=SHAPES)
    inner = f"{function.symbol}.inner"
    mangled, text = _Numba.get().lower(rewritten, function)
    text = _OVERFLOW.sub(r"\1 ", text.replace(mangled, inner).replace(" noalias ", " "))  # words wrap
    intrinsics = sorted(used & SHAPES.keys())
    for name in intrinsics:
        text = re.sub(rf'^declare [^\n]*@"?{PREFIX}{name}"?\([^\n]*\n', "", text, flags=re.MULTILINE)
    llvm.debug("native", function.symbol, lambda: text)
    text += DECLARATIONS + "".join(definition(name) for name in intrinsics) + _entry(function, inner)
    module = llvm.parse(text)
    llvm.internalise(module, {function.symbol})
    for each in module.functions:
        if each.name == inner:
            each.add_function_attribute("alwaysinline")
    llvm.optimise(module, level=1, vectorise=False)
    foreign = llvm.unresolved(module) - {
        n.symbol for n in references(function).values() if isinstance(n, NativeFunction)
    }
    if foreign - {"xs_call_program"}:
        raise InternalError(f"native {function.symbol} needs {', '.join(sorted(foreign))}, which is not native")
    return bytes(module.as_bitcode())


def _entry(function: NativeFunction, inner: str) -> str:
    """The external face: words in, a word out, numba's calling convention hidden."""
    parameters = ", ".join(f"i64 %a{at}" for at in range(function.arity))
    arguments = "".join(f", i64 %a{at}" for at in range(function.arity))
    return (
        f"define i64 @{function.symbol}({parameters}) {ATTRIBUTES} {{\n"
        "%result = alloca i64\n%status = alloca ptr\n"
        f'%code = call i32 @"{inner}"(ptr %result, ptr %status{arguments})\n'
        "%value = load i64, ptr %result\nret i64 %value\n}\n"
    )


class _Numba:
    """numba, imported when first needed, and bent to what natives are."""

    @staticmethod
    @cache
    def get() -> _Numba:
        return _Numba()

    def __init__(self) -> None:
        from llvmlite import ir
        from numba.core import cgutils, codegen, compiler, errors, registry, types
        from numba.extending import intrinsic

        self._ir: Any = ir
        self._cgutils: Any = cgutils
        self._types: Any = types
        self._intrinsic: Any = intrinsic
        self._compiler: Any = compiler
        self._errors: Any = errors
        target: Any = registry.cpu_target
        self._typing, self._target = target.typing_context, target.target_context
        self._externals: dict[tuple[str, int], Any] = {}

        normalise: Any = cgutils.normalize_ir_text

        class Captured(codegen.CodeLibrary):
            """A library that keeps the text of what is lowered and compiles nothing."""

            text = ""

            def add_ir_module(self, module: Any) -> None:
                self.text += normalise(str(module))

            def add_linking_library(self, library: Any) -> None:
                """Numba's own run-time support: a native that needed it is refused later, by name."""

            def finalize(self) -> None:
                self._finalized = True

            def get_function(self, name: str) -> Any:
                raise NotImplementedError(name)

            def get_llvm_str(self) -> str:
                return self.text

            def get_asm_str(self) -> str:
                raise NotImplementedError

        self._library = Captured

    def external(self, symbol: str, arity: int) -> Any:
        """What numba calls for a function of that symbol: a declaration, left to the linker."""
        word = self._ir.IntType(64)
        declared = self._ir.FunctionType(word, [word] * arity)

        def generate(builder: Any, arguments: Any) -> Any:
            return builder.call(self._cgutils.get_or_insert_function(builder.module, declared, symbol), arguments)

        return self._made(symbol, arity, generate)

    def stack(self, size: int) -> Any:
        """What numba calls for the address of `size` bytes in the function's own frame."""
        word, byte = self._ir.IntType(64), self._ir.IntType(8)

        def generate(builder: Any, _arguments: Any) -> Any:
            slot = self._cgutils.alloca_once(builder, self._ir.ArrayType(byte, size))
            slot.align = 16
            return builder.ptrtoint(slot, word)

        return self._made(f"{_STACK}{size}", 0, generate)

    def _made(self, name: str, arity: int, generate: Callable[[Any, Any], Any]) -> Any:
        """A numba intrinsic over `arity` words that gives a word."""
        if (name, arity) not in self._externals:

            def lower(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
                return generate(builder, arguments)

            def typing(_context: Any, *arguments: Any) -> Any:
                word = self._types.int64
                return (word(*[word] * arity), lower) if len(arguments) == arity else None

            typing.__name__ = name
            typing.__signature__ = _signature(arity)  # type: ignore[attr-defined] # numba asks inspect
            self._externals[name, arity] = self._intrinsic(typing)
        return self._externals[name, arity]

    def lower(self, rewritten: Any, function: NativeFunction) -> tuple[str, str]:
        """The name of the inner function and the IR text that defines it, not optimised."""
        flags = self._compiler.Flags()
        flags.no_compile = True
        flags.no_cpython_wrapper = True
        flags.no_cfunc_wrapper = True
        flags.nrt = False
        flags.error_model = "numpy"
        flags.boundscheck = False
        self._typing.refresh()
        self._target.refresh()
        library = self._library(self._target.codegen(), function.symbol)
        word = self._types.int64
        try:
            result = self._compiler.compile_extra(
                self._typing, self._target, rewritten, (word,) * function.arity, word, flags, {}, library=library
            )
        except self._errors.NumbaError as error:
            raise InternalError(f"native {function.symbol}: {error}") from error
        _check_words(function, result.type_annotation.typemap)
        return result.fndesc.llvm_func_name, library.text


def _signature(arity: int) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [inspect.Parameter(name, kind) for name in ("context", *(f"a{at}" for at in range(arity)))]
    )


def _check_words(function: NativeFunction, types: dict[str, Any]) -> None:
    for variable, found in types.items():
        if not _WORDS.fullmatch(str(found)):
            raise InternalError(f"native {function.symbol}: {variable} is {found}, not a signed 64-bit word")
