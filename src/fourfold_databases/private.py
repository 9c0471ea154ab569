"""Databases under a guarantee of privacy: the unit is a row that no other owns, with all rows below it.

    p(unit) = p(row) * product over the tables that it owns of p(their rows | row),    each factor a model of its own

So every row of a table belongs to one unit, and all models share one budget: an accountant composes what each of them
releases. The gradient of a unit is the sum of those of its sequences, before it is clipped. Of the rows of an owner the
first ``longest`` are used, a number that a noised histogram tells, so a unit has a known number of rows at the most. In
counts each row of a unit has the weight of one over their number.

Keys, links and names are public, and tables that the user declares public. Nothing else of a plan looks at the rows:
rules, orders and summaries are left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fourfold.core import Batch, Space
from fourfold.data import Dataset, Split, Units
from fourfold.data.dataset import digest
from fourfold.data.errors import DataError, option
from fourfold.data.private import LENGTHS, Counting, Masses, counted_columns, noised, public_columns
from fourfold.data.schema import Coded, Hint
from fourfold.engine import Run
from fourfold.maths.categorical import quantile
from fourfold.output.printable import shortened
from fourfold.privacy import Guarantee, Protection
from fourfold.privacy.accounting import Spending
from fourfold.spaces import Sequences, Table
from fourfold.spaces.columns import Column, Identifier, Modelled, Numeric
from fourfold.spaces.sequences import ABSENT
from fourfold_databases.database import Database
from fourfold_databases.plan import NO, ROW, YES, Plan, flag, times_of
from fourfold_databases.reading import Places, places_in
from fourfold_databases.schema import DECLARED, NAMED, Link, Schema

__all__ = ["Guard", "ProtectedTable", "Public", "protected_tables", "read_public", "root_of"]

GRID = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""The numbers of rows of one owner that are distinguished. Of a longer sequence the first rows are used."""
LONG = 0.02
"""The share of owners, by weight, that may have more rows than are used."""
SURE = 2.0
"""Standard deviations of the noise that a share must have beside."""
DRAWN = 5000
"""Sequences that are drawn from noised counts, so that codecs take their statistics from these."""
SECRET = 16
"""Bytes of the secret of a table."""


@final
@dataclass(frozen=True)
class Public:
    """The facts that the user declares public.

    Attributes:
        tables: those whose rows are public: they stay as they are.
        columns: of each table, as :func:`fourfold.data.private.read_public` reads them.
        longest: the most rows of one owner that are used, of some tables.
    """

    tables: tuple[str, ...] = ()
    columns: Mapping[str, Mapping[str, Hint]] = field(default_factory=dict)
    longest: Mapping[str, int] = field(default_factory=dict)


def read_public(public: Mapping[str, Any] | str | Path | None, schema: Schema) -> Public:
    """Read a file, or a mapping like it, that declares facts public: a section for each table, and for its columns.

    Raises:
        DataError: for a table that is not there, or an entry that is none.
    """
    where = "public" if public is None or isinstance(public, Mapping) else str(public)
    try:
        content = public if isinstance(public, Mapping) else tomllib.loads(Path(public).read_text()) if public else {}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{where}: must be a TOML file with a section [TABLE.COLUMN] for each column, {error}"
        ) from None
    tables, columns, longest = list[str](), dict[str, Mapping[str, Hint]](), dict[str, int]()
    for table, section in content.items():
        if table not in schema.keys or not isinstance(section, Mapping):
            raise DataError(f"{where}: a section must be that of a table, {shortened(schema.keys)}, got {table!r}")
        facts = {name: value for name, value in section.items() if not isinstance(value, Mapping)}
        wrong = next((name for name in facts if name not in ("public", "longest")), None)
        whole, most = facts.get("public", False), facts.get("longest", GRID[0])
        if wrong is not None or not isinstance(whole, bool) or not isinstance(most, int) or not 2 <= most <= GRID[-1]:
            raise DataError(
                f"{where}, [{table}]: must have 'public = true', 'longest' from 2 to {GRID[-1]}, or sections of "
                f"columns, got {wrong or facts!r}"
            )
        tables += [table] if whole else []
        longest |= {table: most} if "longest" in facts else {}
        hints = {name: value for name, value in section.items() if isinstance(value, Mapping)}
        columns[table] = public_columns(f"{where}, [{table}]", hints)
    return Public(tuple(tables), columns, longest)


# --- what can be promised ---------------------------------------------------------------------------------------------


