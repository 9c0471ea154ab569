"""The work of commands for databases."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fourfold.cli.command import Command
from fourfold.cli.commands.about import Info
from fourfold.cli.commands.compare import Compare, Judge
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Evaluate, Sample, ScoreExamples
from fourfold.cli.commands.tables import Impute
from fourfold.cli.commands.train import Fit
from fourfold.cli.data import print_rules
from fourfold.cli.printing import print_line, say, write_text
from fourfold.cli.tables import check_output, named_columns, write_imputed
from fourfold.cli.train import new_folder
from fourfold.core import LogProb
from fourfold.data.errors import DataError, option
from fourfold.data.packed import stem_of
from fourfold.data.tables import raw_frame
from fourfold.engine import Interrupted, Run
from fourfold.output.printable import plural, shortened
from fourfold.privacy import guarantee_words
from fourfold.settings.data import DataKeywords
from fourfold.tasks.imputing import impute as impute_rows
from fourfold.tasks.scores import score_record
from fourfold_databases.database import Database, read_database
from fourfold_databases.findings import screen
from fourfold_databases.fitting import fit_database, plan_words
from fourfold_databases.judging import judge_database
from fourfold_databases.page import write_page
from fourfold_databases.rules import rules_of
from fourfold_databases.run import DatabaseRun, check_scale, table_folder
from fourfold_databases.schema import Schema
from fourfold_databases.writing import check_new, write_database

__all__ = [
    "data",
    "evaluate",
    "fit",
    "impute",
    "impute_table",
    "info",
    "judge",
    "refuse",
    "refuse_data",
    "sample",
    "score",
]


def data(command: DescribeData) -> None:
    """Describe a database: its tables, its keys with their reasons, and its links."""
    assert command.name is not None, "the handler asks for it"
    options = command.data_options
    path, skip_bad = _reading(options, "rules")
    new = Path(path) if path is not None and not Path(path).exists() else None
    database = read_database(command.name, None if new else path, skip_bad=skip_bad)
    print_line(json.dumps(_record(database), indent=1) if command.as_json else _description(database))
    if options.get("rules"):
        print_rules(rules_of(database), print_line, command.as_json)
    if new is not None:
        write_text(new, database.schema.toml)
        say(f"{new}: edit it, then: fourfold data {command.name} --schema {new}")
    elif path is None and not command.as_json:
        print_line(f"\nto change keys and links:\n  fourfold data {command.name} --schema NEW.toml")


def fit(command: Fit) -> None:
    """Train a model of each table, or go on with a training."""
    _refuse(command, "paradigm", "data", "settings", "out", "resume", "threads", "config", "context", "data_options")
    schema, skip_bad = _reading(command.data_options, "text_model", "rare", "keep_rare")
    if command.paradigm == "best":
        raise ValueError("a race of paradigms (best) must have one table, got a database; name one, as autoregressive")
    folder = command.resume or command.out or new_folder(command.paradigm, command.data, command.settings)
    try:
        run = fit_database(
            command.paradigm,
            command.data,
            schema=schema,
            skip_bad=skip_bad,
            out=folder,
            resume=command.resume is not None,
            text_model=command.data_options.get("text_model"),
            rare=command.data_options.get("rare"),
            keep_rare=command.data_options.get("keep_rare", False),
            say=say,
            **command.settings,
        )
    except Interrupted as interruption:
        say(f"{interruption}; go on with: fourfold fit --resume {folder}")
        raise typer.Exit(130) from None
    if run.privacy:
        print_line(guarantee_words({"privacy": run.privacy}))
    print_line(f"{folder}: next: fourfold sample {folder} --scale 1 --out new.db")


def sample(command: Sample) -> None:
    """Draw a database and write it."""
    _refuse(command, "run", "scale", "given", "skip_bad", "seed", "out", "device", "as_json")
    path = Path(command.out or command.run / "samples")
    check_new(path)
    run = DatabaseRun.load(command.run, command.device)
    given = _given(command.given or [], run)
    frames = run.sample(command.scale or 1.0, command.seed, given, skip_bad=bool(command.skip_bad), say=say)
    if run.privacy:
        say(guarantee_words({"privacy": run.privacy}))
    same = Path(run.training["data"] or "").suffix.lower() == path.suffix.lower()  # types are those of one program
    write_database(path, frames, run.schema, run.types if same else {})
    rows = {table: len(frame) for table, frame in frames.items()}
    if command.as_json:
        print_line(json.dumps({"rows": rows, "written": str(path)}))
    else:
        print_line(f"{path}: " + ", ".join(f"{table} {count:,}" for table, count in rows.items()))


def score(command: ScoreExamples) -> None:
    """Print the log-probability of a database by its tables."""
    _refuse(command, "run", "data", "skip_bad", "seed", "device", "as_json")
    if command.data is None:
        raise ValueError("DATA must name a database to score, got none")
    run = DatabaseRun.load(command.run, command.device)
    database = read_database(command.data, run.schema, skip_bad=command.skip_bad or False)
    scores = run.log_prob(database, command.seed, say)
    if command.as_json:
        print_line(json.dumps(_score_record(scores), indent=1))
    else:
        _print_scores(run, scores)


def impute(command: Impute) -> None:
    """Fill the gaps of the tables of a database, and write it."""
    _refuse(command, "run", "data", "seed", "patience", "out", "device", "as_json")
    if command.out == "-":
        raise ValueError("--out must name a new database or folder, got none; a database is not printed")
    path = Path(command.out)
    check_new(path)
    run = DatabaseRun.load(command.run, command.device)
    database = read_database(command.data, run.schema)
    frames, filled = run.impute(database, command.seed, command.patience, say=say)
    write_database(path, frames, run.schema)
    if command.as_json:
        print_line(json.dumps({"written": str(path), "filled": filled}))
    else:
        for table, counts in filled.items():
            print_line(f"{table}: filled " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        print_line(path)


def impute_table(command: Impute) -> None:
    """Fill the gaps of one table by its run out of a database. Columns that its file has not are drawn, and left out.

    Such are the columns of the rows that it refers to, and those that say whether a row owns others.
    """
    check_output(command)
    folder = command.run.absolute().parents[1]
    plans = DatabaseRun.begun(folder).plans
    own = next((plan.own for table, plan in plans.items() if table_folder(folder, table) == command.run.absolute()), ())
    model, (rows, _) = Run.load(command.run, command.device).model, raw_frame(command.data)
    added = [name for name in model.space.columns if name not in rows and name not in own]
    columns = named_columns(command, model.space.columns) or [n for n in model.space.columns if n not in added]
    whole = rows.assign(**dict.fromkeys(added))
    filled = impute_rows(model, whole, command.seed, columns=columns, patience=command.patience, say=say)
    write_imputed(command, dataclasses.replace(filled, table=filled.table.drop(columns=added)))


def evaluate(command: Evaluate) -> None:
    """Judge a database that a run draws beside the data that it learned from, and score the database."""
    _refuse(command, "run", "data", "n", "scale", "skip_bad", "seed", "out", "device", "as_json")
    scale = 1.0 if command.scale is None else command.scale
    check_scale(scale)
    run = DatabaseRun.load(command.run, command.device)
    trained = run.training["data"]
    recorded = trained is not None and Path(trained).exists()
    if not recorded and command.data is None:
        raise ValueError(f"DATA must name a database, got none, and that of {command.run} is not at {trained}")
    held_out = command.data if recorded else None
    real = read_database(trained if recorded else command.data, run.schema, skip_bad=run.training["skip_bad"])
    references = real if held_out is None else read_database(held_out, run.schema, skip_bad=bool(command.skip_bad))
    remark = "" if command.data else ", from which the run learned; give DATA that it never saw to measure privacy"
    say(f"references: {references.name}{remark}")
    scores = run.log_prob(references, command.seed, say)
    size = "of the size" if scale == 1 else f"{scale:g} times the size"
    say(f"samples: a new database {size} of the one that the run learned from (scale {scale:g})")
    samples = run.sample(scale, command.seed, say=say)
    judgement = judge_database(real, samples, held_out=held_out, n=command.n, say=say)
    record = {**judgement.record(), "log-probability": _score_record(scores), "privacy": dict(run.privacy)}
    if command.out is not None:
        write_text(command.out, json.dumps(record, indent=1))
    if command.as_json:
        print_line(json.dumps(record, indent=1))
        return
    print_line(f"{screen(judgement, run.schema)}\n")
    _print_scores(run, scores)
    if run.privacy:
        print_line(guarantee_words({"privacy": run.privacy}))
    print_line(f"\na report with pages:\n  fourfold sample {command.run} --out NEW.db\n  fourfold judge REAL NEW.db")


def info(command: Info) -> None:
    """Show the run of a database: its keys and links, and each table with its run."""
    assert command.subject is not None, "the handler asks for it"
    run = DatabaseRun.begun(Path(command.subject))
    tables = {
        table: {
            "rows": plan.rows,
            "most rows of an owner": plan.longest,
            "run": str(folder) if folder.exists() else None,
        }
        for table, plan in run.plans.items()
        for folder in (table_folder(Path(command.subject), table),)
    }
    record = {"schema": run.schema.toml, "tables": tables, **run.training, "privacy": dict(run.privacy)}
    if command.as_json:
        print_line(json.dumps(record, indent=1))
        return
    print_line(f"{command.subject}: {plural(len(run.schema.keys), 'table')} of {run.training['data'] or 'frames'}\n")
    links = tuple(dataclasses.replace(link, reason="") for link in run.schema.links)
    print_line("\n".join(_wrapped(dataclasses.replace(run.schema, links=links, reasons={}))))
    settings = {"paradigm": run.training["paradigm"], **run.training["settings"]}
    print_line("\n" + "\n".join(f"  {name.replace('_', ' '):<16}{value}" for name, value in settings.items()) + "\n")
    for table, row in tables.items():
        print_line(f"{table}: {plan_words(run.plans[table])}; {row['run'] or 'it needs no model, or is not trained'}")
    for table, rows in run.fixed.items():
        print_line(f"{table}: {plural(len(rows), 'row')}, as in the data")
    if run.privacy:
        print_line(guarantee_words({"privacy": run.privacy}))


def refuse(command: Command) -> None:
    """Say which commands the run of a database has.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"RUN must be that of one table, got {getattr(command, 'run', '')}, that of a database: sample, score, "
        "evaluate and impute take it; for other commands fit the table by itself"
    )


