"""How each table of a database is modelled: the columns of its rows, and the row that they are given.

The probability of a unit (a row that no other owns, with all rows below it) is a product over its rows::

    p(unit) = p(row) * product over the tables that it owns of p(their rows, as a sequence | row)

A table that the same row owns comes earlier or later: the later one is also given a *summary* of the rows of the
earlier one (:mod:`fourfold_databases.summaries`), so their dependence is kept and the product stays exact.

Two kinds of columns are added to the rows of a table. A *flag* says whether a row owns rows of a table, so that a
sequence has one row at least. The *columns of a reference* are those of the row that a further link names. In samples,
the row that is most like them is named.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fourfold.core import configuration
from fourfold.data import Dataset, load
from fourfold.data.errors import DataError
from fourfold.data.schema import Coded, Inferred, infer
from fourfold.data.sequences import order_of
from fourfold.spaces.columns import DateTime, Graded, Identifier
from fourfold_databases.bounds import Bound, bounds_of
from fourfold_databases.database import Database
from fourfold_databases.derived import (
    FEWEST,
    Derived,
    Kinds,
    counts_of,
    derived_columns,
    numbers,
    of_record,
    places_of,
)
from fourfold_databases.reading import Frames, Places, gaps_in, rows_at
from fourfold_databases.schema import Link, Schema
from fourfold_databases.times import TimeFormat

__all__ = [
    "COIN",
    "FEWEST",
    "NO",
    "ROW",
    "YES",
    "Plan",
    "context",
    "flag",
    "free_key",
    "in_order",
    "is_true",
    "numbered",
    "owner_rows",
    "owners_of",
    "plans",
    "presence",
    "reference_columns",
    "role",
    "rows_of",
    "times_of",
    "with_place",
    "with_references",
]

COIN, HEADS, TAILS = "a coin", "heads", "tails"
"""A column that stands beside texts and names of rows where no other column differs from row to row."""
VARYING = ("number", "time", "category", "boolean", "parts")
"""The kinds of columns that are modelled."""
YES, NO = "yes", "no"
"""The values of a flag under a guarantee of privacy, and in runs of earlier versions."""
TRUTHS = ("false", "true")
"""The values of a flag elsewhere: both are kept where few rows have one of them, since truth values name nobody."""
ROW = "row"
"""The column that orders the rows of a sequence where no column of the table does."""
INFERRED = 50_000
"""About so many rows tell the kinds of a table's columns."""
ROLES = 20
"""A reference that names fewer rows, each of them so often at the least, tells them apart by their number."""
PLACES = re.compile(r"(year|month|week|day|hour|date|time|visit|wave|round|period)s?(ID)?$", re.IGNORECASE)
"""Names of columns, beside those of times, whose numbers order rows."""


