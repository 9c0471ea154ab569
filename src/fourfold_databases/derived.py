"""Columns of a database that other columns decide, so that no model need learn them.

Three kinds are found in the rows of a database, and computed in samples:

* a *tally* is a column of a parent that counts or adds up the rows which name it, such as the total of an order;
* a *copy* is a column of a child that repeats one of the row which it names, such as the price of a product;
* a *balance* is a column that a sum within its row decides, where a tally is a part of that sum.

Each is a function of the other columns, so likelihoods of rows without them are those of the whole rows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fourfold.metrics.rows import Columns
from fourfold.metrics.rule_search import find_rules
from fourfold.metrics.rules import AddsUp
from fourfold_databases.reading import Frames, Places, gaps_in, places_in, rows_at
from fourfold_databases.schema import Link, Schema
from fourfold_databases.times import TimeFormat

__all__ = [
    "Balance",
    "Copy",
    "Derived",
    "Kinds",
    "Tally",
    "counts_of",
    "derived_columns",
    "filled",
    "numbers",
    "of_record",
    "places_of",
]

FEWEST = 20
"""The fewest rows that show such a column."""
FEW = 2000
"""Rows that each candidate is tried on first, since most fail there."""
SHOWN = 10
"""About so many children of each of :data:`FEW` parents are among these rows. Of owners of more, fewer are taken."""
CLOSE = 1e-6
"""The error of a sum that rounding explains, as a part of its size."""
Numbers: TypeAlias = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Attributes:
        decimals: the most that one has.
        fixed: whether all have so many.
        whole: whether values that are no texts are integers.
    """

    decimals: int = 0
    fixed: bool = True
    whole: bool = True

    @classmethod
    def of(cls, column: pd.Series) -> NumberFormat:
        """That of the values of a column."""
        present = column[~gaps_in(column)]
        decimals = present.astype(str).str.partition(".")[2].str.rstrip().str.len()
        whole = pd.api.types.is_integer_dtype(column)
        return cls(int(decimals.max()), bool((decimals == decimals.max()).all()), whole)

    def written(self, values: Numbers, as_text: bool) -> pd.Series:
        """Numbers as the column has them, gaps where they are NaN."""
        rounded = pd.Series(np.round(values, self.decimals))
        if not as_text:
            return rounded.astype("int64") if self.whole and not rounded.isna().any() else rounded
        texts = [
            f"{v:.{self.decimals}f}" if self.fixed else f"{v:.{self.decimals}f}".rstrip("0").rstrip(".")
            for v in rounded
        ]
        return pd.Series(texts, dtype=object).mask(rounded.isna(), "")


@final
@dataclass(frozen=True)
class Tally:
    """A column of a parent that its children decide.

    Attributes:
        column: its name.
        child: the table whose rows are counted or added up.
        link: the column of the child by which these name the parent.
        function: ``count``, ``sum``, ``min`` or ``max``.
        of: the column of the child. Empty for ``count``.
        empty: the value of a row that none names. ``None``: it is missing.
        form: how counts and sums are written. ``None``: values are those of the child as they stand.
        times: how the child writes them, if they are times.
    """

    column: str
    child: str
    link: str
    function: str
    of: str = ""
    empty: float | None = None
    form: NumberFormat | None = None
    times: TimeFormat | None = None

    def words(self, table: str) -> str:
        """The rule as a person writes it."""
        inside = f"{self.child}.{self.of}" if self.of else self.child
        return f"{table}.{self.column} = {self.function} of {inside}"

    def needs(self, table: str) -> set[tuple[str, str]]:
        """The tables and columns that it is computed from."""
        return {(self.child, self.of)} if self.of else set()

    def values(self, frames: Frames, schema: Schema, table: str, as_text: bool) -> pd.Series | None:
        """The column, from the other tables. ``None`` as long as their columns are not there."""
        child, keys = frames[self.child], frames[table][schema.keys[table]]
        if self.of and self.of not in child:
            return None
        places = places_in(keys, child[self.link])
        if self.form is None:
            return _extreme(child, self, places, len(keys))
        values, counts = _tallied(child, self, places, len(keys)), counts_of(places, len(keys))
        empty = np.nan if self.empty is None else self.empty
        return self.form.written(np.where(counts == 0, empty, values), as_text)