def root_of(database: Database, public: Public) -> str:
    """The table whose rows, with all rows below them, are the units.

    Raises:
        DataError: for a database of which rows belong to no unit or to several, with the way out.
    """
    name, schema = database.name, database.schema
    way = "declare a table public that holds no persons (--public, 'public = true'), or leave it out of the database"
    reasons = {
        **{t: r for t, r in schema.reasons.items() if schema.keys[t]},
        **{str(k): k.reason for k in schema.links},
    }
    guessed = next((key for key, reason in reasons.items() if not reason.startswith((DECLARED, NAMED))), None)
    if guessed is not None:
        raise DataError(
            f"{name}: keys and links must be public with private, but that of {guessed} was read from the rows: name "
            f"them in a file for {option('schema')}"
        )
    if hidden := sorted({*schema.real} - {*public.tables}):
        raise DataError(f"{name}, table {hidden[0]}: a reference table must be public with private; {way}")
    inner = schema.without_tables(public.tables)
    for link in schema.links:
        if link.child in public.tables and link.parent not in public.tables:
            raise DataError(f"{name}: {link.child} must not be public, since its rows name those of {link.parent}")
    for link in inner.links:
        if link.child == link.parent:
            raise DataError(
                f"{name}: private must be left out for {link}, whose rows belong to each other, so that no row is "
                f"one unit: leave the column out with {option('schema')}"
            )
        if link != inner.owner(link.child):
            raise DataError(
                f"{name}: a row of {link.child} must belong to one unit with private, but it names rows of "
                f"{inner.links_of(link.child)[0].parent} and of {link.parent}: {way}"
            )
    roots = [table for table in inner.keys if inner.owner(table) is None]
    if len(roots) != 1:
        raise DataError(
            f"{name}: must have one table that no other owns, whose rows are the units of private, got "
            f"{shortened(roots) or 'none'}: {way}"
        )
    return roots[0]


@final
@dataclass(frozen=True)
class Guard:
    """How a database is protected: the guarantee, what is public, the secret, and the tables as they are modelled.

    Attributes:
        guarantee: for the units.
        public: the facts that the user declares so.
        root: the table of the units.
        units: how many there are.
        secret: draws batches and noise.
        tables: as they are modelled, once they are read.
    """

    guarantee: Guarantee
    public: Public
    root: str
    units: int
    secret: bytes
    tables: Mapping[str, ProtectedTable] = field(default_factory=dict)

    @classmethod
    def of(cls, database: Database, guarantee: Guarantee, public: Public, secret: bytes) -> Guard:
        """That of a database.

        Raises:
            DataError: if it cannot be protected, with the way out.
        """
        root = root_of(database, public)
        return cls(guarantee, public, root, len(database.frames[root]), secret)

    def reading(self, database: Database, modelled: Database) -> Guard:
        """The same with the tables as they are modelled.

        Args:
            database: all tables.
            modelled: those that are not public. The keys of the others are categories, and all of them public.
        """
        hints: dict[str, dict[str, Hint]] = {}
        for link in database.schema.links:
            if link.parent in self.public.tables and link.child in modelled.frames:
                keys = database.frames[link.parent][database.schema.keys[link.parent]]
                hint = {"kind": "category", "categories": [*map(str, keys)]}
                hints.setdefault(link.child, {})[link.column] = hint
        tables = protected_tables(modelled, self.root, self.public, hints, self.guarantee, self.secret)
        return dataclasses.replace(self, tables=tables)

    @property
    def plans(self) -> dict[str, Plan]:
        """The plan of each table."""
        return {table: part.plan for table, part in self.tables.items()}

    @property
    def shares(self) -> dict[str, float]:
        """The share of a budget in seconds of each table that has a model: by the values of a unit at the most."""
        parts = {table: part for table, part in self.tables.items() if part.data is not None}
        values = {table: math.sqrt(part.most) * (len(part.plan.own) + 1) for table, part in parts.items()}
        return {table: value / sum(values.values()) for table, value in values.items()}

    def data(self, table: str, runs: Mapping[str, Run]) -> Dataset:
        """The data of the model of a table, with the spending of earlier tables and the reserves of later ones."""
        data, units = self._data_and_units(table)
        others = [
            _spent(runs[other]) if other in runs else self._reserve(other) for other in self.shares if other != table
        ]
        protection = dataclasses.replace(units.protection, beside=tuple(others))
        return dataclasses.replace(data, units=dataclasses.replace(units, protection=protection))

    def _data_and_units(self, table: str) -> tuple[Dataset, Units]:
        data = self.tables[table].data
        assert data is not None, "the table has a model"
        assert data.units is not None, "it is protected"
        return data, data.units

    def _reserve(self, table: str) -> Spending:
        """The reserve for the gradients of a table."""
        return self._data_and_units(table)[1].protection.reserve(self.units)

    def record(self, runs: Mapping[str, Run]) -> dict[str, Any]:
        """The guarantee of the whole, as the card of a run has it, with what each table released."""
        cards = {table: run.card["privacy"] for table, run in runs.items()}
        whole = self.guarantee.for_rows(self.units)
        inner = Protection(self.guarantee)
        counts, delta = inner.all_counts(self.units), inner.of_gradients(self.units).delta or 0.0
        spent = Spending(counts, beside=tuple(map(_spent, runs.values()))).epsilon(delta)
        declared = [f"column {table}.{name}" for table, names in self.public.columns.items() for name in names]
        declared += [f"number of rows of {table} of an owner" for table in self.public.longest]
        return {
            "epsilon": whole.epsilon,
            "delta": whole.delta,
            "spent": min(math.ceil(1e4 * spent) / 1e4, whole.epsilon),
            "unit": next(iter(cards.values()))["unit"],
            "public": [*self._data_and_units(next(iter(cards)))[1].protection.facts, *declared],
            "noise of counts": counts,
            "tables": {
                table: {name: card[name] for name in ("noise", "rate", "steps", "norm")}
                for table, card in cards.items()
            },
        }


