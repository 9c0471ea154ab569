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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fourfold.data import load
from fourfold.data.schema import Coded, Inferred, infer
from fourfold.data.sequences import order_of
from fourfold.spaces.columns import DateTime, Graded, Identifier
from fourfold_databases.database import Database
from fourfold_databases.reading import Frames, gaps_in
from fourfold_databases.schema import Link, Schema

__all__ = [
    "FEWEST",
    "NO",
    "ROW",
    "YES",
    "Plan",
    "context",
    "flag",
    "free_key",
    "in_order",
    "lags",
    "owners_of",
    "plans",
    "presence",
    "reference_columns",
    "rows_of",
    "with_place",
]

YES, NO = "yes", "no"
"""The values of a flag."""
ROW = "row"
"""The column that orders the rows of a sequence where no column of the table does."""
FEWEST = 20
"""The fewest rows of a table that can be modelled."""
INFERRED = 50_000
"""About so many rows tell the kinds of a table's columns."""
PLACES = re.compile(r"(year|month|week|day|hour|date|time|visit|wave|round|period)s?$", re.IGNORECASE)
"""Names of columns, beside those of times, whose numbers order rows."""


@dataclass(frozen=True)
class Plan:
    """How a table is modelled.

    Attributes:
        columns: of the table, in the order of the file.
        own: those that are neither keys nor links.
        described: those of its own columns that say what a row is like, for rows that are given it.
        quantities: those of them that are numbers.
        categories: those of them that are categories.
        times: those of them that are times.
        later: those of its times that are never before a time of its owner's row, with that time.
        siblings: the earlier tables of the same owner, of whose rows its rows are given a summary.
        flags: the tables of which some rows own no row.
        order: the column that orders the rows of a sequence. :data:`ROW` where none of its own does.
        alone: whether each row of the owner owns one row at most, so that there are no sequences.
        named: the links of references that some rows leave empty.
        key: how fresh keys look: the attributes of :class:`~fourfold.spaces.columns.Identifier`. ``None``: no key.
        rows: how many rows the data has.
        longest: the most rows that one row owns.
        free: how many rows name no owner.
        numbers: the keys and links that are numbers in the data.
    """

    columns: tuple[str, ...]
    own: tuple[str, ...]
    described: tuple[str, ...]
    quantities: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    later: tuple[tuple[str, str], ...] = ()
    siblings: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    order: str | None = None
    alone: bool = False
    named: tuple[str, ...] = ()
    key: Mapping[str, Any] | None = None
    rows: int = 0
    longest: int = 1
    free: int = 0
    numbers: tuple[str, ...] = ()

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`record` wrote."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
        }
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """The plan as a JSON value."""
        return asdict(self)

    def fresh_keys(self, n: int) -> pd.Series:
        """Keys that the data does not have."""
        assert self.key is not None, "the table has a key"
        return Identifier(**self.key).text(np.zeros(n, dtype=np.int64))


def plans(database: Database) -> dict[str, Plan]:
    """The plan of each table."""
    result: dict[str, Plan] = {}
    for table in database.schema.order:
        plan, owner = _plan(database, table), database.schema.owner(table)
        above = () if owner is None else result[owner.parent].times
        pairs = ((name, other) for name in plan.times for other in above)
        later = tuple(pair for pair in pairs if owner is not None and _never_before(database, owner, *pair))
        result[table] = replace(plan, later=later)
    return result


def _never_before(database: Database, link: Link, name: str, above: str) -> bool:
    after = lags(database.frames, database.schema, link, name, above)
    known = after[~np.isnat(after)]
    return len(known) >= FEWEST and bool((known >= np.timedelta64(0)).all())


def _plan(database: Database, table: str) -> Plan:
    frame, schema = database.frames[table], database.schema
    own = tuple(str(column) for column in frame if column not in schema.without(table))
    about = load(_some(frame[[*own]]), space="table").columns if own and len(frame) >= FEWEST else ()
    owner, key = schema.owner(table), schema.keys[table]
    counts = frame[owner.column].value_counts() if owner is not None else pd.Series([1])
    alone = owner is None or int(counts.max()) == 1
    return Plan(
        columns=tuple(map(str, frame)),
        own=own,
        described=_of_kinds(about, "number", "time", "category", "boolean"),
        quantities=_of_kinds(about, "number"),
        categories=_of_kinds(about, "category", "boolean"),
        times=_of_kinds(about, "time"),
        siblings=_siblings(schema, table),
        flags=tuple(link.child for link in schema.children(table) if not _all_own(database, link)),
        order=None if alone else next((item.column.name for item in about if _orders(item, frame)), ROW),
        alone=alone,
        named=tuple(link.column for link in schema.references(table) if frame[link.column].isna().any()),
        key=None if key is None else asdict(_identifier(key, frame[key])),
        rows=len(frame),
        longest=int(counts.max()),
        free=0 if owner is None else int(frame[owner.column].isna().sum()),
        numbers=tuple(database.numbers.get(table, ())),
    )


def _of_kinds(about: Sequence[Inferred], *kinds: str) -> tuple[str, ...]:
    return tuple(item.column.name for item in about if item.kind in kinds)


def _siblings(schema: Schema, table: str) -> tuple[str, ...]:
    """The tables of a table's owner that come before it."""
    owner = schema.owner(table)
    if owner is None:
        return ()
    children = {link.child for link in schema.children(owner.parent)}
    return tuple(itertools.takewhile(lambda other: other != table, (t for t in schema.order if t in children)))