@dataclass(frozen=True)
class Plan:
    """How a table is modelled.

    Attributes:
        columns: of the table, in the order of the file.
        own: those that are modelled: neither keys nor links, nor derived.
        derived: those that other columns decide.
        counters: those that number the rows of an owner in their order, with the first number. Without another order
            the first of them orders the rows.
        described: those of its own columns that say what a row is like, for rows that are given it.
        quantities: those of them that are numbers.
        categories: those of them that are categories.
        times: those of them that are times, and how they are written.
        bounds: the bounds that values of the owner's row are for its own.
        siblings: the earlier tables of the same owner, of whose rows its rows are given a summary.
        flags: the tables of which some rows own no row.
        order: the column that orders the rows of a sequence. :data:`ROW` where none of its own does.
        alone: whether each row of the owner owns one row at most, so that there are no sequences.
        named: the links of references that some rows leave empty.
        roles: the links of references that name few rows, as flights name the airports of a city. Their number, by
            how often they are named, is a column of its own.
        key: how fresh keys look: the attributes of :class:`~fourfold.spaces.columns.Identifier`. ``None``: no key,
            or one that is a link too.
        rows: how many rows the data has.
        longest: the most rows that one row owns.
        free: how many rows name no owner.
        numbers: the keys and links that are numbers in the data.
        names: whether its other columns are texts and names of rows alone.
        truths: the values of its flags, and of columns that say whether a link names a row.
        counts: how many rows name each row of a table that stays as it is, by the column of the link.
        texts: the table of these beside :data:`COIN`, as :func:`~fourfold.core.configuration` writes it, where nothing
            else of a row is modelled.
    """

    columns: tuple[str, ...]
    own: tuple[str, ...]
    described: tuple[str, ...]
    quantities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    times: Mapping[str, TimeFormat] = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()
    counters: tuple[tuple[str, int], ...] = ()
    bounds: tuple[Bound, ...] = ()
    siblings: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    order: str | None = None
    alone: bool = False
    named: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    key: Mapping[str, Any] | None = None
    rows: int = 0
    longest: int = 1
    free: int = 0
    numbers: tuple[str, ...] = ()
    names: bool = False
    truths: tuple[str, str] = (NO, YES)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    texts: Mapping[str, Any] | None = None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`record` wrote."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        values["derived"] = tuple(map(of_record, values["derived"]))
        values["counters"] = tuple(map(tuple, values["counters"]))
        values["bounds"] = tuple(map(Bound.of_record, values["bounds"]))
        times = record["times"]  # earlier versions wrote names alone
        forms = times if isinstance(times, Mapping) else {name: {} for name in times}
        values["times"] = {name: TimeFormat.of_record(form) for name, form in forms.items()}
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """The plan as a JSON value."""
        return asdict(self)

    def fresh_keys(self, n: int) -> pd.Series:
        """Keys that count on from those of the data, or new texts of their format.

        At most one in 10,000 of the latter is in the data, by chance.
        """
        assert self.key is not None, "the table has a key"
        return Identifier(**self.key).text(np.zeros(n, dtype=np.int64))


def plans(database: Database, rules: bool = True) -> dict[str, Plan]:
    """The plan of each table.

    Args:
        database: that is modelled.
        rules: whether columns that others decide are left to them, and bounds are looked for.
    """
    frames, schema = database.frames, database.schema
    about = {table: _about(frame, schema.without(table)) for table, frame in frames.items()}
    places = {link: places_of(frames, schema, link) for link in schema.links}
    derived: Mapping[str, tuple[Derived, ...]] = {}
    kinds = {table: _kinds(frames[table], items) for table, items in about.items()}
    if rules:
        derived = derived_columns(frames, schema, kinds, places)
    result: dict[str, Plan] = {}
    for table in schema.order:
        plan = _plan(database, table, about[table], derived.get(table, ()), places, rules)
        if plan.names and not has_values(schema, {**result, table: replace(plan, own=())}, table):
            plan = _without_model(frames[table], plan)
        owner = schema.owner(table)
        if rules and owner is not None:
            own, above = (kinds[part].of(p.own) for part, p in ((table, plan), (owner.parent, result[owner.parent])))
            parents = frames[owner.parent][[*above.quantities, *above.times]]
            bounds = bounds_of(frames[table], rows_at(parents, places[owner]), own, above)
            plan = replace(plan, bounds=tuple(bounds))
        result[table] = plan
    return result


def _about(frame: pd.DataFrame, without: Sequence[str]) -> tuple[Inferred, ...]:
    """The columns of a table without keys and links. The parts of a column that is taken apart are none."""
    own = [str(column) for column in frame if column not in without]
    if not own or len(frame) < FEWEST:
        return ()
    return tuple(item for item in _beside_coin(_some(frame[own])).columns if item.column.name in own)


def _beside_coin(frame: pd.DataFrame) -> Dataset:
    """Rows with a coin that differs from row to row: a table must have a column that does."""
    return load(frame.assign(**{COIN: [HEADS if k % 2 else TAILS for k in range(len(frame))]}), space="table")