@final
@dataclass(frozen=True)
class Copy:
    """A column of a child that repeats a column of the row which it names.

    Attributes:
        column: its name.
        link: the column that names the row.
        parent: the table of that row.
        of: its column.
    """

    column: str
    link: str
    parent: str
    of: str

    def words(self, table: str) -> str:
        """The rule as a person writes it."""
        return f"{table}.{self.column} = {self.parent}.{self.of}"

    def needs(self, table: str) -> set[tuple[str, str]]:
        """The tables and columns that it is computed from."""
        return {(self.parent, self.of)}

    def values(self, frames: Frames, schema: Schema, table: str, as_text: bool) -> pd.Series | None:
        """The same as :meth:`Tally.values`."""
        if self.of not in frames[self.parent]:
            return None
        places = places_in(frames[self.parent][schema.keys[self.parent]], frames[table][self.link])
        return rows_at(frames[self.parent][[self.of]], places)[self.of]


@final
@dataclass(frozen=True)
class Balance:
    """A column that is a sum of others of its row, each with a sign.

    Attributes:
        column: its name.
        parts: those of the others.
        signs: 1 or -1 for each.
        form: how its numbers are written.
    """

    column: str
    parts: tuple[str, ...]
    signs: tuple[int, ...]
    form: NumberFormat

    def words(self, table: str) -> str:
        """The rule as a person writes it."""
        terms = [
            f"{'+' if sign > 0 else '-'} {table}.{part}" for part, sign in zip(self.parts, self.signs, strict=True)
        ]
        return f"{table}.{self.column} = {' '.join(terms).removeprefix('+ ')}"

    def needs(self, table: str) -> set[tuple[str, str]]:
        """The tables and columns that it is computed from."""
        return {(table, part) for part in self.parts}

    def values(self, frames: Frames, schema: Schema, table: str, as_text: bool) -> pd.Series | None:
        """The same as :meth:`Tally.values`."""
        frame = frames[table]
        if not set(self.parts) <= {*map(str, frame)}:
            return None
        terms = [sign * numbers(frame[part]) for part, sign in zip(self.parts, self.signs, strict=True)]
        return self.form.written(np.sum(terms, 0), as_text)


Derived: TypeAlias = Tally | Copy | Balance


def of_record(record: Mapping[str, Any]) -> Derived:
    """The derived column that ``dataclasses.asdict`` wrote."""
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in record.items()}
    if values.get("form") is not None:
        values["form"] = NumberFormat(**values["form"])
    if values.pop("time", False):  # as earlier versions wrote it
        values["times"] = {}
    if values.get("times") is not None:
        values["times"] = TimeFormat.of_record(values["times"])
    kind: type[Derived] = Balance if "parts" in values else Tally if "function" in values else Copy
    return kind(**values)


def numbers(column: pd.Series) -> Numbers:
    """The numbers of a column. What is none is NaN."""
    result: Numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    return result


def places_of(frames: Frames, schema: Schema, link: Link) -> Places:
    """The place in the parent of the row that each row of a child names, ``(N,)``. -1 where it names none."""
    return places_in(frames[link.parent][schema.keys[link.parent]], frames[link.child][link.column])


def counts_of(places: Places, parents: int = 0) -> Places:
    """How many rows name each row of a parent, ``(parents,)``: without its number as many as are named."""
    return np.bincount(places[places >= 0], minlength=parents)


def _tallied(child: pd.DataFrame, tally: Tally, places: Places, parents: int) -> Numbers:
    """The tally of each row of the parent. A sum of numbers of which one is missing is missing."""
    if tally.function == "count":
        return counts_of(places, parents).astype(np.float64)
    linked = places >= 0
    sums = np.bincount(places[linked], numbers(child[tally.of])[linked], minlength=parents)
    return sums.astype(np.float64)


