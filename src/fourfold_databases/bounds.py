"""Bounds: values of a child's row that never lie before, or above, a value of its owner's row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fourfold.metrics.rows import Columns
from fourfold.metrics.rule_search import MOST_ROWS, find_rules
from fourfold.metrics.rules import AtMost
from fourfold_databases.derived import FEW, FEWEST, Kinds, NumberFormat, numbers
from fourfold_databases.times import TimeFormat

__all__ = ["Bound", "bounds_of", "orders_of"]


@final
@dataclass(frozen=True)
class Bound:
    """A column of a child that a column of its owner bounds.

    Attributes:
        column: of the child.
        above: of the owner.
        most: whether values are at most those of the owner. Otherwise at least.
        form: how numbers of the child are written. ``None``: they are times.
        times: how times of the child are written, and those of the owner.
    """

    column: str
    above: str
    most: bool = False
    form: NumberFormat | None = None
    times: tuple[TimeFormat, TimeFormat] = field(default=(TimeFormat(), TimeFormat()), compare=False)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Bound:
        """The bound that ``dataclasses.asdict`` wrote."""
        form, times = record["form"], tuple(map(TimeFormat.of_record, record.get("times", ({}, {}))))
        return cls(**{**record, "form": form and NumberFormat(**form), "times": times})

    def words(self, child: str, parent: str) -> str:
        """The rule as a person writes it."""
        words = ("not after", "not before") if self.form is None else ("at most", "at least")
        return f"{child}.{self.column} {words[not self.most]} {parent}.{self.above}"

    def excess(self, rows: pd.DataFrame, owners: pd.DataFrame) -> npt.NDArray[np.float64]:
        """How far each row lies beyond its bound, in days for times. NaN where either value is missing.

        Args:
            rows: of the child.
            owners: the row of the owner of each.
        """
        own, above = rows[self.column], owners[self.above]
        if self.form is None:
            distance = self.times[0].days(own) - self.times[1].days(above)
        else:
            distance = numbers(own) - numbers(above)
        return distance if self.most else -distance

    def clamped(self, rows: pd.DataFrame, owners: pd.DataFrame, as_text: bool) -> pd.DataFrame:
        """Rows of which those that lie beyond their bound have the bound."""
        beyond = self.excess(rows, owners) > 0
        if not beyond.any():
            return rows
        if self.form is None:
            limits = self.times[0].written(self.times[1].days(owners[self.above]), as_text, up=not self.most)
        else:
            scale, whole = 10.0**self.form.decimals, np.floor if self.most else np.ceil
            limits = self.form.written(whole(numbers(owners[self.above]) * scale) / scale, as_text)
        return rows.assign(**{self.column: rows[self.column].mask(beyond, limits.set_axis(rows.index))})


def orders_of(times: Mapping[str, TimeFormat], above: Mapping[str, TimeFormat]) -> Iterator[Bound]:
    """A bound for each time of a child that may not be before one of its owner. Times of a day bound no dates."""
    for name, own in times.items():
        for other, over in above.items():
            if own.of_clock == over.of_clock:
                yield Bound(name, other, times=(own, over))


def bounds_of(rows: pd.DataFrame, owners: pd.DataFrame, kinds: Kinds, above: Kinds) -> Iterator[Bound]:
    """The bounds that all rows of a child keep.

    A time that is never before one of the owner's needs :data:`~fourfold_databases.derived.FEWEST` rows. Any other
    bound needs the evidence of :func:`~fourfold.metrics.rule_search.find_rules`.

    Args:
        rows: of the child.
        owners: the row of the owner of each.
        kinds: of the child's columns.
        above: of the owner's columns.
    """
    starts = [bound for bound in orders_of(kinds.times, above.times) if _holds(bound, rows, owners)]
    yield from starts
    step = -(-len(rows) // MOST_ROWS) or 1
    some = rows.iloc[::step], owners.iloc[::step]
    names = [(0, *item) for item in _columns_of(kinds)] + [(1, *item) for item in _columns_of(above)]
    if not names:
        return
    forms = ({**kinds.times}, {**above.times})
    parts = [(forms[side][name].days if name in forms[side] else numbers)(some[side][name]) for side, name, _ in names]
    units = tuple(unit for _, _, unit in names)
    columns = Columns(tuple(name for _, name, _ in names), (False,) * len(names), units)
    for rule in find_rules(torch.from_numpy(np.stack(parts, 1)), columns):
        if not isinstance(rule, AtMost) or names[rule.a][0] == names[rule.b][0]:
            continue
        most = names[rule.a][0] == 0
        own, other = (names[j][1] for j in ((rule.a, rule.b) if most else (rule.b, rule.a)))
        if own in kinds.times:
            bound = Bound(own, other, most, times=(kinds.times[own], above.times[other]))
        else:
            bound = Bound(own, other, most, NumberFormat.of(rows[own]))
        if bound not in starts and _holds(bound, rows, owners):
            yield bound


def _columns_of(kinds: Kinds) -> Iterator[tuple[str, str]]:
    """The columns that may be bounded, with their unit."""
    yield from ((name, "number") for name in kinds.quantities)
    yield from ((name, "clock" if form.of_clock else "time") for name, form in kinds.times.items())


def _holds(bound: Bound, rows: pd.DataFrame, owners: pd.DataFrame) -> bool:
    if (bound.excess(rows[:FEW], owners[:FEW]) > 0).any():
        return False
    excess = bound.excess(rows, owners)
    present = excess[~np.isnan(excess)]
    return len(present) >= FEWEST and bool((present <= 0).all())