def refuse_data(command: Compare) -> None:
    """Say that models are compared on one table.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"data must be one table to compare models on it, got {command.data}, a database; give one of its tables, or "
        "train a model of all by fourfold fit"
    )


def _score_record(scores: Mapping[str, LogProb]) -> dict[str, object]:
    return {table: score_record(result, "nats") for table, result in scores.items()}


def _print_scores(run: DatabaseRun, scores: Mapping[str, LogProb]) -> None:
    """Print the log-probability of each table, and of all."""
    width = max(map(len, scores))
    nouns = {table: "rows" if run.plans[table].alone else "sequences" for table in scores}
    for table, result in scores.items():
        mean = result.mean()[0]
        print_line(
            f"{table:<{width}}  {_total(result):>14,.1f} nats  {result.count_words:>14} {nouns[table]:<9}  "
            f"{mean:>9.3f} each  {result.kind}"
        )
    print_line(f"{'in all':<{width}}  {sum(map(_total, scores.values())):>14,.1f} nats")
    for table, result in scores.items():
        if remainder := result.remainder(nouns[table]):
            print_line(f"{table}: {remainder}")


def _total(result: LogProb) -> float:
    """The sum of the log-probabilities of examples that hold only values of the space."""
    return float(result.nats[result.inside].sum())


def judge(command: Judge) -> None:
    """Judge a synthetic database: one report for each view of it, and a first page."""
    _refuse(command, "real", "synthetic", "held_out", "n", "out", "threads", "as_json", "data_options")
    folder = command.out.with_suffix("")
    if folder.exists():
        raise DataError(f"--out must be a new folder, got {folder}, which exists; name another")
    schema, doubtful = _reading(command.data_options)
    real = read_database(command.real, schema, skip_bad=True, doubtful=doubtful)
    for note in real.notes:
        say(note)
    judgement = judge_database(real, command.synthetic, held_out=command.held_out, n=command.n, out=folder, say=say)
    page = write_page(judgement, real.schema, folder)
    if command.as_json:
        print_line(json.dumps(judgement.record(), indent=1))
    else:
        print_line(screen(judgement, real.schema))
        print_line(f"report: {page}")


def _refuse(command: Command, *names: str) -> None:
    """Refuse options that mean nothing for a database.

    Raises:
        ValueError: naming the first.
    """
    for item in fields(command):
        default = {} if item.default is MISSING else item.default
        value = getattr(command, item.name)
        if item.name not in names and value not in (default, None, {}):
            raise ValueError(f"--{item.name.replace('_', '-')} must be left out for a database, got {value!r}")


def _reading(options: DataKeywords, *more: str) -> tuple[Any, bool]:
    """The options of reading that a database has: the file of its schema, and whether bad rows are left out.

    Args:
        options: of the command.
        more: other options that the command itself reads.

    Raises:
        ValueError: for another option.
    """
    other = sorted(options.keys() - {"schema", "skip_bad", *more})
    if other:
        reads = ", ".join(f"--{name.replace('_', '-')}" for name in ("schema", "skip_bad", *more))
        raise ValueError(f"{option(other[0])} must be left out for a database, which reads {reads}")
    return options.get("schema"), bool(options.get("skip_bad"))


def _given(texts: Sequence[str], run: DatabaseRun) -> dict[str, pd.DataFrame] | None:
    """The tables that --given names: each a file, after which the table is called, or ``table=FILE``.

    Raises:
        DataError: for another table, or a file that cannot be read.
    """
    frames = {}
    for text in texts:
        table, _, name = text.rpartition("=")
        path = Path(name)
        table = table or stem_of(path)
        if table not in run.plans:
            raise DataError(
                f"--given must be a file named after a table, or TABLE=FILE, got {text!r}: tables are "
                f"{shortened(run.plans)}"
            )
        frames[table] = raw_frame(path)[0]
    return frames or None


def _description(database: Database) -> str:
    """The tables with their sizes, then keys and links."""
    head = f"{database.name}: {plural(len(database.frames), 'table')}, {plural(len(database.schema.links), 'link')}"
    width = max(map(len, database.frames))
    sizes = [
        f"  {table:<{width}}  {len(frame):>9,} rows  {frame.shape[1] - len(database.schema.joint(table)):>3} columns"
        for table, frame in database.frames.items()
    ]
    notes = [f"note: {note}" for note in database.notes]
    return "\n".join([head, *sizes, "", *_wrapped(database.schema), *notes])


def _wrapped(schema: Schema) -> list[str]:
    """Keys and links. The reason of a long line stands below it."""
    lines = []
    for line in str(schema).splitlines():
        text, _, reason = line.partition(" (")
        lines += [line] if len(line) <= 80 else [text, f"      {reason.removesuffix(')')}"]
    return lines


def _key_record(columns: Sequence[str]) -> str | list[str] | None:
    """A key as a JSON value."""
    return None if not columns else columns[0] if len(columns) == 1 else [*columns]


def _record(database: Database) -> dict[str, object]:
    schema = database.schema
    return {
        "data": database.name,
        "tables": {
            table: {
                "rows": len(frame),
                "columns": [name for name in frame if name not in schema.joint(table)],
                "key": _key_record(schema.key_columns(table)),
                "links": {link.column: link.parent for link in schema.links_of(table)},
            }
            for table, frame in database.frames.items()
        },
        "notes": list(database.notes),
    }