def _extreme(child: pd.DataFrame, tally: Tally, places: Places, parents: int) -> pd.Series:
    """The first or last value of the rows that name each row of the parent, as it stands."""
    column = child[tally.of]
    sizes = numbers(column) if tally.times is None else tally.times.days(column)
    order = np.argsort(sizes, kind="stable")
    order = order[places[order] >= 0]
    groups = column.iloc[order].groupby(places[order], sort=False)
    return (groups.first() if tally.function == "min" else groups.last()).reindex(range(parents))


# --- search -----------------------------------------------------------------------------------------------------------


class Kinds(NamedTuple):
    """The columns of a table that are numbers, and those that are times."""

    quantities: tuple[str, ...]
    times: Mapping[str, TimeFormat]

    def of(self, names: Collection[str]) -> Kinds:
        """Those among some names."""
        times = {name: form for name, form in self.times.items() if name in names}
        return Kinds(tuple(name for name in self.quantities if name in names), times)


def derived_columns(
    frames: Frames, schema: Schema, kinds: Mapping[str, Kinds], places: Mapping[Link, Places]
) -> dict[str, tuple[Derived, ...]]:
    """The columns of each table that others decide in all rows.

    Args:
        frames: the rows of each table.
        schema: of the database.
        kinds: of the columns of each table. One without kinds has no such columns.
        places: of the rows that each link names, by :func:`places_of`.
    """
    result: dict[str, list[Derived]] = {table: [] for table in schema.keys}
    needs: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def add(table: str, item: Derived) -> None:
        wider = {**needs, (table, item.column): item.needs(table)}
        with contextlib.suppress(CycleError):  # a total is then no copy of its own copies
            TopologicalSorter(wider).prepare()
            needs.update(wider)
            result[table].append(item)

    links = [link for link in schema.links if link.parent != link.child and {link.parent, link.child} <= kinds.keys()]
    searches = [(link.child, link, _copies) for link in links] + [(link.parent, link, _tallies) for link in links]
    for table, link, search in searches:
        columns = {item.column for item in result[table]} | {*schema.without(table), *schema.key_columns(table)}
        for item in search(frames, schema, link, kinds, columns, places[link]):
            add(table, item)
    for table in kinds:
        tallies = {item.column for item in result[table] if isinstance(item, Tally)}
        if tallies:
            columns = {item.column for item in result[table]}
            for balance in _balances(frames[table], kinds[table], columns, tallies):
                add(table, balance)
    return {table: tuple(items) for table, items in result.items()}


def _tallies(
    frames: Frames,
    schema: Schema,
    link: Link,
    kinds: Mapping[str, Kinds],
    without: Collection[str],
    places: Places,
) -> Iterator[Tally]:
    """The columns of a parent that the children of a link decide, if some rows own several."""
    parent, child = frames[link.parent], frames[link.child]
    counts = counts_of(places)
    counts = counts[counts > 0]
    if len(counts) < FEWEST or len(np.unique(counts)) < 2:
        return
    first = int(np.clip(SHOWN * FEW / counts.mean(), 2 * FEWEST, FEW))
    some = (places >= 0) & (places < first)
    few, places_of_few = child[some], places[some]
    above, below = kinds[link.parent], kinds[link.child]
    tallies = [Tally("", link.child, link.column, "count", form=NumberFormat())]
    tallies += [Tally("", link.child, link.column, "sum", name, form=NumberFormat()) for name in below.quantities]
    forms = {**dict.fromkeys(below.quantities), **below.times}
    tallies += [
        Tally("", link.child, link.column, f, n, times=form) for n, form in forms.items() for f in ("max", "min")
    ]
    for column in (*above.quantities, *above.times):
        if column not in without:
            fitting = (t for t in tallies if column in (above.quantities if t.times is None else above.times))
            fits = ((t, _empty(t, parent[column][:first], few, places_of_few)) for t in fitting)
            for tally, part in fits:
                empty = None if part is None else _empty(tally, parent[column], child, places)
                if empty is not None:
                    form = None if tally.form is None else NumberFormat.of(parent[column])
                    yield replace(tally, column=column, form=form, empty=None if math.isnan(empty) else empty)
                    break


