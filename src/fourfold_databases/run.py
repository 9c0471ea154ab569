"""A trained model of a database: one run for each table. It samples whole databases and scores units."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from fourfold.core import LogProb, construct
from fourfold.data import read_all
from fourfold.data.errors import DataError, option
from fourfold.data.pairing import ConditionNote
from fourfold.engine import BrokenRun, Run
from fourfold.output.printable import plural, shortened
from fourfold.spaces import Sequences
from fourfold.spaces.columns import UNREADABLE, Categorical, Modelled
from fourfold.spaces.written import WrittenRows
from fourfold.tasks.imputing import PATIENCE, impute
from fourfold_databases.database import Database
from fourfold_databases.derived import counts_of, filled, places_of
from fourfold_databases.integrity import joined_keys, sound_rows, without_rows
from fourfold_databases.matching import matches, role_places
from fourfold_databases.plan import (
    COIN,
    ROW,
    Plan,
    context,
    flag,
    free_key,
    has_values,
    in_order,
    is_true,
    numbered,
    owner_rows,
    owners_of,
    presence,
    reference_columns,
    role,
    rows_of,
    with_place,
    with_references,
)
from fourfold_databases.reading import Frames, gaps_in, keys_in, places_in, rows_at, with_numbers
from fourfold_databases.schema import Link, Schema
from fourfold_databases.summaries import summary

__all__ = ["RECORD", "DatabaseRun", "check_scale", "given_rows", "table_folder", "training_rows"]

RECORD = "database.json"
"""The file of a run folder that makes it the run of a database."""
TRIES = 20
"""How often the rows of an owner are drawn until they keep their bounds, and no key is there twice."""
STRIDE = 1_000_003
"""Seeds of repeated draws lie so far apart."""
CODES = 1 << 24
"""Codes of sequences that are drawn at once."""


@final
@dataclass(frozen=True)
class DatabaseRun:
    """Models of the tables of a database.

    Attributes:
        schema: of the database.
        plans: how each table is modelled.
        runs: of each table whose rows hold more than keys and derived values.
        fixed: the rows of tables that are too short to be modelled, and stay as they are.
        as_text: whether values are texts, as the file has them.
        folder: the run folder, or ``None``.
        training: what it was trained with, so that a training goes on: paradigm, data, skip_bad, settings.
        privacy: the guarantee of the whole, as the card of a run has it. Empty without one.
        types: of the columns of each table, as the file that it was trained on declares them.
    """

    schema: Schema
    plans: Mapping[str, Plan]
    runs: Mapping[str, Run]
    fixed: Frames = field(default_factory=dict)
    as_text: bool = True
    folder: Path | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> DatabaseRun:
        """Load the run folder of a database. The data is not needed.

        Raises:
            BrokenRun: naming the file that is missing or damaged.
        """
        run = cls.begun(Path(folder))
        tables = [table for table in run.plans if has_values(run._linked, run.plans, table)]
        return replace(run, runs={table: Run.load(table_folder(Path(folder), table), device) for table in tables})

    @classmethod
    def begun(cls, folder: Path) -> DatabaseRun:
        """The run folder of a database whose tables need not be trained yet, without their models.

        Raises:
            BrokenRun: naming the file that is missing or damaged.
        """
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            schema = Schema.of_toml(str(folder / RECORD), record["schema"])
            plans = {table: Plan.of_record(plan) for table, plan in record["plans"].items()}
            fixed = {table: pd.DataFrame(rows, dtype=object).infer_objects() for table, rows in record["fixed"].items()}
            rest = record.get("privacy", {}), record.get("types", {})
            return cls(schema, plans, {}, fixed, record["as_text"], folder, record["training"], *rest)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise BrokenRun(f"{folder / RECORD}: cannot be read ({error}); copy the whole run folder") from None

    def save_record(self, folder: Path) -> None:
        """Write the file beside the folders of the tables' runs."""
        fixed = {table: frame.astype(object).where(frame.notna(), None) for table, frame in self.fixed.items()}
        record = {
            "schema": self.schema.toml,
            "plans": {table: plan.record() for table, plan in self.plans.items()},
            "fixed": {table: frame.to_dict(orient="list") for table, frame in fixed.items()},
            "as_text": self.as_text,
            "training": dict(self.training),
            "types": {table: dict(types) for table, types in self.types.items()},
            **({"privacy": dict(self.privacy)} if self.privacy else {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")

    # --- samples ------------------------------------------------------------------------------------------------------

    def sample(
        self,
        scale: float = 1.0,
        seed: int = 0,
        given: Frames | None = None,
        *,
        skip_bad: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> dict[str, pd.DataFrame]:
        """Draw a database: every key differs, every link leads to a row, and rules between tables hold.

        Args:
            scale: rows of the tables that no other owns, as a multiple of those of the data.
            seed: of the samples.
            given: rows of tables that are taken as they are, such as customers whose orders are drawn. Whether a row
                owns rows of a table is drawn given its columns, if the table stands alone. Else every row owns some.
            skip_bad: leave out given rows that break a key or hold a value of another kind, and given tables without
                rows.
            say: a function that is called with each note on what is left out.

        Raises:
            ValueError: for a scale that is not positive.
            DataError: for given rows whose key is missing or not unique, whose links lead to no row, or that hold a
                value of another kind than their column, and for a given table without rows.
        """
        check_scale(scale)
        say = say or (lambda note: None)
        given = {} if given is None else self._with_rows(given, skip_bad)
        frames: dict[str, pd.DataFrame] = {table: frame.copy() for table, frame in self.fixed.items()}
        described: dict[str, pd.DataFrame] = {}
        summaries: dict[str, pd.DataFrame] = {}
        for number, table in enumerate(self._order):
            if table in given:
                frames[table], notes = self._checked(table, given[table], frames, skip_bad)
                for note in notes:
                    say(note)
                described[table] = self._flags(table, frames, seed + number)
                continue
            rows = self._table_rows(table, frames, described, summaries, scale, seed + number)
            rows = self._linked_rows(table, rows, frames, np.random.default_rng((seed, number)))
            described[table] = rows
            frames[table] = rows[[name for name in self.plans[table].columns if name in rows]]
        derived = {table: self.plans[table].derived for table in self._order if table not in given}
        frames = filled(frames, self._linked, derived, self.as_text)
        return {table: self._typed(table, frames[table], frames) for table in self.schema.keys}

    def _typed(self, table: str, frame: pd.DataFrame, frames: Frames) -> pd.DataFrame:
        """A table as the data has it: its columns in their order, and keys and links with their types."""
        names = self.plans[table].numbers if table in self.plans else ()
        for link in self.schema.links_of(table):
            if link.parent in self.fixed and link.column in self.schema.parts:
                frame = self._with_parts(link, frame, frames)
        order = [name for name in (self.plans[table].columns if table in self.plans else ()) if name in frame]
        frame = frame[[*order, *(name for name in frame if name not in order)]]
        frame = frame.drop(columns=[*self.schema.joint(table)])
        return with_numbers(frame, names)

    @property
    def _order(self) -> tuple[str, ...]:
        return tuple(table for table in self.schema.order if table in self.plans)

    @property
    def _linked(self) -> Schema:
        """The schema among the tables that are modelled."""
        return self.schema.unlinked(self.fixed)

    def _table_rows(
        self,
        table: str,
        frames: Frames,
        described: Frames,
        summaries: dict[str, pd.DataFrame],
        scale: float,
        seed: int,
    ) -> pd.DataFrame:
        """Rows of a table with all columns that are modelled, and the link to their owner."""
        owner, plan = self._linked.owner(table), self.plans[table]
        if owner is None:
            return self._alone(table, max(round(scale * plan.rows), 1), seed)
        parents = frames[owner.parent]
        flags = described.get(owner.parent, pd.DataFrame())
        owns = pd.Series(True, index=parents.index)
        if flag(table) in flags:
            owns = is_true(flags[flag(table)], self.plans[owner.parent])
        keys = parents[self.schema.keys[owner.parent]][owns.to_numpy()].astype(str)
        conditions = conditions_of(frames, self._linked, self.plans, owner, summaries)[owns.to_numpy()]
        free = [free_key(owner, i) for i in range(round(scale * plan.free))]
        keys = pd.concat([keys, pd.Series(free, dtype=object)], ignore_index=True)
        conditions = conditions.reset_index(drop=True).reindex(range(len(keys)))
        rows = self._owned(table, owner, keys, conditions, seed)
        for attempt in range(1, TRIES):
            wrong = pd.Series(places_in(rows[owner.column][self._wrong(owner, rows, frames)], keys) >= 0)
            if not wrong.any():
                break
            again = self._owned(table, owner, keys[wrong], conditions[wrong], seed + attempt * STRIDE)
            rows = pd.concat([rows[places_in(keys[wrong], rows[owner.column]) < 0], again], ignore_index=True)
        for bound in plan.bounds:
            rows = bound.clamped(rows, self._owners(owner, rows, frames), self.as_text)
        rows = numbered(rows, rows[owner.column], plan.counters, self.as_text)
        rows = rows.iloc[np.argsort(places_in(keys, rows[owner.column]), kind="stable")]
        rows = rows.reset_index(drop=True)
        rows[owner.column] = rows[owner.column].mask(rows[owner.column].isin(free), None)
        return rows

    def _owned(self, table: str, owner: Link, keys: pd.Series, conditions: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Rows of a table with the link to their owner, given the owner's conditions."""
        rows = self._framed(table, len(keys), keys.reset_index(drop=True), conditions.reset_index(drop=True), seed)
        return rows.assign(**{owner.column: keys.to_numpy()}) if self.plans[table].alone else rows

    def _alone(self, table: str, n: int, seed: int) -> pd.DataFrame:
        """Rows of a table without an owner. Those whose key is there already are drawn again."""
        rows, own = self._framed(table, n, None, None, seed), self._own_key(table)
        for attempt in range(1, TRIES if own else 1):
            twice = rows.duplicated(own)
            if not twice.any():
                break
            again = self._framed(table, int(twice.sum()), None, None, seed + attempt * STRIDE)
            rows = pd.concat([rows[~twice], again], ignore_index=True)
        return rows

    def _own_key(self, table: str) -> list[str]:
        """The columns of a joint key, if the rows that a model draws have them all: own ones, or the owner's."""
        owner = self._linked.owner(table)
        above = () if owner is None else self._linked.columns_of(owner.column)
        columns = [name for name in self._linked.key_columns(table) if name not in above]
        inside = self.schema.keys[table] in self.schema.parts and {*columns} <= {*self.plans[table].own}
        return columns if inside else []

    def _owners(self, owner: Link, rows: pd.DataFrame, frames: Frames) -> pd.DataFrame:
        return owner_rows({**frames, owner.child: rows}, self._linked, owner)

    def _wrong(self, owner: Link, rows: pd.DataFrame, frames: Frames) -> npt.NDArray[np.bool_]:
        """The rows beyond a bound of their owner's, or with the key of an earlier row."""
        table, wrong = owner.child, np.zeros(len(rows), dtype=np.bool_)
        if self.plans[table].bounds:
            above = self._owners(owner, rows, frames)
            for bound in self.plans[table].bounds:
                wrong |= bound.excess(rows, above) > 0
        own = self._own_key(table)
        return wrong | rows.duplicated([owner.column, *own]).to_numpy() if own else wrong

    def _texts(self, table: str, n: int, seed: int) -> pd.DataFrame:
        """Rows of a table without a model: of its texts and names, if it has some."""
        if self.plans[table].texts is None:
            return pd.DataFrame(index=range(n))
        space = construct(self.plans[table].texts)
        coins = torch.randint(2, (n, 1), generator=torch.Generator().manual_seed(seed))
        return (space.text(coins) if self.as_text else space.table(coins)).drop(columns=COIN)

    def _framed(
        self, table: str, n: int, keys: pd.Series | None, conditions: pd.DataFrame | None, seed: int
    ) -> pd.DataFrame:
        """Samples of a table's model as a frame, one example for each row of what is given."""
        if table not in self.runs:
            return self._texts(table, n, seed)
        model = self.runs[table].model
        assert isinstance(model.space, WrittenRows), "tables and sequences are written as text"
        space, step = model.space, max(CODES // int(np.prod(model.space.shape)), 1)
        parts = []
        for start in range(0, n, step):
            stop = min(start + step, n)
            cond = None
            if conditions is not None and space.given is not None:
                cond = read_all(conditions[start:stop].reset_index(drop=True), space.given)[0].x
            x = model.sample(stop - start, cond, seed, None, start).cpu()
            texts: WrittenRows = space
            if isinstance(space, Sequences):
                assert keys is not None, "sequences have owners"
                texts = space.with_keys(keys[start:stop].astype(str).tolist())
            above = None
            if conditions is not None:
                names = [name for name in map(str, conditions) if name.partition(".")[0] in self.schema.keys]
                above = conditions[names][start:stop].reset_index(drop=True)
            parts.append(texts.text(x, above) if self.as_text else texts.table(x, above))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*self.plans[table].columns])

    def _linked_rows(
        self, table: str, rows: pd.DataFrame, frames: Frames, generator: np.random.Generator
    ) -> pd.DataFrame:
        """Rows with fresh keys and with all links."""
        key, schema = self.schema.keys[table], self._linked
        shared = False
        for link in self.schema.links_of(table):
            if link.parent in self.fixed and link.column in rows:
                rows = rows.assign(**{link.column: self._fixed_keys(link, rows[link.column], generator)})
            elif link.parent in self.fixed and link.column == key:  # each names a row of its own
                shared, there = True, self.fixed[link.parent][self.schema.keys[link.parent]].astype(str)
                rows = rows[: len(there)].assign(**{link.column: generator.permutation(there)[: len(rows)]})
        if self.plans[table].key is not None and not shared:
            rows = rows.assign(**{str(key): self.plans[table].fresh_keys(len(rows)).to_numpy()})
        for link in schema.links_of(table):
            if link != schema.owner(table):
                rows[link.column] = self._link_keys(link, rows, frames, generator)
                if link.column in schema.parts and link.column not in self.plans[table].named:
                    rows = rows[rows[link.column].notna()].reset_index(drop=True)
            rows = self._with_parts(link, rows, frames) if link.column in schema.parts else rows
        if key in schema.parts or key in {link.column for link in schema.references(table)}:
            rows = self._with_joint_key(table, rows, frames, generator)
        return rows.reset_index(drop=True)

    def _fixed_keys(self, link: Link, column: pd.Series, generator: np.random.Generator) -> pd.Series:
        """Keys of a table that stays as it is. Those that few rows name are one category, and one of them is drawn.

        Each has its share of the rows, with a row more for each, so that no draw says that a row names its key. Where
        rows may not be counted, all are equally likely.
        """
        keys = self.fixed[link.parent][self.schema.keys[link.parent]].astype(str)
        pooled = column.notna() & ~column.astype(object).astype(str).isin(keys)
        listed = [c.categories for c in self._columns(link.child) if c.name == link.column]
        few = keys[~keys.isin(listed[0])] if listed and not keys.isin(listed[0]).all() else keys
        counts = [1 + self.plans[link.child].counts.get(link.column, {}).get(name, 0) for name in few]
        drawn = generator.choice(few.repeat(counts), len(column))
        return column.astype(object).mask(pooled, pd.Series(drawn, index=column.index))

    def _columns(self, table: str) -> list[Categorical]:
        """The categories that the model of a table has."""
        modelled = getattr(self.runs[table].model.space, "modelled", ()) if table in self.runs else ()
        return [column for column in modelled if isinstance(column, Categorical)]

    def _with_parts(self, link: Link, rows: pd.DataFrame, frames: Frames) -> pd.DataFrame:
        """Rows with the columns of a link of several, from the rows that they name."""
        key, names = self.schema.keys[link.parent], self.schema.key_columns(link.parent)
        parents = (rows if link.parent == link.child else frames[link.parent]).set_index(key)[[*names]]
        values = parents.reindex(rows[link.column])
        columns = self.schema.columns_of(link.column)
        return rows.assign(**{own: values[name].to_numpy() for own, name in zip(columns, names, strict=True)})

    def _with_joint_key(
        self, table: str, rows: pd.DataFrame, frames: Frames, generator: np.random.Generator
    ) -> pd.DataFrame:
        """Rows with a key that links make. One that is there already names another row, or is left out."""
        schema, key = self._linked, str(self.schema.keys[table])
        columns = schema.key_columns(table)
        links = [link for link in schema.references(table) if {*schema.columns_of(link.column)} & {*columns}]
        for attempt in range(TRIES if links else 0):
            twice = rows.duplicated([*columns]).to_numpy()
            if not twice.any():
                break
            link = links[attempt % len(links)]
            again = self._link_keys(link, rows[twice].reset_index(drop=True), frames, generator, 1 << (attempt + 1))
            rows.loc[twice, link.column] = again.to_numpy()
            rows = self._with_parts(link, rows, frames) if link.column in schema.parts else rows
        rows = rows[~rows.duplicated([*columns])].reset_index(drop=True)
        return rows.assign(**{key: joined_keys([keys_in(key, rows[column]) for column in columns])})

    def _link_keys(
        self, link: Link, rows: pd.DataFrame, frames: Frames, generator: np.random.Generator, among: int = 1
    ) -> pd.Series:
        """The keys of the rows that a link names, each any of so many that are most like the drawn ones."""
        own = link.parent == link.child
        parents = rows if own else frames[link.parent]
        columns = reference_columns(link, self.plans[link.parent])
        targets = rows[[*columns]].set_axis([*columns.values()], axis=1)
        there = parents[[*columns.values()]].reset_index(drop=True)
        days = {name: form.days for name, form in self.plans[link.parent].times.items() if name in there}
        targets, there = (part.assign(**{n: of(part[n]) for n, of in days.items()}) for part in (targets, there))
        places = np.full(len(rows), -1, dtype=np.int64)
        if link.column in self.plans[link.child].roles:
            places = role_places(rows[role(link)], targets, there, generator)
        for own_rows, there_rows in self._partners(link, rows, parents) if (places < 0).all() else ():
            earlier = np.arange(len(rows)) if own else None
            near = matches(targets.iloc[own_rows], there.iloc[there_rows], generator, earlier, among)
            places[own_rows] = there_rows[near]
        keys = parents[self.schema.keys[link.parent]].reset_index(drop=True)
        keys = keys.reindex(places).reset_index(drop=True)
        empty = pd.Series(False, index=keys.index)
        if link.column in self.plans[link.child].named:
            empty = ~is_true(rows[presence(link)].reset_index(drop=True), self.plans[link.child])
        if own:
            empty.iloc[:1] = True  # nothing stands before the first row
        return keys.mask(empty, None)

    def _partners(
        self, link: Link, rows: pd.DataFrame, parents: pd.DataFrame
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Groups of rows and the parent's rows that they may name: those with the columns that other links decide."""
        columns, names = self.schema.columns_of(link.column), self.schema.key_columns(link.parent)
        before = itertools.takewhile(lambda other: other != link, self.schema.links_of(link.child))
        decided = {column for other in before for column in self.schema.columns_of(other.column)}
        shared = [(own, above) for own, above in zip(columns, names, strict=True) if own in decided]
        if not shared:
            yield np.arange(len(rows)), np.arange(len(parents))
            return
        groups = parents.reset_index(drop=True).groupby([above for _, above in shared]).indices
        for value, places in rows.reset_index(drop=True).groupby([own for own, _ in shared]).indices.items():
            if value in groups:
                yield np.asarray(places, dtype=np.int64), np.asarray(groups[value], dtype=np.int64)

    @staticmethod
    def _with_rows(given: Frames, skip_bad: bool) -> Frames:
        """Given tables, without empty ones where these are left out.

        Raises:
            DataError: for a table without rows otherwise.
        """
        empty = next((table for table, rows in given.items() if not len(rows)), None)
        if empty is not None and not skip_bad:
            raise DataError(
                f"given, table {empty}: must have rows, got none; draw its rows too with {option('skip_bad', True)}"
            )
        return {table: rows for table, rows in given.items() if len(rows)}

    def _checked(
        self, table: str, rows: pd.DataFrame, frames: Frames, skip_bad: bool
    ) -> tuple[pd.DataFrame, list[str]]:
        """Given rows of a table, with keys and links as texts, and notes on those that are left out.

        Raises:
            DataError: for a column that is missing or, unless rows are left out, a key that is not unique, a link to a
                row that is not there, or a word among numbers.
        """
        links = (column for link in self._linked.links_of(table) for column in self._linked.columns_of(link.column))
        names = [*dict.fromkeys([*self._linked.key_columns(table), *links, *self.plans[table].described])]
        absent = [name for name in names if name not in rows]
        if absent:
            raise DataError(
                f"given, table {table}: must have the columns {shortened(names)}, got none called {absent[0]!r}; add it"
            )
        frame, notes = sound_rows("given", {table: rows}, self._linked, table, frames, skip_bad)
        for name, column in self._conditions(table).items():
            inverse, distinct = pd.factorize(frame[name])
            codes = np.append(column.read(pd.Series(distinct)), column.blank)[inverse]
            if (wrong := codes == UNREADABLE).any():
                bad, rule = pd.Series(wrong, frame.index), f"must be {column.description}"
                frame, note = without_rows(f"given, table {table}", frame, name, bad, rule, skip_bad)
                notes.append(f"{table}: {note}")
            elif isinstance(column, Categorical):
                notes += _new_categories(table, column, inverse, pd.Series(distinct))
        return frame.reset_index(drop=True), notes

    def _conditions(self, table: str) -> dict[str, Modelled]:
        """The columns of a table that rows of others are given, as the models of these read them."""
        runs = [self.runs[link.child] for link in self._linked.children(table) if link.child in self.runs]
        columns: list[Modelled] = [c for run in runs for c in getattr(run.model.space.given, "modelled", ())]
        before = f"{table}."
        return {c.name.removeprefix(before): c for c in columns if c.name.startswith(before)}

    def _flags(self, table: str, frames: Frames, seed: int) -> pd.DataFrame:
        """Whether given rows own rows of other tables, drawn given their columns. Empty for rows that others own."""
        if table not in self.runs or self._linked.owner(table) is not None:
            return pd.DataFrame()
        model = self.runs[table].model
        names = [flag(child) for child in self.plans[table].flags if flag(child) in model.space.columns]
        if not names:
            return pd.DataFrame()
        rows = with_references(frames[table], frames, self._linked, self.plans, table)
        return impute(model, rows.assign(**dict.fromkeys(names)), seed, columns=names).table[names]

    def impute(
        self, database: Database, seed: int = 0, patience: float = PATIENCE, say: Callable[[str], None] | None = None
    ) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, int]]]:
        """The tables of a database without the gaps of their own columns, and how many were filled.

        Each gap is drawn given the other values of its row, and those of the rows that it refers to. Gaps of rows that
        are a sequence, or that a model of their owner's columns draws, stay.

        Args:
            database: of the tables of this model.
            seed: of the draws.
            patience: seconds for each table.
            say: a function that is called with each note.
        """
        say = say or (lambda note: None)
        frames, counts = dict(database.frames), dict[str, dict[str, int]]()
        for table in (table for table in self._order if table in self.runs):
            model, rows = self.runs[table].model, rows_of(database.frames, self._linked, self.plans, table)
            own = [name for name in self.plans[table].own if gaps_in(frames[table][name]).any()]
            if own and (self.plans[table].order is not None or model.space.given is not None):
                say(f"{table}: gaps of {shortened(own)} stay, since its rows are drawn given those of another table")
                own = []
            if own:
                imputed = impute(model, rows, seed, columns=own, patience=patience, say=say)
                for line in (*imputed.notes, *imputed.remarks()[1:]):
                    say(f"{table}: {line}")
                frames[table] = frames[table].assign(**{name: imputed.table[name].to_numpy() for name in own})
                counts[table] = imputed.filled
        return {table: self._typed(table, frames[table], frames) for table in self.schema.keys}, counts

    # --- likelihood ---------------------------------------------------------------------------------------------------

    def log_prob(
        self, database: Database, seed: int = 0, say: Callable[[str], None] | None = None
    ) -> dict[str, LogProb]:
        """The log-probability of each example of each table: a row, or a sequence of rows given their owner's.

        A reference counts by the columns of the row that it names, not by its key. An example with a value that no
        training row has is marked as ``outside``: its probability is 0, unless its column pools rare categories.

        Args:
            database: of the tables of this model.
            seed: of likelihoods that are estimates.
            say: a function that is called with each note on a table's rows, as a single table has them: new values,
                values beyond the range of training, and sequences of which only the first rows are scored.
        """
        scores = {}
        for table in (table for table in self._order if table in self.runs):
            split, notes = self.runs[table].examples(
                training_rows(database.frames, self._linked, self.plans, table),
                given=given_rows(database.frames, self._linked, self.plans, table),
            )
            for note in notes:
                if say is not None and not isinstance(note, ConditionNote):  # the owners' table has it, too
                    say(f"{table}: {note}")
            scores[table] = self.runs[table].model.log_prob(split.x, split.cond, seed)
        return scores


def check_scale(scale: float) -> None:
    """Refuse a size of no database.

    Raises:
        ValueError: for a number that is not positive or not finite.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, got {scale:g}; 1 draws as many rows as the data has")


def _new_categories(
    table: str, column: Categorical, inverse: npt.NDArray[np.intp], distinct: pd.Series
) -> Iterator[str]:
    """A line on given categories that the model does not list, with what is taken instead."""
    unlisted = column.unlisted(inverse, distinct)
    if unlisted.any():
        values = shortened(map(repr, distinct[np.unique(inverse[unlisted])]), 3)
        rows, name = plural(int(unlisted.sum()), "row"), column.name.removeprefix(f"{table}.")
        yield f"{table}: {rows}, column {name}: {values} taken as {column.instead or 'unknown'}"


def table_folder(folder: Path, table: str) -> Path:
    """The run folder of a table."""
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in table)
    return folder / "tables" / safe


def training_rows(frames: Frames, schema: Schema, plans: Mapping[str, Plan], table: str) -> pd.DataFrame:
    """The rows of a table as its model learns them. Those of sequences have the link to their owner, and an order."""
    rows, plan, owner = rows_of(frames, schema, plans, table), plans[table], schema.owner(table)
    if owner is None or plan.alone:
        return rows
    rows[owner.column] = owners_of(frames[table], owner)
    return with_place(rows, rows[owner.column]) if plan.order == ROW else in_order(rows, str(plan.order))


def conditions_of(
    frames: Frames,
    schema: Schema,
    plans: Mapping[str, Plan],
    owner: Link,
    summaries: dict[str, pd.DataFrame] | None = None,
) -> pd.DataFrame:
    """A row for each row of an owner: its columns, those of the rows above it, and summaries of earlier children.

    Args:
        frames: of the database.
        schema: of the database.
        plans: of its tables.
        owner: the link to the owner.
        summaries: those of children that are there already. New ones are put there.
    """
    keys = frames[owner.parent][schema.keys[owner.parent]]
    summaries = {} if summaries is None else summaries
    links = [link for link in schema.children(owner.parent) if link.child in plans[owner.child].siblings]
    for link in links:
        if link.child not in summaries:
            summaries[link.child] = summary(frames[link.child], link, plans[link.child], keys)
    about = [summaries[link.child] for link in links]
    return pd.concat([context(frames, schema, plans, owner.parent), *about], axis=1)


def given_rows(frames: Frames, schema: Schema, plans: Mapping[str, Plan], table: str) -> pd.DataFrame | None:
    """The conditions of a table's examples. ``None`` for a table without an owner, or with one that has keys alone."""
    owner = schema.owner(table)
    if owner is None:
        return None
    conditions = conditions_of(frames, schema, plans, owner)
    if not conditions.shape[1]:
        return None
    places = places_of(frames, schema, owner)
    if plans[table].alone:
        return rows_at(conditions, places)
    keys, owns = frames[owner.parent][schema.keys[owner.parent]], counts_of(places, len(conditions)) > 0
    owners = owners_of(frames[table], owner)[frames[table][owner.column].isna()]
    free = pd.DataFrame({owner.column: owners})
    return pd.concat([conditions.assign(**{owner.column: keys})[owns], free], ignore_index=True)
