"""The work of commands for databases."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from fourfold.cli.command import Command
from fourfold.cli.commands.compare import Judge
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Sample, ScoreExamples
from fourfold.cli.commands.train import Fit
from fourfold.cli.data import print_rules
from fourfold.cli.printing import print_line, say, write_text
from fourfold.cli.train import new_folder
from fourfold.core import LogProb
from fourfold.data.errors import DataError, option
from fourfold.data.tables import raw_frame
from fourfold.engine import Interrupted
from fourfold.output.printable import plural, shortened
from fourfold.privacy import guarantee_words
from fourfold.settings.data import DataKeywords
from fourfold.tasks.scores import score_record
from fourfold_databases.database import Database, read_database
from fourfold_databases.fitting import fit_database
from fourfold_databases.judging import judge_database
from fourfold_databases.page import write_page
from fourfold_databases.rules import rules_of
from fourfold_databases.run import DatabaseRun
from fourfold_databases.schema import Schema
from fourfold_databases.writing import check_new, write_database

__all__ = ["data", "fit", "judge", "sample", "score"]


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
    schema, skip_bad = _reading(command.data_options, "text_model")
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
    write_database(path, frames, run.schema)
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
        print_line(json.dumps({table: score_record(result, "nats") for table, result in scores.items()}, indent=1))
        return
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
    real = read_database(command.real, _reading(command.data_options)[0], skip_bad=True)
    for note in real.notes:
        say(note)
    judgement = judge_database(real, command.synthetic, held_out=command.held_out, n=command.n, out=folder, say=say)
    page = write_page(judgement, real.schema, folder)
    if command.as_json:
        print_line(json.dumps(judgement.record(), indent=1))
    else:
        print_line(judgement)
        print_line(f"report: {page}")


def _score_record(result: LogProb) -> dict[str, object]:
    return {
        "nats": float(result.nats.sum()),
        "examples": len(result.nats),
        "mean": float(result.nats.mean()),
        "kind": str(result.kind),
    }


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
        raise ValueError(f"{option(other[0])} must be left out for a database, which reads --schema and --skip-bad")
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
        table = table or path.stem
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
