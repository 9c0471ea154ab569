"""Judging a synthetic database: keys, each table, and each link, by the scores that every table has here.

A *view* is one table that holds what a database should keep:

* a table alone;
* ``parent and child``: the rows of a child beside the columns of the row that they name;
* ``numbers``: the rows of a parent with the number of rows that each owns;
* ``siblings``: the rows of a child beside those of the row before of the same owner;
* ``beside``: what the rows of two tables of one owner are like on average, for each owner.

:func:`fourfold.judge` measures each view of the synthetic database beside that of the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd

from fourfold.data.errors import DataError
from fourfold.data.model_rows import OTHER_KIND
from fourfold.output.printable import plural, shortened
from fourfold.pictures.panels import Bars
from fourfold.tournament.judgement import Judgement, judge
from fourfold.tournament.words import label, wrapped
from fourfold_databases.database import Database, read_database
from fourfold_databases.derived import counts_of, places_of
from fourfold_databases.integrity import faults_of, sound_frames
from fourfold_databases.plan import FEWEST, ROW, Plan, in_order, plans
from fourfold_databases.reading import Frames, frames_of, gaps_in, rows_at
from fourfold_databases.rules import RuleCheck, rule_checks
from fourfold_databases.schema import Link, Schema
from fourfold_databases.summaries import summary

__all__ = ["DatabaseJudgement", "LinkCheck", "judge_database", "page_name", "views"]

LEAST = 40
"""The fewest rows of a view that is measured."""
SHOWN = ("shape", "two_sample_auc")
"""The scores of the first page."""
COUNT = "number of rows"
"""The column of a parent's view that counts the rows which it owns."""


@final
@dataclass(frozen=True)
class LinkCheck:
    """How many rows of a synthetic database break a key or a link.

    Attributes:
        name: of the key or link.
        rows: how many rows have the key, or name a row by the link.
        broken: how many of them break it.
    """

    name: str
    rows: int
    broken: int

    def __str__(self) -> str:
        state = "holds in all" if not self.broken else f"is broken in {self.broken:,} of"
        return f"{self.name}: {state} {plural(self.rows, 'row')}"


@final
@dataclass(frozen=True)
class DatabaseJudgement:
    """The scores of a synthetic database.

    Attributes:
        name: of the synthetic database.
        checks: of keys and links.
        views: the judgement of each view, by its name.
        sizes: the rows of each table, of the real database and of the synthetic one.
        counts: for each owner's link, the shares of its rows that own so many rows.
        rules: how often rows keep the rules between tables that the real database shows.
        held_out: whether rows that the system never saw are the references.
        short: the views with too few rows to be measured.
        wrong: a sentence on each column with values of another kind than those of the real one.
        repeats: of tables that were not measured, the rows that are rows of the real one, and all rows.
    """

    name: str
    checks: tuple[LinkCheck, ...]
    views: Mapping[str, Judgement]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    counts: Mapping[Link, Bars] = field(default_factory=dict)
    rules: tuple[RuleCheck, ...] = ()
    held_out: bool = False
    short: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    repeats: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table of views, head first: each score of the synthetic rows, and of real rows behind it."""
        head = ("view", *(word for name in SHOWN for word in (label(name), "real")))
        return [
            head,
            *((name, *(word for score in SHOWN for word in _words(view, score))) for name, view in self.views.items()),
        ]

    def __str__(self) -> str:
        """Keys and links, then the scores of each view, in at most 80 columns."""
        rules = [wrapped(str(rule)) for rule in self.rules]
        wrong = [wrapped(line) for line in self.wrong]
        return "\n".join([*map(str, self.checks), *rules, *wrong, "", self.table])

    @property
    def table(self) -> str:
        """The scores of each view in columns, and the views that have none."""
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in self.rows]
        short = [wrapped(f"too few rows to be measured: {', '.join(self.short)}")] if self.short else []
        return "\n".join([*table, *short])

    def record(self) -> dict[str, Any]:
        """The judgement as a JSON value."""
        return {
            "database": self.name,
            "checks": [{"name": check.name, "rows": check.rows, "broken": check.broken} for check in self.checks],
            "rows": {table: {"real": real, "synthetic": synthetic} for table, (real, synthetic) in self.sizes.items()},
            "rules": [{"name": rule.name, "real": rule.real, "synthetic": rule.synthetic} for rule in self.rules],
            "wrong values": list(self.wrong),
            "repeated rows": {table: list(counts) for table, counts in self.repeats.items()},
            "views": {name: view.record() for name, view in self.views.items()},
        }


def _words(view: Judgement, name: str) -> tuple[str, str]:
    """A score of a view and that of real rows. Empty where it could not be measured."""
    score = next((score for score in view.scores if score.name.partition("[")[0] == name), None)
    values = (math.nan, math.nan) if score is None else (score.value, score.floor)
    return tuple("" if math.isnan(value) else f"{value:.3f}" for value in values)  # type: ignore[return-value]


def page_name(view: str) -> str:
    """The file of a view's report."""
    return f"{''.join(letter if letter.isalnum() else '-' for letter in view)}.html"