def _empty(tally: Tally, column: pd.Series, child: pd.DataFrame, places: Places) -> float | None:
    """The value of a parent's rows that no child names, if a tally is right in all rows. NaN: it is missing.

    ``None`` where it is wrong in one, or where fewer than :data:`FEWEST` rows or one value alone show it.
    """
    linked, gaps = counts_of(places, len(column)) > 0, gaps_in(column).to_numpy()
    if tally.form is None:
        values = _extreme(child, tally, places, len(column)).to_numpy()
        same = (values[linked] == column.to_numpy()[linked]) | (pd.isna(values[linked]) & gaps[linked])
        other = pd.Series(column.to_numpy()[linked & ~gaps]).nunique() > 1
        return math.nan if linked.sum() >= FEWEST and other and same.all() and gaps[~linked].all() else None
    values, present = _tallied(child, tally, places, len(column)), numbers(column)
    close = np.abs(values - present) <= CLOSE * np.maximum(np.abs(present), 1)
    if linked.sum() < FEWEST or not (close | (np.isnan(values) & gaps))[linked].all():
        return None
    alone = np.unique(present[~linked])
    if len(np.unique(present[linked & ~gaps])) < 2 or len(alone) > 1:
        return None
    return float(alone[0]) if len(alone) else (0.0 if tally.function == "count" else math.nan)


def _copies(
    frames: Frames,
    schema: Schema,
    link: Link,
    kinds: Mapping[str, Kinds],
    without: Collection[str],
    places: Places,
) -> Iterator[Copy]:
    """The columns of a child that repeat one of the row which a link names. A row without one has none."""
    child, parent = frames[link.child], frames[link.parent].reset_index(drop=True)
    own = [str(name) for name in parent if name not in schema.without(link.parent)]
    if len(np.unique(places[places >= 0])) < FEWEST:
        return
    for column in (str(name) for name in child if name not in without):
        for of in own:
            rows, above = child[column], parent[of]
            if _repeats(rows[:FEW], above, places[:FEW]) and _repeats(rows, above, places):
                yield Copy(column, link.column, link.parent, of)
                break


def _repeats(own: pd.Series, above: pd.Series, places: Places) -> bool:
    """Whether a column holds what another holds in the row that a link names, and not the same everywhere."""
    partner = above.reindex(places).set_axis(own.index)
    if own.dtype != partner.dtype:
        return False
    same = (own == partner) | (gaps_in(own) & gaps_in(partner))
    return bool(same.all()) and own.nunique() > 1


def _balances(
    frame: pd.DataFrame, kinds: Kinds, derived: Collection[str], tallies: Collection[str]
) -> Iterator[Balance]:
    """Columns that a sum within the row decides, where tallies are among its terms."""
    names = kinds.quantities
    if not names:
        return
    x = torch.from_numpy(np.stack([numbers(frame[name]) for name in names], 1))
    columns = set(derived)
    for rule in find_rules(x, Columns(names, (False,) * len(names), ("number",) * len(names))):
        if not isinstance(rule, AddsUp):
            continue
        terms = {names[rule.total]: -1, **{names[j]: sign for j, sign in zip(rule.parts, rule.signs, strict=True)}}
        free = [name for name in terms if name not in columns]
        if tallies & terms.keys() and free:
            rest = {name: -sign * terms[free[0]] for name, sign in terms.items() if name != free[0]}
            columns.add(free[0])
            yield Balance(free[0], tuple(rest), tuple(rest.values()), NumberFormat.of(frame[free[0]]))


# --- samples ----------------------------------------------------------------------------------------------------------


def filled(
    frames: Mapping[str, pd.DataFrame], schema: Schema, derived: Mapping[str, Sequence[Derived]], as_text: bool
) -> dict[str, pd.DataFrame]:
    """Tables with their derived columns, each computed once those that it needs are there."""
    result = dict(frames)
    waiting = [(table, item) for table, items in derived.items() for item in items if item.column not in frames[table]]
    while waiting:
        later = []
        for table, item in waiting:
            values = item.values(result, schema, table, as_text)
            if values is None:
                later.append((table, item))
            else:
                result[table] = result[table].assign(**{item.column: values.to_numpy()})
        assert len(later) < len(waiting), "derived columns do not need each other in a circle"
        waiting = later
    return result
