"""Choosing rows of a table by a plain expression that is parsed and never executed."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.data.tables import Table
from t2fast.errors import T2Error

__all__ = ["evaluate"]

_LARGEST = float(np.finfo(np.float64).max)

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str, table: Table, name: str = "holdout") -> NDArray[np.bool_]:
    """Which rows satisfy a plain expression: comparisons of columns and numbers, joined by and, or, not.

    The text is parsed, never executed: calls, attributes, subscripts and powers are refused.

    Raises
    ------
    T2Error
        When it is malformed, goes beyond that grammar, or names an unknown column.

    Examples
    --------
    >>> from t2fast.data.tables import read_table
    >>> table = read_table({"n_params": [1e8, 1e9], "n_tokens": [2e9, 2e10], "loss": [3.1, 2.6]})
    >>> evaluate("n_params > 5e8", table).tolist()
    [False, True]
    """
    allowed = "write comparisons such as tokens_per_param > 100, joined by and, or, not"
    try:
        with warnings.catch_warnings():
            # Such as "0or": accepted by Python with a warning that would mean nothing to whoever wrote the expression.
            warnings.simplefilter("ignore")
            tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise T2Error(f"{name} = {expression!r}: cannot be read; {allowed}") from None
    n, d = table.number("n_params"), table.number("n_tokens")
    names: dict[str, Any] = {**table.columns, "N": n, "D": d, "tokens_per_param": d / n, "flops": 6 * n * d}

    def visit(node: ast.AST) -> Any:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return np.logical_and.reduce([truth(value) for value in values])
            case ast.BoolOp(op=ast.Or(), values=values):
                return np.logical_or.reduce([truth(value) for value in values])
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~truth(operand)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -quantity(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
                return _ARITHMETIC[type(sign)](quantity(left), quantity(right))
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
                sides = [visit(side) for side in (left, *others)]
                result = np.ones(len(table), dtype=np.bool_)
                for op, a, b in zip(ops, sides, sides[1:], strict=False):
                    if _is_text(a) != _is_text(b):
                        raise T2Error(f"{name} = {expression!r}: compares text with a number")
                    result &= np.asarray(_COMPARE[type(op)](a, b), dtype=np.bool_)
                return result
            case ast.Name(id=column):
                if column not in names:
                    raise T2Error(f"{name} = {expression!r}: no column {column}; there are {', '.join(names)}")
                return names[column]
            case ast.Constant(value=bool() | str() as value):
                return value
            case ast.Constant(value=int() | float() as value) if abs(value) <= _LARGEST:
                # Not Python's numbers: those raise where arrays give infinity or NaN.
                return np.float64(value)
        raise T2Error(f"{name} = {expression!r}: {type(node).__name__} is not allowed; {allowed}")

    def quantity(node: ast.AST) -> Any:
        value = visit(node)
        if _is_text(value) or isinstance(value, bool) or getattr(value, "dtype", None) == np.bool_:
            raise T2Error(f"{name} = {expression!r}: arithmetic needs numbers")
        return value

    def truth(node: ast.AST) -> NDArray[np.bool_]:
        value = visit(node)
        if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
            raise T2Error(f"{name} = {expression!r}: and, or, not join comparisons; {allowed}")
        return value

    try:
        with np.errstate(all="ignore"):
            return truth(tree.body)
    except RecursionError:
        raise T2Error(f"{name} = {expression[:60]!r}...: is nested too deeply; {allowed}") from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, np.ndarray) and value.dtype.kind == "U")