def _identifier(name: str, keys: pd.Series) -> Identifier:
    column = infer(Coded(name, np.arange(len(keys), dtype=np.int32), keys), {"kind": "identifier"}).column
    assert isinstance(column, Identifier), "the hint asks for one"
    return column


def _all_own(database: Database, link: Link) -> bool:
    """Whether every row of a parent owns a row of a table."""
    key = database.schema.keys[link.parent]
    return bool(database.frames[link.parent][key].isin(database.frames[link.child][link.column]).all())


def _some(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by which the kinds of columns are told: every second or third, and so on, of a long table."""
    return frame.iloc[:: max(len(frame) // INFERRED, 1)]


def _orders(item: Inferred, frame: pd.DataFrame) -> bool:
    """Whether a column orders the rows of a sequence: a time that every row has, or a number that is named like one."""
    if not isinstance(item.column, Graded) or item.missing:
        return False
    named = isinstance(item.column, DateTime) or PLACES.search(item.column.name) is not None
    return named and not gaps_in(frame[item.column.name]).any()


# --- rows and what they are given -------------------------------------------------------------------------------------


def flag(table: str) -> str:
    """The name of the column that says whether a row owns rows of a table."""
    return f"has {table}"


def presence(link: Link) -> str:
    """The name of the column that says whether a link names a row."""
    return f"has {link.column}"


def reference_columns(link: Link, parent: Plan) -> dict[str, str]:
    """The columns that a reference adds to a row, and the parent's columns that they are."""
    return {f"{link.column}.{column}": column for column in parent.described}


def rows_of(frames: Frames, schema: Schema, plan: Mapping[str, Plan], table: str) -> pd.DataFrame:
    """The rows of a table as they are modelled: its own columns, flags, and the columns of references."""
    frame = frames[table]
    rows = frame[[*plan[table].own]].reset_index(drop=True)
    for link in schema.children(table):
        if link.child in plan[table].flags:
            owns = frame[schema.keys[table]].isin(frames[link.child][link.column])
            rows[flag(link.child)] = np.where(owns, YES, NO)
    for link in schema.references(table):
        parent_key = schema.keys[link.parent]
        columns = reference_columns(link, plan[link.parent])
        parents = frames[link.parent].set_index(parent_key)[[*columns.values()]]
        parent_rows = parents.reindex(frame[link.column]).reset_index(drop=True)
        rows = pd.concat([rows, parent_rows.set_axis([*columns], axis=1)], axis=1)
        if link.column in plan[table].named:
            rows[presence(link)] = np.where(frame[link.column].isna(), NO, YES)
    return rows


def context(frames: Frames, schema: Schema, plan: Mapping[str, Plan], table: str) -> pd.DataFrame:
    """The conditions of a table's children: a row for each of its rows, without keys.

    It holds the row's own columns and those of the rows above it, with the names of their tables.
    """
    frame = frames[table]
    rows = [frame[[*plan[table].described]].reset_index(drop=True).add_prefix(f"{table}.")]
    owner = schema.owner(table)
    if owner is not None:
        above = context(frames, schema, plan, owner.parent)
        above.index = pd.Index(frames[owner.parent][schema.keys[owner.parent]])
        rows.append(above.reindex(frame[owner.column]).reset_index(drop=True))
    return pd.concat(rows, axis=1)


def owners_of(frame: pd.DataFrame, link: Link) -> pd.Series:
    """The key of each row's owner. A row without one has an owner of its own, of which nothing is known."""
    keys = frame[link.column].reset_index(drop=True)
    free = keys.isna()
    return keys.mask(free, pd.Series([free_key(link, i) for i in range(len(keys))]).where(free))


def free_key(link: Link, number: int) -> str:
    """The key that stands for no owner."""
    return f"no {link.parent} {number}"


def in_order(rows: pd.DataFrame, order: str) -> pd.DataFrame:
    """Rows sorted by a column of numbers or times. Rows of one place keep the order of the file."""
    inverse, distinct = pd.factorize(rows[order])
    coded = Coded(order, inverse.astype(np.int32), pd.Series(distinct))
    codes = order_of("rows", coded, {}).column.codes_of(coded.inverse, coded.distinct)
    return rows.iloc[np.argsort(codes, kind="stable")].reset_index(drop=True)


def lags(frames: Frames, schema: Schema, link: Link, name: str, above: str) -> npt.NDArray[np.timedelta64]:
    """How long after a time of its owner's row a time of each row is. Missing where either is.

    Args:
        frames: the rows of child and owner.
        schema: of the database.
        link: from the child to its owner.
        name: the column of the child.
        above: that of the owner.
    """
    parents = frames[link.parent].set_index(schema.keys[link.parent])[above]
    own, other = frames[link.child][name], parents.reindex(frames[link.child][link.column])
    return _instants(own).to_numpy() - _instants(other).to_numpy()


def _instants(column: pd.Series) -> pd.Series:
    """The values of a column of times. Those that are no time are missing."""
    return pd.to_datetime(column, errors="coerce", format="mixed", utc=True).dt.tz_localize(None)


def with_place(rows: pd.DataFrame, owners: Sequence[str] | pd.Series) -> pd.DataFrame:
    """Rows with their place among those of one owner, from 0, in the column :data:`ROW`."""
    return rows.assign(**{ROW: rows.groupby(np.asarray(owners), sort=False).cumcount().to_numpy()})