def _spent(run: Run) -> Spending:
    """The spending of the planned steps of a table."""
    card = run.card["privacy"]
    return Spending(rate=card["rate"], multiplier=card["noise"], steps=card["steps"])


# --- tables -----------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Columns:
    """Columns that are modelled: themselves, their codes ``(N, C)`` in each row, and their masses."""

    columns: tuple[Modelled, ...] = ()
    codes: Places = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))
    masses: tuple[Masses, ...] = ()

    def among(self, rows: Places) -> _Columns:
        """The same of some rows."""
        return dataclasses.replace(self, codes=self.codes[rows])

    def draw(self, rows: int, protection: Protection, name: str) -> Places:
        """Codes ``(rows, C)`` by the masses, each column by itself."""
        streams = (protection.stream(name, column.name) for column in self.columns)
        columns = [masses.draw(rows, stream) for masses, stream in zip(self.masses, streams, strict=True)]
        return np.stack(columns, 1) if columns else np.empty((rows, 0), dtype=np.int64)


@final
@dataclass(frozen=True)
class ProtectedTable:
    """A table as it is modelled under a guarantee.

    Attributes:
        plan: tells no more of the rows than noised counts do.
        data: what its model learns. ``None``: the rows hold keys alone.
        rows: those that are used.
        unit: of each of them.
        given: the conditions of the rows that they own.
        most: the most rows of a unit.
    """

    plan: Plan
    data: Dataset | None
    rows: pd.DataFrame
    unit: Places
    given: _Columns
    most: int = 1


def protected_tables(
    database: Database,
    root: str,
    public: Public,
    hints: Mapping[str, Mapping[str, Hint]],
    guarantee: Guarantee,
    secret: bytes,
) -> dict[str, ProtectedTable]:
    """The tables of a database as they are modelled under a guarantee.

    Args:
        database: without the public tables.
        root: the table of the units.
        public: the facts that the user declares so.
        hints: further public facts of columns, such as the keys of a public table.
        guarantee: for the units.
        secret: draws batches and noise.
    """
    schema = database.schema
    counts = {table: len(_own(database, table)) + len(schema.children(table)) + 1 for table in schema.keys}
    facts = ("names of tables and columns", "keys and links", f"number of rows of {root}")
    result: dict[str, ProtectedTable] = {}
    for table in schema.order:
        flags = {flag(link.child): {"kind": "category", "categories": [NO, YES]} for link in schema.children(table)}
        protection = Protection(
            guarantee,
            {**flags, **hints.get(table, {}), **public.columns.get(table, {})},
            hashlib.sha256(secret + table.encode()).digest()[:SECRET],
            unit=f"one row of {root} with all rows that belong to it",
            facts=(*facts, *(f"table {name}" for name in public.tables)),
            share=counts[table] / sum(counts.values()),
        )
        owner = schema.owner(table)
        above = None if owner is None else result[owner.parent]
        result[table] = _protected(database, table, protection, len(database.frames[root]), above, public)
    return result


