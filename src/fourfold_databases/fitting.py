"""Training on a database: a model for each table, within one budget."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pandas as pd
import pyarrow as pa

from fourfold.core.memory import release_memory
from fourfold.data import Dataset, load
from fourfold.data.errors import DataError
from fourfold.engine import BrokenRun, Run, fit
from fourfold.paradigms import check_names
from fourfold.privacy import Guarantee, new_secret, parse_guarantee
from fourfold.privacy.accounting import require_accountant
from fourfold.runs.budget import Budget, parse_budget
from fourfold.runs.checkpoint import check_vacant
from fourfold.runs.settings import FitKeywords
from fourfold_databases.database import Database, read_database
from fourfold_databases.plan import FEWEST, Plan, context, has_values, plans
from fourfold_databases.private import Guard, read_public
from fourfold_databases.reading import places_in, rows_at, with_numbers
from fourfold_databases.run import RECORD, DatabaseRun, given_rows, table_folder, training_rows
from fourfold_databases.schema import Schema

__all__ = ["fit_database", "plan_words"]

READ = ("text_model", "rare", "keep_rare")
"""The settings of :func:`fourfold.load` that all tables share."""
SECRET = "secret"
"""The file in ``resume/`` that draws batches and noise under a guarantee of privacy."""
LEAST = 0.1
"""The least share of the budget that a table gets, over the number of tables."""


def fit_database(
    paradigm: str | None = None,
    data: Any = None,
    *,
    schema: Schema | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    skip_bad: bool = False,
    text_model: str | os.PathLike[str] | None = None,
    rare: int | None = None,
    keep_rare: bool = False,
    say: Callable[[str], None] | None = None,
    **keywords: Unpack[FitKeywords],
) -> DatabaseRun:
    """Train models of the tables of a database, each given the rows that own its rows.

    Seconds of the budget are divided by the number of values in each table. Those that a table leaves, since its
    held-out loss fell no more, are the next ones'. Steps are those of each table. A table of fewer than 20 rows that
    names no other, such as a list of countries, stays as it is, and so does one that the schema calls a reference
    table. With ``private`` both must be public.

    Args:
        paradigm: a name for :func:`fourfold.fit` that models tables and, where a row owns several, sequences. A run
            that is resumed has recorded it, and its other arguments.
        data: a database for :func:`~fourfold_databases.database.read_database`, or a :class:`Database`. A run that is
            resumed has recorded the file or folder.
        schema: its keys and links, or the TOML file that names them.
        out: the run folder. Without one nothing is written.
        resume: go on with a training that was stopped: tables that are trained already are not trained again.
        skip_bad: leave out rows that break a key.
        text_model: the model of language that writes columns of texts: see :func:`fourfold.load`.
        rare: pool or replace categories that fewer training rows of a table have: see :func:`fourfold.load`.
        keep_rare: keep them all.
        say: a function that is called with each message.
        keywords: the settings of :func:`fourfold.fit`, such as ``budget`` and ``size``.

    Raises:
        DataError: for a database that cannot be read, or a table that is too short.
        ValueError: as :func:`fourfold.fit` does.
    """
    folder, reading = None if out is None else Path(out), _reading(text_model, rare, keep_rare)
    if resume and folder is not None and (folder / RECORD).exists():
        begun = DatabaseRun.begun(folder)
        paradigm, skip_bad = paradigm or begun.training["paradigm"], skip_bad or begun.training["skip_bad"]
        reading = {name: value for name, value in begun.training.items() if name in READ} | reading
        data, schema = begun.training["data"] if data is None else data, begun.schema if schema is None else schema
        before = begun.training["settings"]
        for name in ("private", "public"):
            if (now := keywords.get(name)) is not None and str(now) != str(before.get(name)):
                raise ValueError(f"{name} must be {before.get(name)}, as in {folder}, got {now}; leave it out")
        keywords = {**before, **keywords}
    if paradigm is None or data is None:
        raise ValueError("paradigm and data must be given, got None; a run that is resumed has recorded files alone")
    check_names(paradigm)
    guarded = keywords.get("private") is not None  # nothing may then depend on the rows
    database = (
        data if isinstance(data, Database) else read_database(data, schema, skip_bad=skip_bad, owners=not guarded)
    )
    if folder is not None and not resume:
        check_vacant(folder)
        if (folder / RECORD).exists():
            raise ValueError(f"{folder} must be a new folder, got the run of a database; name another, or resume it")
    training = _recorded(paradigm, data, skip_bad, reading, keywords)
    guarantee, public = keywords.pop("private", None), keywords.pop("public", None)
    guard = None if guarantee is None else _guard(database, parse_guarantee(guarantee), public, skip_bad, folder)
    fixed = _rows_of(database, _fixed(database) if guard is None else guard.public.tables)
    modelled = _categorical(database, fixed)
    if guard is not None:
        guard = guard.reading(database, modelled)
    plan = _counted(plans(modelled), database, fixed) if guard is None else guard.plans
    result = DatabaseRun(database.schema, plan, {}, fixed, database.as_text, folder, training, types=database.types)
    if folder is not None:
        result.save_record(folder)
    for note in (*database.notes, *(f"{table}: {len(rows)} rows stay as they are" for table, rows in fixed.items())):
        _tell(say, note)
    tables = [table for table in modelled.schema.order if has_values(modelled.schema, plan, table)]
    for table in plan.keys() - tables:
        _tell(say, f"{table}: {plan[table].rows:,} rows of keys and derived values, which need no model")
    budget, seconds = keywords.pop("budget", None), 0.0
    shares = _shares({table: plan[table] for table in tables}) if guard is None else guard.shares
    runs: dict[str, Run] = {}
    for table in tables:
        rest = sum(share for other, share in shares.items() if other not in runs)
        part = None if budget is None else _part(parse_budget(budget), shares[table], rest, seconds)
        _tell(say, ", ".join([f"{table}: {plan_words(plan[table])}", *([] if part is None else [part.words])]))
        place = None if folder is None else table_folder(folder, table)
        pa.default_memory_pool().release_unused()
        release_memory()
        read = partial(_data, modelled, plan, table, reading, keywords)
        read = read if guard is None else partial(guard.data, table, runs)
        runs[table] = _fitted(paradigm, read, place, part, resume, say, keywords)
        seconds += runs[table].card["seconds"]
    result = dataclasses.replace(result, runs=runs, privacy={} if guard is None else guard.record(runs))
    if folder is not None and guard is not None:
        result.save_record(folder)
    return result


def _reading(text_model: str | os.PathLike[str] | None, rare: int | None, keep_rare: bool) -> dict[str, Any]:
    """The settings by which tables are read, as far as there are some."""
    place = None if text_model is None else os.path.abspath(text_model)
    values = dict(zip(READ, (place, rare, keep_rare or None), strict=True))
    return {name: value for name, value in values.items() if value is not None}


def _recorded(
    paradigm: str, data: Any, skip_bad: bool, reading: Mapping[str, Any], keywords: FitKeywords
) -> dict[str, Any]:
    """The settings with which a training goes on, as JSON values. Data in memory is not recorded.

    Raises:
        ValueError: for a setting of reading that looks at rows, under a guarantee of privacy.
    """
    plain = (str, int, float, bool, dict)
    if (guarantee := keywords.get("private")) is not None:
        if "text_model" in reading:
            raise ValueError("text_model must be left out with private: it may repeat the texts that it is shown")
        if reading:
            raise ValueError(f"{min(reading)} must be left out with private, whose noise decides which categories stay")
        keywords = {**keywords, "private": str(parse_guarantee(guarantee))}
    settings = {name: value for name, value in keywords.items() if isinstance(value, plain)}
    if isinstance(budget := keywords.get("budget"), Budget):
        settings["budget"] = str(budget)
    path = os.path.abspath(data) if isinstance(data, (str, os.PathLike)) else None
    return {"paradigm": paradigm, "data": path, "skip_bad": skip_bad, "settings": settings, **reading}


def _tell(say: Callable[[str], None] | None, message: str) -> None:
    if say is not None:
        say(message)


def plan_words(plan: Plan) -> str:
    """The rows of a table in words."""
    if not plan.rows:  # under a guarantee nobody counts them
        return f"the first {plan.longest:,} rows of an owner"
    return f"{plan.rows:,} rows" if plan.alone else f"{plan.rows:,} rows, at most {plan.longest:,} of one owner"


def _fixed(database: Database) -> list[str]:
    """The tables that stay as they are: short ones and reference tables, whose rows name no others than such.

    Raises:
        DataError: for such a table whose rows name those of another.
    """
    real = {*database.schema.real}
    short = real.union(table for table, frame in database.frames.items() if len(frame) < FEWEST)
    for link in database.schema.links:
        if link.child in real and link.parent not in short:
            raise DataError(
                f"{database.name}, table {link.child}: a reference table must name no rows that are drawn, got "
                f"{link}; make {link.parent} a reference table, too"
            )
        if link.child in short and link.parent not in short:
            raise DataError(
                f"{database.name}, table {link.child}: must have at least {FEWEST} rows to be modelled, got "
                f"{len(database.frames[link.child])}; leave it out of the database"
            )
    return [table for table in database.frames if table in short]


def _rows_of(database: Database, tables: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The rows of some tables, with the types of their keys."""
    return {table: with_numbers(database.frames[table], database.numbers.get(table, ())) for table in tables}


