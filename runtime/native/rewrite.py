"""The source of a native, read again: 64-bit wrap-around for Python, base and offset for the compiler.

Not here: types. A native is checked by numba when it is compiled; this only changes how the same source is spelt.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from enum import EnumType
from types import CodeType, FunctionType
from typing import Any, Final, Protocol, final, runtime_checkable

from runtime.errors import InternalError

__all__ = ["addressed", "wrapping"]

_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1
_CODE: Final = ("co_code", "co_consts", "co_names", "co_varnames")
_WRAPS: Final = (ast.Add, ast.Sub, ast.Mult, ast.LShift)


def _source_of(function: Callable[..., int]) -> str:
    """The dedented source text of a function; raises InternalError when there is none."""
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise InternalError(f"native {function.__qualname__}: its source cannot be read: {error}") from error


def _signed(value: int) -> int:
    """An integer as a signed 64-bit word."""
    return ((value + _SIGN) & _MASK) - _SIGN


def _parse(function: FunctionType) -> ast.FunctionDef:
    """The definition of a function, without decorators, lines as in its file."""
    tree = ast.parse(_source_of(function))
    definition = tree.body[0]
    if len(tree.body) != 1 or not isinstance(definition, ast.FunctionDef):
        raise InternalError(f"native {function.__qualname__}: not a plain function")
    definition.decorator_list = []
    definition.returns = None
    for argument in definition.args.args:
        argument.annotation = None
    if not _says(tree, function.__code__):
        raise InternalError(
            f"native {function.__qualname__}: its source has changed since it was imported: load it again"
        )
    ast.increment_lineno(tree, function.__code__.co_firstlineno - 1)
    return definition


def _says(tree: ast.Module, code: CodeType) -> bool:
    """Whether the one function of a module is what was compiled before."""
    whole = compile(tree, code.co_filename, "exec", dont_inherit=True)
    found = next(each for each in whole.co_consts if isinstance(each, CodeType))
    return all(getattr(found, name) == getattr(code, name) for name in _CODE)


def _rebuild(function: FunctionType, definition: ast.FunctionDef, scope: dict[str, Any]) -> FunctionType:
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
    definition = _parse(function)
    _Wrapping(function).visit(definition)
    return _rebuild(function, definition, function.__globals__)


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
            return ast.copy_location(ast.Constant(_signed(value)), node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return ast.copy_location(ast.Constant(_signed(node.value)), node)
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        if (constant := _negative(node)) is not None:
            return constant
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


def _negative(node: ast.UnaryOp) -> ast.Constant | None:
    """A minus sign and an integer as one constant."""
    if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and isinstance(node.operand.value, int):
        return ast.copy_location(ast.Constant(_signed(-node.operand.value)), node)
    return None


_ALLOWED: Final = (
    ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.While, ast.For,
    ast.If, ast.Expr, ast.Pass, ast.Break, ast.Continue, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.IfExp, ast.Compare,
    ast.Call, ast.Constant, ast.Attribute, ast.Name, ast.expr_context, ast.boolop, ast.unaryop,
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift, ast.BitOr, ast.BitXor, ast.BitAnd,
    ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip
_BUILTINS: Final = {"range": range}
_EXTREMES: Final = ("max", "min")


def addressed(
    function: FunctionType,
    references: Mapping[str, object],
    *,
    call: Callable[[str, int], tuple[str, Any]],
    shapes: Mapping[str, str],
) -> FunctionType:
    """The same function as the compiler wants it.

    Constants are spelt out, calls go to what `call(name of an intrinsic, symbol of a native; words)` gives as a
    name and an object, and address arguments of intrinsics are split into base and offset; stack_alloc(n) is the
    intrinsic `stack_alloc_n` of no words. Raises InternalError for what natives may not be written with.
    """
    definition = _parse(function)
    if (
        definition.body
        and isinstance(definition.body[0], ast.Expr)
        and isinstance(definition.body[0].value, ast.Constant)
    ):
        del definition.body[0]
    rewriting = _Addressing(function, references, call, shapes)
    rewriting.visit(definition)
    return _rebuild(function, definition, {**_BUILTINS, **rewriting.scope, "__builtins__": {}})


@runtime_checkable
class _Native(Protocol):
    symbol: str
    arity: int


@final
class _Addressing(ast.NodeTransformer):
    def __init__(
        self,
        function: FunctionType,
        references: Mapping[str, object],
        call: Callable[[str, int], tuple[str, Any]],
        shapes: Mapping[str, str],
    ) -> None:
        self._function = function
        self._references = references
        self._locals = frozenset(function.__code__.co_varnames)
        self._call = call
        self._shapes = shapes
        self.scope: dict[str, Any] = {}

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, _ALLOWED):
            raise self._refuse(node, f"{type(node).__name__} is not for natives")
        return super().visit(node)

    def _refuse(self, node: ast.AST, why: str) -> InternalError:
        code = self._function.__code__
        line = getattr(node, "lineno", code.co_firstlineno)
        return InternalError(f"native {self._function.__qualname__}, {code.co_filename}:{line}: {why}")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, int):
            raise self._refuse(node, f"{node.value!r} is no word")
        return ast.copy_location(ast.Constant(_signed(node.value)), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._locals:
            return node
        value = self._references.get(node.id)
        if isinstance(value, int):
            return ast.copy_location(ast.Constant(_signed(value)), node)
        raise self._refuse(node, f"{node.id} is no word")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return _negative(node) or self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = self._references.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if not isinstance(owner, EnumType) or node.attr not in owner.__members__:
            raise self._refuse(node, f"{ast.unparse(node)} is no word")
        return ast.copy_location(ast.Constant(_signed(int(owner[node.attr]))), node)

    def visit_For(self, node: ast.For) -> ast.AST:
        call = node.iter
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise self._refuse(node, "a loop runs over a range")
        call.args = [self.visit(each) for each in call.args]
        node.body = [self.visit(each) for each in node.body]
        node.orelse = [self.visit(each) for each in node.orelse]
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise self._refuse(node, f"{ast.unparse(node.func)} is no native")
        target = self._references.get(node.func.id)
        arguments = [self.visit(each) for each in node.args]
        if target is None and node.func.id in _EXTREMES and len(arguments) > 1:
            return self._extreme(node, arguments)
        if target == "stack_alloc" and arguments:
            target, arguments = f"stack_alloc_{self._folded(arguments[0])}", []
        if isinstance(target, str):
            shape = self._shapes.get(target, "")
            self._check_count(node, len(shape), len(arguments))
            pairs = (
                _base_and_offset(each) if kind == "p" else (each,) for kind, each in zip(shape, arguments, strict=True)
            )
            arguments = [word for pair in pairs for word in pair]
            name, made = self._call(target, len(arguments))
        elif isinstance(target, _Native):
            self._check_count(node, target.arity, len(arguments))
            name, made = self._call(target.symbol, len(arguments))
        else:
            raise self._refuse(node, f"{node.func.id} is neither a native nor an intrinsic")
        return self._called(node, name, made, arguments)

    def _check_count(self, node: ast.Call, wanted: int, given: int) -> None:
        if wanted != given:
            raise self._refuse(node, f"{ast.unparse(node.func)} takes {wanted} words, not {given}")

    def _called(self, node: ast.Call, name: str, made: object, arguments: list[ast.expr]) -> ast.expr:
        self.scope[name] = made
        return ast.copy_location(ast.Call(ast.copy_location(ast.Name(name, ast.Load()), node), arguments, []), node)

    def _extreme(self, node: ast.Call, arguments: list[ast.expr]) -> ast.expr:
        """Min and max, two by two."""
        assert isinstance(node.func, ast.Name)
        name, made = self._call(node.func.id, 2)
        result = arguments[0]
        for each in arguments[1:]:
            result = self._called(node, name, made, [result, each])
        return result

    def _folded(self, node: ast.expr) -> int:
        expression = compile(ast.fix_missing_locations(ast.Expression(node)), "", "eval")
        try:
            value: int = eval(expression, {"__builtins__": {}})  # noqa: S307 - arithmetic over constants
        except NameError:
            raise self._refuse(node, "stack_alloc takes a constant") from None
        return value


def _base_and_offset(address: ast.expr) -> tuple[ast.expr, ast.expr]:
    """A sum as its first term that is no constant, and the rest."""
    terms = _terms(address, negative=False)
    first = next(
        (at for at, (term, minus) in enumerate(terms) if not minus and not isinstance(term, ast.Constant)), None
    )
    if first is None:
        return address, ast.copy_location(ast.Constant(0), address)
    base, _ = terms.pop(first)
    offset: ast.expr = ast.copy_location(ast.Constant(0), address)
    for term, minus in terms:
        offset = ast.copy_location(ast.BinOp(offset, ast.Sub() if minus else ast.Add(), term), address)
    return base, offset


def _terms(node: ast.expr, *, negative: bool) -> list[tuple[ast.expr, bool]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        flipped = negative != isinstance(node.op, ast.Sub)
        return _terms(node.left, negative=negative) + _terms(node.right, negative=flipped)
    return [(node, negative)]