def views(database: Database, plan: Mapping[str, Plan]) -> dict[str, pd.DataFrame]:
    """The views of a database, by name. Keys are in none of them.

    Args:
        database: real or synthetic.
        plan: the plans of the real one, so that both have the same columns.
    """
    frames, schema = database.frames, database.schema
    tables: dict[str, pd.DataFrame] = {}
    for table in schema.order:
        own = frames[table][[*plan[table].own]]
        if own.shape[1] and not plan[table].names:
            tables[table] = own
        for link in schema.links_of(table):
            tables |= _of_link(link, database, plan)
    return tables


def _of_link(link: Link, database: Database, plan: Mapping[str, Plan]) -> dict[str, pd.DataFrame]:
    frames, schema = database.frames, database.schema
    child, parent = frames[link.child].reset_index(drop=True), frames[link.parent]
    places = places_of(frames, schema, link)
    if not len(parent):
        return {}
    own = child[[*plan[link.child].own]]
    above = parent[[*plan[link.parent].described]].add_prefix(f"{link.parent}.")
    linked = places >= 0
    joint = pd.concat([own, rows_at(above, places)], axis=1)[linked].reset_index(drop=True)
    tables = {f"{link.child} by {link.column}": joint} if own.shape[1] and above.shape[1] else {}
    if link != schema.owner(link.child):
        return tables
    counts = counts_of(places, len(parent))
    if above.shape[1] or counts.min() < counts.max():
        tables[f"numbers of {link.child}"] = above.assign(**{COUNT: counts}).reset_index(drop=True)
    if not len(child):
        return tables
    if not plan[link.child].alone and own.shape[1] and not plan[link.child].names:
        tables[f"siblings in {link.child}"] = _siblings(child[linked], link, plan[link.child])
    summaries = {
        other.child: summary(frames[other.child], other, plan[other.child], parent[schema.keys[link.parent]])
        for other in schema.children(link.parent)
        if other.child in (link.child, *plan[link.child].siblings)
    }
    return tables | {
        f"{link.child} beside {other}": pd.concat([summaries[link.child], summaries[other]], axis=1)
        for other in plan[link.child].siblings
    }


def _siblings(child: pd.DataFrame, link: Link, plan: Plan) -> pd.DataFrame:
    """The rows of a child beside the row before of the same owner, but for the first ones."""
    rows = child if plan.order in (None, ROW) else in_order(child, str(plan.order))
    before = rows.groupby(link.column, sort=False)[[*plan.own]].shift(1)
    later = rows.groupby(link.column, sort=False).cumcount() > 0
    return pd.concat([rows[[*plan.own]], before.add_prefix("before: ")], axis=1)[later].reset_index(drop=True)


def _raw(name: str, data: Any, schema: Schema, say: Callable[[str], None]) -> dict[str, pd.DataFrame]:
    """The tables of a database that the real one has.

    Raises:
        DataError: for a table, a key or a link that is not there.
    """
    frames, _ = frames_of(data)
    schema.restricted({table: tuple(map(str, frame)) for table, frame in frames.items()}, name)
    if more := [table for table in frames if table not in schema.keys]:
        say(f"{name}: tables of which the real database has no rows are not judged: {shortened(more)}")
    return {table: frames[table] for table in schema.keys}


def _sound(name: str, frames: Frames, real: Database, plan: Mapping[str, Plan]) -> Database:
    """A database as views take it: without rows that break a key, though there may be no others.

    Raises:
        DataError: for a column of the real database that is not there, with its table.
    """
    for table, own in plan.items():
        absent = [column for column in own.own if column not in frames[table]]
        if absent:
            raise DataError(
                f"{name}, table {table}: must have the column {absent[0]!r} of the real one, has "
                f"{shortened(frames[table].columns)}; add it"
            )
    sound, _ = sound_frames(name, frames, real.schema, skip_bad=True)
    return replace(real, name=name, frames=sound)


def checks_of(name: str, frames: Mapping[str, pd.DataFrame], schema: Schema) -> tuple[LinkCheck, ...]:
    """How often each key and each link is broken."""
    broken = faults_of(name, frames, schema)
    keys = [(f"key {table}.{key}", table, key) for table, key in schema.keys.items() if key is not None]
    links = [(f"link {link}", link.child, link.column) for link in schema.links]
    counts = {
        label: int((~frames[table][[*schema.columns_of(column)]].apply(gaps_in).any(axis=1)).sum())
        for label, table, column in links
    }
    counts |= {label: len(frames[table]) for label, table, _ in keys}
    return tuple(
        LinkCheck(label, counts[label], broken.get((table, column), 0)) for label, table, column in (*keys, *links)
    )