def _without_model(frame: pd.DataFrame, plan: Plan) -> Plan:
    """The plan of a table that holds texts and names of rows alone, which no model is needed for."""
    return replace(plan, own=(), texts=configuration(_beside_coin(frame[[*plan.own]]).space))


def _kinds(frame: pd.DataFrame, about: Sequence[Inferred]) -> Kinds:
    """The columns that hold numbers, though there may be so few that they are categories, and those of times."""
    some = _some(frame)
    names = [name for name in _of_kinds(about, "number", "category") if _holds_numbers(some[name])]
    return Kinds(tuple(names), times_of(about))


def _holds_numbers(column: pd.Series) -> bool:
    whole = np.isfinite(numbers(column)) | gaps_in(column)
    return bool(whole.all()) and bool(column.notna().any()) and not pd.api.types.is_bool_dtype(column)


def _plan(
    database: Database,
    table: str,
    every: Sequence[Inferred],
    derived: tuple[Derived, ...],
    places: Mapping[Link, Places],
    rules: bool,
) -> Plan:
    frame, schema = database.frames[table], database.schema
    without = {*schema.without(table), *(item.column for item in derived)}
    owner, key, links = schema.owner(table), schema.keys[table], (link.column for link in schema.links_of(table))
    longest = 1 if owner is None else int(counts_of(places[owner]).max(initial=1))
    alone = owner is None or longest == 1
    own = tuple(str(column) for column in frame if column not in without)
    about = [item for item in every if item.column.name in own]
    order = None if alone else next((item.column.name for item in about if _orders(item, frame)), ROW)
    counters: tuple[tuple[str, int], ...] = ()
    if rules and owner is not None and order is not None:
        if order != ROW and _first_number(frame[order], places[owner]) is not None:
            order = ROW
        names = [item.column.name for item in about if item.column.name != order]
        counters = tuple(_counters(frame, owner, order, names, places[owner]))
    own = tuple(name for name in own if name not in dict(counters))
    about = [item for item in every if item.column.name in own]
    return Plan(
        columns=tuple(map(str, frame)),
        own=own,
        derived=derived,
        counters=counters,
        described=_of_kinds(about, "number", "time", "category", "boolean"),
        quantities=_of_kinds(about, "number"),
        categories=_of_kinds(about, "category", "boolean"),
        times=times_of(about),
        siblings=_siblings(schema, table),
        flags=tuple(link.child for link in schema.children(table) if not counts_of(places[link], len(frame)).all()),
        order=order,
        alone=alone,
        named=tuple(link.column for link in schema.references(table) if frame[link.column].isna().any()),
        roles=tuple(
            link.column
            for link in schema.references(table)
            if rules and link.column not in schema.parts and _has_roles(link, places[link])
        ),
        key=None if key is None or key in {*schema.parts, *links} else asdict(_identifier(key, frame[key])),
        rows=len(frame),
        longest=longest,
        free=0 if owner is None else int(frame[owner.column].isna().sum()),
        numbers=tuple(database.numbers.get(table, ())),
        truths=TRUTHS,
        names=bool(about) and not _of_kinds(about, *VARYING),
    )


def _has_roles(link: Link, places: Places) -> bool:
    """Whether a reference names few rows, and each often: not by what they are like alone."""
    counts = counts_of(places)
    counts = counts[counts > 0]
    return link.child != link.parent and 2 <= len(counts) < ROLES and counts.min() >= ROLES


def _first_number(column: pd.Series, places: Places) -> int | None:
    """The number from which a column counts the rows of each owner, in any order. ``None`` if it does not."""
    values, counts = numbers(column), counts_of(places)
    if np.isnan(values).any() or (values % 1).any() or counts.max(initial=0) < 2 or (places < 0).any():
        return None
    first = values.min()
    if (values == first).sum() != (counts > 0).sum() or values.max() - first + 1 != counts.max():
        return None
    rows = np.lexsort((values, places))
    place = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
    return int(first) if (values[rows] == first + place).all() else None


