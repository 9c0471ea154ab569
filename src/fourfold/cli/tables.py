"""The work of ``impute`` and ``classify``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer
from torch import Tensor

from fourfold import tasks
from fourfold.cli.commands.tables import Classify, Impute
from fourfold.cli.printing import print_data, print_line, say
from fourfold.data import DataError
from fourfold.data.packed import kind_of
from fourfold.data.tables import raw_frame
from fourfold.data.writers import write_json_lines, write_workbook
from fourfold.engine import Run
from fourfold.spaces.columns import UNSEEN
from fourfold.tasks.classifying import ClassifierScores, classes_of, places_among, target_of

__all__ = ["check_output", "classify", "impute", "named_columns", "write_imputed"]


def impute(command: Impute) -> None:
    """Fill the gaps of a table, write it, and say what stays empty."""
    check_output(command)
    run = Run.load(command.run, command.device)
    columns = named_columns(command, run.model.space.columns)
    imputed = tasks.impute(run.model, command.data, command.seed, columns=columns, patience=command.patience, say=say)
    write_imputed(command, imputed)


def check_output(command: Impute) -> None:
    """Refuse to write a table and a record to one output (``ValueError``)."""
    if command.as_json and command.out == "-":
        raise ValueError("--out must be a file with --json, got -, which is standard output too")


def write_imputed(command: Impute, imputed: tasks.Imputed) -> None:
    """Write a table whose gaps are filled, and say what stays empty."""
    out = command.out
    for note in imputed.notes:
        say(note)
    if out == "-":
        print_data(imputed.table.to_csv(index=False, header=imputed.header, lineterminator="\n").rstrip("\n"))
    else:
        _write(Path(out), imputed.table, imputed.header)
    if command.as_json:
        skipped = [dataclasses.asdict(row) for row in imputed.skipped]
        print_line(json.dumps({"written": out, "filled": imputed.filled, "empty": imputed.empty, "skipped": skipped}))
        return
    for line in imputed.remarks():
        say(line)
    if out != "-":
        print_line(out)


def named_columns(command: Impute, columns: Sequence[str]) -> list[str]:
    """The columns that ``--columns`` names, each text a column or several between commas."""
    return [name for text in command.columns or [] for name in ([text] if text in columns else text.split(","))]


def _write(path: Path, table: Any, header: bool) -> None:
    writers: dict[str, Callable[[], None]] = {
        ".csv": lambda: table.to_csv(path, index=False, header=header, lineterminator="\n"),
        ".tsv": lambda: table.to_csv(path, index=False, header=header, sep="\t", lineterminator="\n"),
        ".parquet": lambda: table.to_parquet(path, index=False),
        ".feather": lambda: table.to_feather(path),
        ".jsonl": lambda: write_json_lines(path, table),
        ".xlsx": lambda: write_workbook(path, table, header),
    }
    if kind_of(path) not in writers:
        raise ValueError(f"--out must end in {', '.join(writers)}, got {path}; choose such a name")
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[kind_of(path)]()


def classify(command: Classify) -> None:
    """Classify rows, and compare with classifiers that are trained on the same rows, or examples by their classes."""
    out, run = command.out, Run.load(command.run, command.device)
    target: str | None = command.target or None
    classes, categories = classes_of(run.model.space)
    if target is None and not categories and run.model.space.columns:
        raise typer.BadParameter("--target must name the column to predict, got none")
    if target is None:
        place = None
        x, cond = _examples(run, command.data, command.limit, bool(command.skip_bad))
        y = None if cond is None else places_among(classes, cond)
    else:
        column, place = target_of(run.model, target)
        categories = column.categories
        x, has_target = _rows(run, command.data, target, place, command.limit, bool(command.skip_bad))
        y = x[:, place] if has_target else None
    p = tasks.classify(run.model, x, target, command.seed)
    if out is not None:
        _write(out, _probabilities(p, categories, None if y is None else y.tolist()), True)
    scores: list[ClassifierScores] = []
    labelled = torch.zeros(len(x), dtype=torch.bool) if y is None else y >= 0
    if y is not None and bool(labelled.any()):
        name = f"this run, {run.model.paradigm}"
        scores = [tasks.judge(name, p[labelled], y[labelled], command.seed)]
        if command.beside and place is not None:
            scores += list(_rival_scores(run, x[labelled], place, command.seed))
    else:
        missing = "no classes" if target is None else f"no column {target!r}"
        say(f"{command.data} has {missing}, so the predictions cannot be checked")
    if command.as_json:
        print_line(json.dumps({"rows": len(x), "scores": [dataclasses.asdict(score) for score in scores]}, indent=1))
        return
    if scores:
        print_line(_scores(scores, int(labelled.sum()), target or "class"))
    elif out is None:
        print_data(_probabilities(p, categories, None).to_csv(index=False, lineterminator="\n").rstrip("\n"))
    if target is not None and len(scores) > 1:
        print_line(_verdict(scores[0], scores[1:], target))
    if out is not None:
        print_line(out)


def _examples(run: Run, data: str | None, limit: int | None, skip_bad: bool) -> tuple[Tensor, Tensor | None]:
    """The examples to classify, and their classes where the data has them."""
    part, notes = run.examples(data, limit=limit, skip_bad=skip_bad)
    for note in notes:
        say(note)
    return part.x, part.cond


def _rows(
    run: Run, data: str | None, target: str, place: int, limit: int | None, skip_bad: bool
) -> tuple[Tensor, bool]:
    """The rows to classify, and whether they hold the target."""
    if data is not None and Path(data).exists():
        frame, header = raw_frame(data)
        if header and target not in map(str, frame.columns):
            frame[target] = None
            relaxed = frame.replace("", None)
            try:
                x = run.examples(relaxed, limit=limit, skip_bad=skip_bad)[0].x
            except DataError as error:
                raise DataError(str(error).replace("<data in memory>", str(data))) from None
            x[:, place] = UNSEEN
            return x, False
    return _examples(run, data, limit, skip_bad)[0], True


def _rival_scores(run: Run, x: Tensor, place: int, seed: int) -> Iterator[ClassifierScores]:
    """The same figures of other classifiers, if the training data is at hand."""
    try:
        train = run.dataset().train.x
    except (DataError, ValueError, LookupError) as error:
        say(f"no other classifiers: {error}")
        return
    for name, p in tasks.classifiers(run.model.space, train, x, place, seed):  # type: ignore[arg-type]
        yield tasks.judge(name, p, x[:, place], seed)


def _probabilities(p: Tensor, categories: Sequence[str], truth: list[int] | None) -> Any:
    """A data frame with the most probable category of each row and the probabilities of all."""
    table = pd.DataFrame({"row": range(1, len(p) + 1)})
    if truth is not None:
        table["true"] = [categories[code] if code >= 0 else "" for code in truth]
    table["predicted"] = [categories[code] for code in p.argmax(1).tolist()]
    for k, category in enumerate(categories):
        table[f"p({category})"] = p[:, k].numpy().round(6)
    return table


def _verdict(run: ClassifierScores, rivals: Sequence[ClassifierScores], target: str) -> str:
    """Name the better of a run and the best rival, by log-loss and the intervals over rows."""
    best = min(rivals, key=lambda rival: rival.log_loss[0])
    if best.log_loss[0] < run.log_loss[1]:
        return f"{best.name} does better here: to predict {target} alone, train a classifier directly"
    if run.log_loss[0] < best.log_loss[1]:
        return "this run does better here than classifiers that are trained directly"
    return f"this run and {best.name} are not significantly different on these rows"


def _scores(scores: Sequence[ClassifierScores], rows: int, target: str) -> str:
    """A table of the scores of classifiers, with their intervals."""
    lines = [f"{target} of {rows:,} examples, with 95 % intervals over rows (bootstrap)"]
    rows_of_cells = [["", "accuracy", "log-loss, nats", "AUC"]]
    for score in scores:
        figures = (score.accuracy, score.log_loss, score.auc)
        cells = [f"{value:#.3g} ({low:#.3g}, {high:#.3g})" for value, low, high in figures]
        rows_of_cells.append([score.name[:25], *cells])
    widths = [max(map(len, column)) + 1 for column in zip(*rows_of_cells, strict=True)]
    lines += ["".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip() for cells in rows_of_cells]
    return "\n".join(lines)
