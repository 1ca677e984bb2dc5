"""Small changes of a function's body: comparisons, conditions, arithmetic, constants, returns, statements left out."""

import ast
from collections.abc import Callable, Iterator
from typing import Any

Change = Callable[[], None]
"""Makes one change in a syntax tree."""

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_ON_IMPORT = {"annotation", "returns", "args", "decorator_list"}
"""Parts of a function that are evaluated when it is defined."""


def changes(function: ast.FunctionDef) -> Iterator[Change]:
    """Yield the changes of a function's body, always in the same order."""
    for statement in function.body:
        for node in _walk(statement):
            yield from _changes_of_expression(node)
            yield from _changes_of_condition(node)
    for node in _walk(function):
        for _, block in ast.iter_fields(node):
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield from _changes_of_block(block)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name in _ON_IMPORT and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child)


def _changes_of_expression(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                yield _assign(operators, index, _SWAPPED[type(operator)]())
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) | ast.AugAssign(op=operator) if (
            type(operator) in _SWAPPED
        ):
            yield _set(node, "op", _SWAPPED[type(operator)]())
        case ast.Constant(value=bool(value)):
            yield _set(node, "value", not value)
        case ast.Constant(value=int() | float() as number):
            yield _set(node, "value", number + 1)
        case ast.Name(id=name) if name in _NAMES:
            yield _set(node, "id", _NAMES[name])


def _changes_of_condition(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield _set(node, "value", ast.Constant(None))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _set(node, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):  # those have changes of their own
                yield _set(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.comprehension(ifs=[_, *_]):
            yield node.ifs.clear


def _changes_of_block(block: list[Any]) -> Iterator[Change]:
    """Statements left out, and two calls in the other order."""
    for index, node in enumerate(block):
        if _is_call(node) or isinstance(node, ast.Raise | ast.AugAssign | ast.Continue | ast.Break):
            yield _assign(block, index, ast.Pass())
        if _is_call(node) and index + 1 < len(block) and _is_call(block[index + 1]):
            yield _assign(block, slice(index, index + 2), [block[index + 1], node])


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _set(node: ast.AST, name: str, value: object) -> Change:
    return lambda: setattr(node, name, value)


def _assign(items: list[Any], index: Any, value: object) -> Change:
    return lambda: items.__setitem__(index, value)