def _counters(
    frame: pd.DataFrame, owner: Link, order: str, names: Sequence[str], places: Places
) -> Iterator[tuple[str, int]]:
    """The columns that number the rows of each owner, in the order of a column, else in that of the first of them."""
    rows: pd.DataFrame | None = None
    for name in names:
        first = _first_number(frame[name], places)
        if first is None:
            continue
        rows = in_order(frame, name if order == ROW else order) if rows is None else rows
        if (numbers(rows[name]) == rows.groupby(owner.column, sort=False).cumcount() + first).all():
            yield name, first


def _of_kinds(about: Sequence[Inferred], *kinds: str) -> tuple[str, ...]:
    return tuple(item.column.name for item in about if item.kind in kinds)


def times_of(about: Sequence[Inferred]) -> dict[str, TimeFormat]:
    """How the columns of times are written."""
    return {item.column.name: TimeFormat.of(item.column) for item in about if isinstance(item.column, DateTime)}


def _siblings(schema: Schema, table: str) -> tuple[str, ...]:
    """The tables of a table's owner that come before it."""
    owner = schema.owner(table)
    if owner is None:
        return ()
    children = {link.child for link in schema.children(owner.parent)}
    return tuple(itertools.takewhile(lambda other: other != table, (t for t in schema.order if t in children)))


def _identifier(name: str, keys: pd.Series) -> Identifier:
    texts = keys.astype(str)
    signed = texts.str.startswith("-").any() and texts.str.fullmatch(r"-?\d{1,18}").all()
    coded = Coded(name, np.arange(len(keys), dtype=np.int32), keys, "int64" if signed else None)
    column = infer(coded, {"kind": "identifier"}).column
    assert isinstance(column, Identifier), "the hint asks for one"
    return column