def judge_database(
    real: Any,
    synthetic: Any,
    *,
    held_out: Any = None,
    schema: Any = None,
    n: int = 2000,
    out: Path | str | None = None,
    say: Callable[[str], None] | None = None,
) -> DatabaseJudgement:
    """Judge the synthetic database of any system.

    Args:
        real: the database that it learned from.
        synthetic: the database that it drew.
        held_out: a database that it never saw, for the references. ``None``: rows of the real one.
        schema: keys and links, as for :func:`~fourfold_databases.database.read_database`.
        n: the most rows and references of a view.
        out: a new folder for the report of each view.
        say: a function that is called with each message.

    Raises:
        DataError: for databases that cannot be read, or of other tables.
    """
    say = say or (lambda message: None)
    data = real if isinstance(real, Database) else read_database(real, schema, skip_bad=True, doubtful=False)
    name = Path(synthetic).name if isinstance(synthetic, (str, Path)) else "samples"
    raw = _raw(name, synthetic, data.schema, say)
    checks = checks_of(name, raw, data.schema)
    real = [t for t, frame in data.frames.items() if len(frame) < FEWEST or t in data.schema.real]
    data = replace(data, schema=data.schema.unlinked(real))
    plan = plans(data, rules=False)
    samples = _sound(name, raw, data, plan)
    of_real, of_samples, of_never = views(data, plan), views(samples, plan), dict[str, pd.DataFrame]()
    of_samples |= {table: raw[table][[*plan[table].own]] for table in of_samples.keys() & raw.keys()}  # broken keys too
    if held_out is not None:
        other = Path(held_out).name if isinstance(held_out, (str, Path)) else "held out"
        of_never = views(_sound(other, _raw(other, held_out, data.schema, say), data, plan), plan)
    judgements, short, wrong = dict[str, Judgement](), list[str](), list[str]()
    for view, frame in of_real.items():
        parts = (frame, *(part.get(view, ()) for part in (of_samples, *([of_never] if of_never else []))))
        if min(map(len, parts)) < LEAST:
            short.append(view)
            continue
        say(f"{view}: {len(of_samples[view]):,} rows beside {len(frame):,}")
        place = None if out is None else Path(out) / page_name(view)
        notes: list[str] = []
        new, never = of_samples[view], of_never.get(view)
        judgements[view] = judge(
            frame, new, held_out=never, n=n, baselines=False, space="table", out=place, say=notes.append
        )
        if view in data.frames:  # once, not in each view that has the column
            faults = (note.removeprefix("samples: ") for note in notes if OTHER_KIND in note)
            wrong += [f"{view}, {fault.partition(';')[0]}" for fault in faults]
    if not judgements:
        raise DataError(f"{name}: must have at least {LEAST} rows in some table, got fewer in all")
    owners = [link for table in data.schema.keys if (link := data.schema.owner(table)) is not None]
    owners = [link for link in owners if len(samples.frames[link.parent])]
    return DatabaseJudgement(
        name,
        checks,
        judgements,
        {table: (len(frame), len(raw[table])) for table, frame in data.frames.items()},
        {link: _cardinality(link, data, samples) for link in owners},
        rule_checks(data, samples),
        held_out is not None,
        tuple(short),
        tuple(wrong),
        {
            table: (_repeats(frame, raw[table], data.schema.without(table)), len(raw[table]))
            for table, frame in data.frames.items()
            if table not in judgements
        },
    )


def _repeats(real: pd.DataFrame, synthetic: pd.DataFrame, keys: Sequence[str]) -> int:
    """How many rows are a row of the real table in all columns but keys and links. 0 where it has no others."""
    own = [column for column in real if column in synthetic and column not in keys]
    if not own or not len(real) or not len(synthetic):
        return 0
    new, old = (frame[own].astype(str).fillna("").agg("\x1f".join, axis=1) for frame in (synthetic, real))
    return int(new.isin(old).sum())


def _cardinality(link: Link, real: Database, samples: Database) -> Bars:
    """How many rows of a child each row of an owner owns: 0, 1, 2, ..., and so many or more."""
    counts = [_numbers(link, part) for part in (real, samples)]
    most = max(int(counts[0].quantile(0.98)), 1)
    shares = [np.bincount(count.clip(upper=most), minlength=most + 1) / len(count) for count in counts]
    labels = (*map(str, range(most)), f"{most} or more")
    data, synthetic = (tuple(map(float, share)) for share in shares)
    return Bars(f"rows of {link.child}", labels, data, synthetic, ("0", f"{most}+"))


def _numbers(link: Link, database: Database) -> pd.Series:
    """How many rows of a child each row of its owner owns."""
    places = places_of(database.frames, database.schema, link)
    return pd.Series(counts_of(places, len(database.frames[link.parent])))
