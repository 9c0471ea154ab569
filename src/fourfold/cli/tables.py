"""The work of ``impute`` and ``classify``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from torch import Tensor

from fourfold import tasks
from fourfold.cli.commands.tables import Classify, Impute
from fourfold.cli.printing import print_data, print_line, say
from fourfold.data import DataError
from fourfold.data.tables import raw_frame
from fourfold.engine import Run
from fourfold.spaces.columns import UNSEEN
from fourfold.tasks.classifying import ClassifierScores, target_of

__all__ = ["classify", "impute"]


def impute(command: Impute) -> None:
    """Fill the gaps of a table, write it, and say what stays empty."""
    out = command.out
    if command.as_json and out == "-":
        raise ValueError("--json and --out - both write to standard output; leave one out")
    run = Run.load(command.run, command.device)
    columns = _names(command.columns or [], run.model.space.columns)
    imputed = tasks.impute(run.model, command.data, command.seed, columns=columns, patience=command.patience, say=say)
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


def _names(texts: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns that are named, each text a column or several between commas."""
    return [name for text in texts for name in ([text] if text in columns else text.split(","))]


def _write(path: Path, table: Any, header: bool) -> None:
    writers = {
        ".csv": lambda: table.to_csv(path, index=False, header=header, lineterminator="\n"),
        ".tsv": lambda: table.to_csv(path, index=False, header=header, sep="\t", lineterminator="\n"),
        ".parquet": lambda: table.to_parquet(path, index=False),
        ".feather": lambda: table.to_feather(path),
    }
    if path.suffix.lower() not in writers:
        raise ValueError(f"--out must end in {', '.join(writers)}, got {path}; choose such a name")
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[path.suffix.lower()]()


def classify(command: Classify) -> None:
    """Classify rows, and compare with classifiers that are trained on the same rows."""
    target, out = command.target, command.out
    if not target:
        raise typer.BadParameter("give the column to predict: --target COLUMN")
    run = Run.load(command.run, command.device)
    column, place = target_of(run.model, target)
    x, has_target = _rows(run, command.data, target, place, command.limit)
    p = tasks.classify(run.model, x, target, command.seed)
    if out is not None:
        _write(out, _probabilities(p, column.categories, x[:, place].tolist() if has_target else None), True)
    labelled = x[:, place] >= 0 if has_target else x[:, place] < 0
    scores = []
    if has_target and bool(labelled.any()):
        name = f"this run, {run.model.paradigm}"
        scores = [tasks.judge(name, p[labelled], x[labelled, place], command.seed)]
        if command.beside:
            scores += list(_rival_scores(run, x[labelled], place, command.seed))
    else:
        say(f"{command.data} has no column {target!r}, so the predictions cannot be checked")
    if command.as_json:
        print_line(json.dumps({"rows": len(x), "scores": [dataclasses.asdict(score) for score in scores]}, indent=1))
        return
    if scores:
        print_line(_scores(scores, int(labelled.sum()), target))
    if len(scores) > 1:
        print_line(_verdict(scores[0], scores[1:], target))
    if out is not None:
        print_line(out)


def _rows(run: Run, data: str | None, target: str, place: int, limit: int | None) -> tuple[Tensor, bool]:
    """The rows to classify, and whether they hold the target."""
    if data is not None and Path(data).exists():
        frame, header = raw_frame(data)
        if header and target not in map(str, frame.columns):
            frame[target] = None
            relaxed = frame.replace("", None)
            try:
                x = run.examples(relaxed, limit=limit)[0].x
            except DataError as error:
                raise DataError(str(error).replace("<data in memory>", str(data))) from None
            x[:, place] = UNSEEN
            return x, False
    part, notes = run.examples(data, limit=limit)
    for note in notes:
        say(note)
    return part.x, True


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
    lines = [f"{target} of {rows:,} rows, with 95 % intervals over rows (bootstrap)"]
    lines += [f"{'':<26}{'accuracy':<21}{'log-loss, nats':<21}AUC"]
    for score in scores:
        figures = (score.accuracy, score.log_loss, score.auc)
        cells = [f"{value:.3f} ({low:.3f}, {high:.3f})" for value, low, high in figures]
        lines.append(f"{score.name[:25]:<26}" + "".join(f"{cell:<21}" for cell in cells).rstrip())
    return "\n".join(lines)
