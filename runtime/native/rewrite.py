"""The source of a native, read again: 64-bit wrap-around for Python, base and offset for the compiler.

Not here: types. A native is checked by numba when it is compiled; this only changes how the same source is spelt.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any, Final, final

from runtime.errors import InternalError

__all__ = ["source_of", "wrapping"]

_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1
_WRAPS: Final = (ast.Add, ast.Sub, ast.Mult, ast.LShift)


def source_of(function: Callable[..., int]) -> str:
    """The dedented source text of a function; raises InternalError when there is none."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise InternalError(f"native {function.__qualname__}: its source cannot be read: {error}") from error


def signed(value: int) -> int:
    """An integer as a signed 64-bit word."""
    return ((value + _SIGN) & _MASK) - _SIGN


def parse(function: FunctionType) -> ast.FunctionDef:
    """The definition of a function, without decorators, lines as in its file."""
    tree = ast.parse(source_of(function))
    definition = tree.body[0]
    if len(tree.body) != 1 or not isinstance(definition, ast.FunctionDef):
        raise InternalError(f"native {function.__qualname__}: not a plain function")
    definition.decorator_list = []
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    return definition


def rebuild(function: FunctionType, definition: ast.FunctionDef, scope: dict[str, Any]) -> FunctionType:
    """A function from a changed definition, over `scope`."""
    module = ast.fix_missing_locations(ast.Module(body=[definition], type_ignores=[]))
    code = compile(module, function.__code__.co_filename, "exec", dont_inherit=True)
    inner = next(each for each in code.co_consts if isinstance(each, CodeType))
    made = FunctionType(inner, scope, function.__name__, function.__defaults__)
    made.__qualname__ = function.__qualname__
    made.__module__ = function.__module__
    return made


def wrapping(function: FunctionType) -> FunctionType:
    """The same function with additions, subtractions, products, left shifts and negations modulo 2**64."""
    definition = parse(function)
    _Wrapping(function).visit(definition)
    return rebuild(function, definition, function.__globals__)


@final
class _Wrapping(ast.NodeTransformer):
    def __init__(self, function: FunctionType) -> None:
        self._count = 0
        self._locals = frozenset(function.__code__.co_varnames)
        self._globals = function.__globals__

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Module-level constants past the signed range become the word that they stand for."""
        value = None if node.id in self._locals else self._globals.get(node.id)
        if isinstance(value, int) and not -_SIGN <= value < _SIGN:
            return ast.copy_location(ast.Constant(signed(value)), node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return ast.copy_location(ast.Constant(signed(node.value)), node)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
            return node
        self.generic_visit(node)
        return self._wrapped(node) if isinstance(node.op, ast.USub) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return self._wrapped(node) if isinstance(node.op, _WRAPS) else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, _WRAPS) or not isinstance(node.target, ast.Name):
            return node
        current = ast.copy_location(ast.Name(node.target.id, ast.Load()), node)
        result = ast.copy_location(ast.BinOp(current, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], self._wrapped(result)), node)

    def _wrapped(self, node: ast.expr) -> ast.expr:
        """`t if LOW <= (t := node) <= HIGH else t reduced`, with a name of its own for t."""
        self._count += 1
        name = f"_wide{self._count}"
        test = ast.parse(f"{-_SIGN} <= ({name} := 0) <= {_SIGN - 1}", mode="eval").body
        assert isinstance(test, ast.Compare)
        walrus = test.comparators[0]
        assert isinstance(walrus, ast.NamedExpr)
        walrus.value = node
        reduced = ast.parse(f"(({name} + {_SIGN}) & {_MASK}) - {_SIGN}", mode="eval").body
        choice = ast.IfExp(test, ast.Name(name, ast.Load()), reduced)
        for each in ast.walk(choice):
            if isinstance(each, ast.expr) and not hasattr(each, "lineno"):
                ast.copy_location(each, node)
        return choice