def _protected(
    database: Database, table: str, protection: Protection, units: int, above: ProtectedTable | None, public: Public
) -> ProtectedTable:
    """One table, after that of its owner."""
    schema, rows = database.schema, database.frames[table].reset_index(drop=True)
    link, lengths, most, spent = schema.owner(table), np.zeros(0), 1, 0.0
    unit: Places = np.arange(len(rows))
    place, owner = unit, unit
    total, longest, weights = units, 1, np.ones(len(rows))
    if link is not None and above is not None:
        keys = above.rows[schema.keys[link.parent]]
        owner = places_in(keys, rows[link.column])
        rows, owner = rows[owner >= 0].reset_index(drop=True), owner[owner >= 0]  # the others belong to no unit
        total, longest, lengths = _lengths(protection, units, owner, above.unit, public.longest.get(table))
        place = np.asarray(pd.Series(owner).groupby(owner).cumcount(), dtype=np.int64)
        inside = place < longest
        rows, owner, place = rows[inside].reset_index(drop=True), owner[inside], place[inside]
        unit, most, spent = above.unit[owner], above.most * longest, LENGTHS**-2
        weights = 1.0 / np.bincount(unit, minlength=units)[unit]
    own = _own(database, table)
    flags = {
        flag(c.child): _owns(rows, schema.keys[table], database.frames[c.child][c.column])
        for c in schema.children(table)
    }
    coded = [_coded(name, column) for name, column in {**{n: rows[n] for n in own}, **flags}.items()]
    counting = Counting(protection, units, total, weights, most, spent)
    inferred, codes, masses = (
        counted_columns(f"{database.name}, table {table}", coded, counting)
        if coded
        else ((), np.empty((len(rows), 0), dtype=np.int64), {})
    )
    modelled = tuple(
        item.column for item in inferred if item.column.name in masses and isinstance(item.column, Modelled)
    )
    whole = _Columns(modelled, codes, tuple(masses.values()))
    kinds = {
        kind: tuple(i.column.name for i in inferred if i.kind == kind and i.column.name in own) for kind in DESCRIBED
    }
    key = schema.keys[table]
    plan = Plan(
        columns=tuple(map(str, rows)),
        own=own,
        described=tuple(name for name in own if any(name in names for names in kinds.values()) and name in masses),
        quantities=kinds["number"],
        categories=kinds["category"],
        times=times_of([item for item in inferred if item.column.name in own]),
        flags=tuple(c.child for c in schema.children(table)),
        order=None if link is None else ROW,
        alone=link is None,
        key=None
        if key is None or key in {*schema.parts, *(c.column for c in schema.links_of(table))}
        else asdict(Identifier(key)),
        rows=units if link is None else 0,
        longest=longest,
        numbers=tuple(database.numbers.get(table, ())),
    )
    given = _given(
        table,
        plan,
        whole,
        _Columns(codes=np.empty((len(rows), 0), dtype=np.int64)) if above is None else above.given.among(owner),
    )
    schema_columns = tuple(item.column for item in inferred if item.kind != "drop")
    if link is None:
        data = _of_rows(database, table, schema_columns, whole, protection, units) if modelled else None
    else:
        assert above is not None
        data = _of_sequences(
            database,
            link,
            schema_columns,
            whole,
            protection,
            units,
            (owner, place, unit),
            above.given,
            longest,
            lengths,
        )
    return ProtectedTable(plan, data, rows, unit, given, most)


DESCRIBED = ("number", "time", "category")
"""The kinds of columns that say what a row is like."""


def _own(database: Database, table: str) -> tuple[str, ...]:
    """The columns of a table that are neither keys nor links."""
    without = database.schema.without(table)
    return tuple(str(name) for name in database.frames[table] if name not in without)


def _owns(rows: pd.DataFrame, key: str | None, links: pd.Series) -> pd.Series:
    """Whether rows own some of another table."""
    return pd.Series(np.where(places_in(links, rows[key]) >= 0, YES, NO))


def _coded(name: str, column: pd.Series) -> Coded:
    """A column as values and their numbers."""
    plain = column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column
    inverse, distinct = pd.factorize(plain)
    typed = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
    return Coded(name, inverse.astype(np.int32), pd.Series(distinct), str(column.dtype) if typed else None)


def _lengths(
    protection: Protection, units: int, owner: Places, unit: Places, declared: int | None
) -> tuple[int, int, npt.NDArray[np.float64]]:
    """How many units have rows, with noise, the most rows of an owner that are used, and the shares of the grid.

    Args:
        protection: of the table.
        units: how many there are.
        owner: of each row.
        unit: of each owner.
        declared: the most rows, if they are public.
    """
    owners, rows = np.unique(owner, return_counts=True)
    weights = 1.0 / np.bincount(unit[owners], minlength=units)[unit[owners]]
    cells = np.bincount(np.searchsorted(GRID[:-1], rows), weights=weights, minlength=len(GRID))
    counts, deviation = noised(protection, units, "lengths", cells.astype(np.float64))
    total = max(float(counts.sum()), 1.0)
    beyond = total - counts.cumsum()
    sure = SURE * deviation * np.sqrt(np.arange(len(GRID))[::-1])
    first = int(np.argmax(beyond <= np.maximum(LONG * total, sure)))
    longest = GRID[first] if declared is None else declared
    shares = np.where(np.array(GRID) <= max(longest, GRID[0]), np.maximum(counts, 0), 0)
    shares = shares if shares.sum() > 0 else np.eye(len(GRID))[0]
    return round(total), longest, shares / shares.sum()