def _some(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by which the kinds of columns are told: every second or third, and so on, of a long table."""
    return frame.iloc[:: max(len(frame) // INFERRED, 1)]


def _orders(item: Inferred, frame: pd.DataFrame) -> bool:
    """Whether a column orders the rows of a sequence: a time that every row has, or a number that is named like one."""
    if not isinstance(item.column, Graded) or item.missing:
        return False
    likely = isinstance(item.column, DateTime) or PLACES.search(item.column.name) is not None
    return likely and not gaps_in(frame[item.column.name]).any()


# --- rows and what they are given -------------------------------------------------------------------------------------


def flag(table: str) -> str:
    """The name of the column that says whether a row owns rows of a table."""
    return f"has {table}"


def is_true(column: pd.Series, plan: Plan) -> pd.Series:
    """Which rows a flag of a table is true for."""
    return column.astype(str).str.lower() == plan.truths[1]


def presence(link: Link) -> str:
    """The name of the column that says whether a link names a row."""
    return f"has {link.column}"


def role(link: Link) -> str:
    """The name of the column that says which of the rows that a link names is meant."""
    return f"which {link.column}"


def roles_of(places: Places) -> pd.Series:
    """The number of the row that each row names, from 1: that of the most frequent one. Empty where it names none."""
    counts = counts_of(places)
    number = np.empty(len(counts) + 1, dtype=np.int64)
    number[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    return pd.Series(number[places]).astype(str).mask(places < 0, "")


def reference_columns(link: Link, parent: Plan) -> dict[str, str]:
    """The columns that a reference adds to a row, and the parent's columns that they are."""
    return {f"{link.column}.{column}": column for column in parent.described}


def has_values(schema: Schema, plans: Mapping[str, Plan], table: str) -> bool:
    """Whether the rows of a table hold something to model: more than keys, links and derived values."""
    plan = plans[table]
    references = any(reference_columns(link, plans[link.parent]) for link in schema.references(table))
    return not plan.alone or bool(plan.own or plan.flags or plan.named or plan.roles or references)


def rows_of(frames: Frames, schema: Schema, plan: Mapping[str, Plan], table: str) -> pd.DataFrame:
    """The rows of a table as they are modelled: its own columns, flags, and the columns of references."""
    frame = frames[table]
    rows = frame[[*plan[table].own]].reset_index(drop=True)
    for link in schema.children(table):
        if link.child in plan[table].flags:
            owned = counts_of(places_of(frames, schema, link), len(frame))
            rows[flag(link.child)] = np.where(owned > 0, *plan[table].truths[::-1])
    return with_references(rows, frames, schema, plan, table)


def with_references(
    rows: pd.DataFrame, frames: Frames, schema: Schema, plan: Mapping[str, Plan], table: str
) -> pd.DataFrame:
    """Rows of a table with the columns of its references."""
    frame = frames[table]
    for link in schema.references(table):
        columns = reference_columns(link, plan[link.parent])
        parent_rows = rows_at(frames[link.parent][[*columns.values()]], places_of(frames, schema, link))
        rows = pd.concat([rows, parent_rows.set_axis([*columns], axis=1)], axis=1)
        if link.column in plan[table].roles:
            rows[role(link)] = roles_of(places_of(frames, schema, link)).astype("category")
        if link.column in plan[table].named:
            rows[presence(link)] = np.where(frame[link.column].isna(), *plan[table].truths)
    return rows


def context(frames: Frames, schema: Schema, plan: Mapping[str, Plan], table: str) -> pd.DataFrame:
    """The conditions of a table's children: a row for each of its rows, without keys.

    It holds the row's own columns and those of the rows above it, with the names of their tables.
    """
    frame = frames[table]
    rows = [frame[[*plan[table].described]].reset_index(drop=True).add_prefix(f"{table}.")]
    owner = schema.owner(table)
    if owner is not None:
        rows.append(rows_at(context(frames, schema, plan, owner.parent), places_of(frames, schema, owner)))
    return pd.concat(rows, axis=1)


def owners_of(frame: pd.DataFrame, link: Link) -> pd.Series:
    """The key of each row's owner. A row without one has an owner of its own, of which nothing is known."""
    keys = frame[link.column].reset_index(drop=True)
    free = np.flatnonzero(keys.isna())
    keys.iloc[free] = [free_key(link, i) for i in free.tolist()]
    return keys


def free_key(link: Link, number: int) -> str:
    """The key that stands for no owner."""
    return f"no {link.parent} {number}"


def in_order(rows: pd.DataFrame, order: str) -> pd.DataFrame:
    """Rows sorted by a column of numbers or times. Rows of one place keep the order of the file.

    Where it holds others too, as samples of any system may, these come last.
    """
    inverse, distinct = pd.factorize(rows[order])
    coded = Coded(order, inverse.astype(np.int32), pd.Series(distinct))
    try:
        places: npt.NDArray[Any] = order_of("rows", coded, {}).column.codes_of(coded.inverse, coded.distinct)
    except DataError:
        places = numbers(rows[order])
        places = TimeFormat().days(rows[order]) if np.isnan(places).all() else places
    return rows.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)


def owner_rows(frames: Frames, schema: Schema, link: Link) -> pd.DataFrame:
    """The row of the owner of each row of a child."""
    return rows_at(frames[link.parent], places_of(frames, schema, link))


def numbered(rows: pd.DataFrame, owners: pd.Series, counters: Sequence[tuple[str, int]], as_text: bool) -> pd.DataFrame:
    """Rows with the columns that number those of each owner."""
    place = rows.groupby(pd.factorize(owners)[0], sort=False).cumcount().to_numpy()
    columns = {name: place + first for name, first in counters}
    return rows.assign(**{name: pd.Series(n).astype(str).to_numpy() if as_text else n for name, n in columns.items()})


def with_place(rows: pd.DataFrame, owners: Sequence[str] | pd.Series) -> pd.DataFrame:
    """Rows with their place among those of one owner, from 0, in the column :data:`ROW`."""
    return rows.assign(**{ROW: rows.groupby(pd.factorize(pd.Series(owners))[0], sort=False).cumcount().to_numpy()})
