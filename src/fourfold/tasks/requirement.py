"""Requirements on rows: a small language of comparisons between columns, of which nothing is run as code."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import one_of
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Categorical, DateTime, Graded, Numeric

__all__ = ["Requirement"]

LONGEST = 1000
"""Characters of a requirement, at most."""


class _Value(NamedTuple):
    """Values of rows, and where they are not known because a value is missing."""

    values: Any
    unknown: npt.NDArray[np.bool_]


@final
class Requirement:
    """A condition that rows fulfil, such as ``age >= 18 and (start <= end or kind != 'trip')``.

    There are columns (in backticks where the name is not a word: `` `native country` ``), numbers, texts and times in
    quotation marks, ``+ - * /``, comparisons, ``in ('a', 'b')``, ``and``, ``or``, ``not``, and ``seen(a, b)``: the
    values of these columns occur together in a row of the training data. A condition that a missing value leaves open
    counts as fulfilled, as in a CHECK of SQL.

    Args:
        text: the condition.
        space: of the rows; its columns have names.
        train: the training rows, for ``seen``.

    Raises:
        ValueError: for a text that is not a requirement, with the reason, or for a column that is not there.
    """

    def __init__(self, text: str, space: Space, train: Callable[[], Tensor] | None = None) -> None:
        self.text, self.space, self.train = text, space, train
        self._names: dict[str, str] = {}
        self._combinations: dict[tuple[str, ...], pd.MultiIndex] = {}
        try:
            self._tree = ast.parse(self._without_backticks(text[:LONGEST]).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._wrong("cannot be read: write it like 'a <= b', other names than words in backticks") from None
        if not space.columns or len(space.shape) > 1:
            raise ValueError(f"requirements must be left out for {space}, which has no columns with names")
        self(_no_rows(space))  # refuses names and types that do not fit the columns

    def __str__(self) -> str:
        return repr(self.text)

    def __call__(self, x: Tensor) -> npt.NDArray[np.bool_]:
        """True for the rows that fulfil it, ``(n,)``."""
        truth = self._truth(self._tree, x)
        return truth.values | truth.unknown

    def _wrong(self, why: str) -> ValueError:
        return ValueError(f"requirement {self.text[:80]!r} {why}")

    def _without_backticks(self, text: str) -> str:
        def plain(match: re.Match[str]) -> str:
            self._names[f"_column_{len(self._names)}"] = match[1]
            return f"_column_{len(self._names) - 1}"

        return re.sub(r"`([^`]+)`", plain, text)

    # --- truth --------------------------------------------------------------------------------------------------------

    def _truth(self, node: ast.AST, x: Tensor) -> _Value:
        """True or false of each row, or unknown."""
        if isinstance(node, ast.BoolOp):
            parts = [self._truth(part, x) for part in node.values]
            decided = isinstance(node.op, ast.Or)  # the value that decides alone
            decides = np.any([(part.values == decided) & ~part.unknown for part in parts], axis=0)
            unknown = np.any([part.unknown for part in parts], axis=0) & ~decides
            return _Value(np.where(decides, decided, not decided), unknown)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self._truth(node.operand, x)
            return _Value(~part.values, part.unknown)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [self._compared(a, op, b, x) for a, op, b in zip(sides, node.ops, node.comparators, strict=False)]
            values = np.all([part.values for part in parts], axis=0)
            return _Value(values, np.any([part.unknown for part in parts], axis=0))
        if isinstance(node, ast.Call):
            return self._occurs(node, x)
        if isinstance(node, ast.Name):
            value = self._value(node, x)
            truth = pd.Series(value.values).astype(str).str.lower().isin(["true", "1", "1.0"]).to_numpy()
            return _Value(truth, value.unknown)
        raise self._wrong(f"has {_source(node)!r} where a comparison should stand")

    def _compared(self, left: ast.AST, op: ast.cmpop, right: ast.AST, x: Tensor) -> _Value:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.Tuple, ast.List)):
                raise self._wrong("has an 'in' without a list: write it like kind in ('a', 'b')")
            parts = [self._compared(left, ast.Eq(), item, x) for item in right.elts]
            inside = np.any([part.values for part in parts], axis=0) if parts else np.zeros(len(x), dtype=bool)
            unknown = self._value(left, x).unknown
            return _Value(inside if isinstance(op, ast.In) else ~inside, unknown)
        compare = _COMPARISONS.get(type(op))
        if compare is None:
            raise self._wrong("has a comparison other than < <= == != >= > in")
        a, b = self._value(left, x), self._value(right, x)
        first, second = self._alike(a.values, b.values)
        truth = np.asarray(compare(first, second), dtype=bool)
        if _kind(first) in "fi":  # 0.1 + 0.2 is 0.3
            close = np.isclose(first, second, rtol=1e-9, atol=1e-9)
            truth = np.where(close, compare(0, 0), truth)
        return _Value(np.broadcast_to(truth, (len(x),)), a.unknown | b.unknown)

    def _alike(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Two sides as values of one kind: times where one is a time, numbers where both can be, else texts."""
        kinds = {np.asarray(side).dtype.kind for side in (a, b)}
        if "M" in kinds:
            try:
                first, second = (
                    side if _kind(side) == "M" else np.datetime64(pd.Timestamp(str(side))) for side in (a, b)
                )
                return first, second
            except (ValueError, TypeError):
                raise self._wrong("compares a time with something else: write times like '2020-12-31'") from None
        if kinds <= {"f", "i", "b"}:
            return a, b
        if "f" in kinds or "i" in kinds:
            raise self._wrong("compares a number with a text: put texts alone in quotation marks")
        return a, b

    # --- values -------------------------------------------------------------------------------------------------------

    def _value(self, node: ast.AST, x: Tensor) -> _Value:
        nowhere = np.zeros(len(x), dtype=bool)
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
            value = str(node.value) if isinstance(node.value, (str, bool)) else float(node.value)
            return _Value(value, nowhere)
        if isinstance(node, ast.Name):
            return self._column(self._names.get(node.id, node.id), x)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            part = self._number(node.operand, x)
            return _Value(-part.values, part.unknown)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            a, b = self._number(node.left, x), self._number(node.right, x)
            with np.errstate(all="ignore"):
                return _Value(_ARITHMETIC[type(node.op)](a.values, b.values), a.unknown | b.unknown)
        raise self._wrong(f"has {_source(node)!r}, which is not a column, number, text or sum")

    def _number(self, node: ast.AST, x: Tensor) -> _Value:
        value = self._value(node, x)
        if _kind(value.values) not in "fi":
            raise self._wrong(f"computes with {_source(node)!r}, which is not a number")
        return value

    def _column(self, name: str, x: Tensor) -> _Value:
        """The values of a column: numbers, times, or texts."""
        place = self._place(name)
        if not isinstance(self.space, Table):  # only codes must be read as values first
            return _Value(x[:, place].double().numpy(), np.zeros(len(x), dtype=bool))
        column, codes = self.space.modelled[place], x[:, place].numpy()
        unknown = codes == MISSING
        codes = np.where(unknown, column.span[0], codes)
        if isinstance(column, DateTime):
            return _Value(column.times_of(codes).to_numpy(), unknown)
        if isinstance(column, Graded):
            values = column.quantities(codes)
            powers = isinstance(column, Numeric) and column.logarithmic
            return _Value(values if powers else np.round(values, 12), unknown)
        assert isinstance(column, Categorical)
        numbers = column.numbers
        return _Value(numbers[codes] if numbers is not None else np.array(column.categories)[codes], unknown)

    def _place(self, name: str) -> int:
        if name in self.space.columns:
            return self.space.columns.index(name)
        raise self._wrong(f"must name {one_of(name, self.space.columns)}")

    def _occurs(self, node: ast.Call, x: Tensor) -> _Value:
        """True for rows whose values in these columns occur together in the training data."""
        plain = isinstance(node.func, ast.Name) and node.func.id == "seen" and not node.keywords
        if not plain or not node.args or not all(isinstance(argument, ast.Name) for argument in node.args):
            raise self._wrong("calls another function than seen(column, column)")
        names = tuple(
            self._names.get(argument.id, argument.id) for argument in node.args if isinstance(argument, ast.Name)
        )
        places = [self._place(name) for name in names]
        if not len(x):
            return _Value(np.ones(0, dtype=bool), np.zeros(0, dtype=bool))
        if names not in self._combinations:
            if self.train is None:
                raise self._wrong("has seen(...), which needs the training data: put it back")
            self._combinations[names] = pd.MultiIndex.from_arrays(list(self.train()[:, places].T.numpy())).unique()
        rows = pd.MultiIndex.from_arrays(list(x[:, places].T.numpy()))
        return _Value(rows.isin(self._combinations[names]), np.zeros(len(x), dtype=bool))


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _no_rows(space: Space) -> Tensor:
    """No example at all, on which a requirement is tried."""
    dtype = torch.int64 if isinstance(space, Table) else torch.float32  # codes are integers
    return torch.empty(0, *space.shape, dtype=dtype)


def _kind(values: Any) -> str:
    return np.asarray(values).dtype.kind


def _source(node: ast.AST) -> str:
    return ast.unparse(node)[:40]