def _given(table: str, plan: Plan, own: _Columns, above: _Columns) -> _Columns:
    """The conditions of the rows that a table owns: what its rows are like, and the rows above."""
    places = [i for i, column in enumerate(own.columns) if column.name in plan.described]
    return _Columns(
        (*(dataclasses.replace(own.columns[i], name=f"{table}.{own.columns[i].name}") for i in places), *above.columns),
        np.concatenate([own.codes[:, places], above.codes], 1),
        (*(own.masses[i] for i in places), *above.masses),
    )


def _of_rows(
    database: Database, table: str, columns: Sequence[Column], own: _Columns, protection: Protection, units: int
) -> Dataset:
    """The rows of the units' table, each an example."""
    x = torch.from_numpy(own.codes)
    samples = torch.from_numpy(own.draw(units, protection, "rows"))
    space = Table(tuple(columns), observed=units)
    return _dataset(
        f"{database.name}, {table}", space, Split(x), Batch(samples), Units(protection, np.arange(units), units)
    )


def _of_sequences(
    database: Database,
    link: Link,
    columns: Sequence[Column],
    own: _Columns,
    protection: Protection,
    units: int,
    at: tuple[Places, Places, Places],
    above: _Columns,
    longest: int,
    lengths: npt.NDArray[np.float64],
) -> Dataset:
    """The rows of each owner as a sequence, given the owner's row.

    Args:
        database: of the table.
        link: to the owner.
        columns: of the rows.
        own: those that are modelled.
        protection: of the units.
        units: how many there are.
        at: of each row the place of its owner, its own place among the owner's rows, and its unit.
        above: the conditions, of each owner.
        longest: the most rows of a sequence.
        lengths: the shares of the numbers of :data:`GRID` up to it.
    """
    place = Numeric(ROW, "int64", low=0, high=longest - 1)
    space: Space = Sequences(
        (Identifier(link.column), place, *columns), ROW, (1, 1), longest, link.column, observed=units
    )
    owner, inside, unit = at
    owners, first = np.unique(owner, return_index=True)
    x = _sequences(np.searchsorted(owners, owner), inside, own.codes, len(owners), longest)
    stream = protection.stream("lengths of rows")
    cells = quantile(torch.from_numpy(lengths.cumsum()), torch.from_numpy(stream.random(DRAWN))).numpy()
    least = np.append(1, np.array(GRID[:-1]) + 1)[cells]
    counts = np.minimum(least + np.floor(stream.random(DRAWN) * (np.array(GRID)[cells] - least + 1)), longest).astype(
        np.int64
    )
    drawn_owner = np.repeat(np.arange(DRAWN), counts)
    drawn_place = np.arange(len(drawn_owner)) - np.repeat(counts.cumsum() - counts, counts)
    samples = _sequences(drawn_owner, drawn_place, own.draw(len(drawn_owner), protection, "rows"), DRAWN, longest)
    cond = drawn_cond = None
    if above.columns:
        space = space.conditioned_on(Table(above.columns, observed=units))
        cond = torch.from_numpy(above.codes[owners])
        drawn_cond = torch.from_numpy(above.draw(DRAWN, protection, "conditions"))
    name = f"{database.name}, {link.child}"
    return _dataset(name, space, Split(x, cond), Batch(samples, drawn_cond), Units(protection, unit[first], units))


def _sequences(owner: Places, place: Places, codes: Places, count: int, length: int) -> torch.Tensor:
    """Codes of rows as sequences ``(count, length, 1 + C)``: before those of a row stands the step to its place."""
    x = np.full((count, length, 1 + codes.shape[1]), ABSENT, dtype=np.int64)
    x[owner, place] = np.concatenate([(place > 0)[:, None], codes], 1)
    return torch.from_numpy(x)


def _dataset(name: str, space: Space, train: Split, statistics: Batch, units: Units) -> Dataset:
    """A data set of which all units are training units."""
    nothing = Split(train.x[:0], None if train.cond is None else train.cond[:0])
    return Dataset(
        name,
        space,
        train,
        nothing,
        nothing,
        units.protection.digest(digest(train.x)),
        name,
        given=space.given,
        statistics=statistics,
        units=units,
    )