def _categorical(database: Database, fixed: Mapping[str, pd.DataFrame]) -> Database:
    """The tables that are modelled. Links to fixed rows are categories of their own."""
    frames = {table: frame for table, frame in database.frames.items() if table not in fixed}
    for link in database.schema.links:
        if link.parent in fixed and link.child not in fixed:
            frame = frames[link.child]
            joint = database.schema.parts.get(link.column, ())
            categories = {link.column: frame[link.column].astype("category")}
            frames[link.child] = frame.assign(**categories).drop(columns=[*joint])
    return dataclasses.replace(database, frames=frames, schema=database.schema.without_tables(fixed))


def _counted(plan: Mapping[str, Plan], database: Database, fixed: Mapping[str, pd.DataFrame]) -> dict[str, Plan]:
    """Plans that tell how many rows name each row of the tables that stay as they are."""
    counts: dict[str, dict[str, dict[str, int]]] = {table: {} for table in plan}
    for link in database.schema.links:
        if link.parent in fixed and link.child in plan:
            rows = database.frames[link.child][link.column].value_counts()
            counts[link.child][link.column] = {str(key): int(count) for key, count in rows.items()}
    return {table: dataclasses.replace(own, counts=counts[table]) for table, own in plan.items()}


def _shares(plan: Mapping[str, Plan]) -> dict[str, float]:
    """The share of the budget of each table: by the number of its values, and a tenth of an equal share at least."""
    values = np.array([plan[table].rows * max(len(plan[table].own), 1) for table in plan], dtype=np.float64)
    shares = LEAST / len(plan) + (1 - LEAST) * values / values.sum()
    return dict(zip(plan, shares.tolist(), strict=True))


