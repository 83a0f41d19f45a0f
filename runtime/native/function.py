"""`@native`: a plain Python function over 64-bit words that LLVM can compile.

Not here: the compiler. Decorating costs nothing; the source is read when the function is first run or compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from types import FunctionType
from typing import Final, final

from runtime.errors import InternalError
from runtime.native.intrinsics import stack_frame

__all__ = ["NativeFunction", "native"]

_PREFIX: Final = "xs_"


@final
class NativeFunction:
    """A native. Calling it runs it under the Python interpreter, on registered memory, modulo 2**64.

    `symbol` is its name for the linker, `python` the function as written.
    """

    def __init__(self, function: FunctionType) -> None:
        code = function.__code__
        if function.__closure__ or function.__kwdefaults__ or function.__defaults__ or code.co_kwonlyargcount:
            raise InternalError(f"native {function.__qualname__}: closures and default values are not for natives")
        self.python = function
        self.symbol = f"{_PREFIX}{function.__module__.replace('.', '_')}_{function.__name__}"
        self.arity = code.co_argcount
        update_wrapper(self, function)

    def __call__(self, *words: int) -> int:
        """Run under the Python interpreter; raises MemoryFault where memory is not registered."""
        return self._run(*words)

    def __repr__(self) -> str:
        return f"<native {self.symbol}>"

    @cached_property
    def _run(self) -> Callable[..., int]:
        from runtime.native import rewrite  # reading source takes modules that a compiled start does without

        run = rewrite.wrapping(self.python)
        if "stack_alloc" not in self.python.__code__.co_names:
            return run

        def framed(*words: int) -> int:
            with stack_frame():
                result: int = run(*words)
                return result

        return framed


def native(function: Callable[..., int]) -> NativeFunction:
    """Mark a function as native; see the package for what it may be written over. Raises InternalError."""
    if not isinstance(function, FunctionType):
        raise InternalError(f"{function!r} is no function that could be native")
    return NativeFunction(function)