def _part(budget: Budget, share: float, rest: float, seconds: float) -> Budget:
    """The budget of a table.

    Args:
        budget: of all tables. Steps and epochs are those of each table.
        share: of this table.
        rest: the sum of the shares of this table and the later ones.
        seconds: that earlier tables took: those that they left are the others'.
    """
    if math.isfinite(budget.seconds):
        return budget.less(seconds).part(share / rest)
    return budget.part(share) if math.isfinite(budget.operations) else budget


def _data(
    database: Database,
    plan: Mapping[str, Plan],
    table: str,
    options: Mapping[str, Any],
    keywords: FitKeywords,
) -> Dataset:
    """The data set of one table."""
    frames, schema = database.frames, database.schema
    rows, conditions = training_rows(frames, schema, plan, table), given_rows(frames, schema, plan, table)
    owner, own = schema.owner(table), plan[table]
    reading: dict[str, Any] = {**options} | ({} if conditions is None else {"given": conditions})
    if "text_model" in options and owner is not None:
        keys = frames[table][owner.column] if own.alone else rows[owner.column]
        above = context(frames, schema, plan, owner.parent)
        reading["text_rows"] = rows_at(above, places_in(frames[owner.parent][schema.keys[owner.parent]], keys))
    if owner is not None and not own.alone:
        reading |= {"group": owner.column, "order": own.order, "length": max(own.longest, 2)}
    else:
        reading["space"] = "table"
    return load(rows, seed=keywords.get("seed") or 0, **reading)


def _fitted(
    paradigm: str,
    read: Callable[[], Dataset],
    folder: Path | None,
    budget: Budget | None,
    resume: bool,
    say: Callable[[str], None] | None,
    keywords: FitKeywords,
) -> Run:
    """The run of one table, without its rows: those of the next one need the memory."""
    data = read()
    settings: FitKeywords = {**keywords} if budget is None else {**keywords, "budget": budget}
    again = resume and folder is not None and folder.exists()
    name = None if again and data.units is not None else paradigm  # under a guarantee its card has another recipe
    run = fit(name, data, out=folder, resume=again, say=say, progress=False, **settings)
    return dataclasses.replace(run, data=None)


def _guard(database: Database, guarantee: Guarantee, public: Any, skip_bad: bool, folder: Path | None) -> Guard:
    """How a database is protected, with the secret of its folder.

    Raises:
        DataError: for a database that cannot be.
        ValueError: with ``skip_bad``, since rows that are left out tell of others.
        BrokenRun: for a folder whose secret is gone. Another one would spend the guarantee twice.
    """
    require_accountant()
    if skip_bad:
        raise ValueError("skip_bad must be left out with private: which rows are bad depends on others; correct them")
    path = None if folder is None else folder / "resume" / SECRET
    if path is not None and path.exists():
        secret = bytes.fromhex(path.read_text(encoding="utf-8"))
    elif folder is not None and (folder / RECORD).exists():
        raise BrokenRun(f"{path} is not there, without which the guarantee would be spent twice: train in a new folder")
    else:
        secret = new_secret()
    guard = Guard.of(database, guarantee, read_public(public, database.schema), secret)
    if path is not None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secret.hex(), encoding="utf-8")
    return guard
