"""Commands for models of tables: ``impute`` and ``classify``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed
from fourfold.cli.printing import print_data, print_line, say
from fourfold.machine.threads import set_threads

if TYPE_CHECKING:
    from torch import Tensor

    from fourfold.engine import Run
    from fourfold.tasks.classifying import ClassifierScores

__all__ = ["classify", "impute"]


def impute(
    run: Folder,
    data: Annotated[str, typer.Argument(help="A table with gaps.", show_default=False)],
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="Fill only the gaps of these, as in income,city. It may be given several times.", show_default="all"
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="The most seconds; rows that are then left are skipped.", min=0, metavar="X")
    ] = 300.0,
    seed: Seed = 0,
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Write to a .csv, .tsv, .parquet or .feather, or to standard output (-)."),
    ] = "-",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Fill the missing values of a table by draws given its other values.

    Each gap is one draw from the model's conditional distribution; nothing else
    changes. Several seeds give several tables, which show how sure it is.

    Gaps that the model expects (that are more likely than not) stay empty, and
    are counted. Rows that cannot be filled are named.
    """
    set_threads()
    from fourfold.engine import Run

    if as_json and out == "-":
        raise ValueError("--json and --out - both write to standard output: leave one out")
    loaded = Run.load(run, device)
    chosen = _names(columns or [], loaded.model.space.columns)
    found = loaded.impute(data, seed, columns=chosen, patience=patience, say=say)
    for note in found.notes:
        say(note)
    if out == "-":
        print_data(found.table.to_csv(index=False, header=found.header, lineterminator="\n").rstrip("\n"))
    else:
        _write(Path(out), found.table, found.header)
    if as_json:
        skipped = [dataclasses.asdict(one) for one in found.skipped]
        record = {"written": out, "filled": found.filled, "empty": found.empty, "skipped": skipped}
        print_line(json.dumps(record))
        return
    for line in found.remarks():
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
        raise ValueError(f"{path}: a table is not written so: choose a name that ends in {', '.join(writers)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    writers[path.suffix.lower()]()


def classify(
    run: Folder,
    data: OtherData = None,
    target: Annotated[
        str, typer.Option(help="The column to predict from all others.", show_default=False, metavar="COLUMN")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option("-n", "--n", help="The most rows to classify.", min=1, show_default="all", metavar="N"),
    ] = None,
    beside: Annotated[
        bool,
        typer.Option(
            "--beside/--alone", help="Also train logistic regression and gradient boosting on the run's training rows."
        ),
    ] = True,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the probabilities of each row to this .csv.", show_default=False),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict a column of a table by Bayes' rule, from the joint distribution.

    p(y | x) is p(x, y) / sum of p(x, y') over all levels y'. If the data holds
    the column, accuracy, log-loss and the area under the curve are shown, beside
    those of classifiers that are trained on the same rows. Without data, the test
    split of the run's own data is classified.
    """
    if not target:
        raise typer.BadParameter("give the column to predict: --target COLUMN")
    set_threads()
    from fourfold.engine import Run
    from fourfold.tasks.classifying import judge, target_of

    loaded = Run.load(run, device)
    column, place = target_of(loaded.model, target)
    x, known = _rows(loaded, data, target, place, limit)
    p = loaded.classify(x, target, seed)
    if out is not None:
        _write(out, _probabilities(p, column.levels, x[:, place].tolist() if known else None), True)
    labelled = x[:, place] >= 0 if known else x[:, place] < 0
    judged = []
    if known and bool(labelled.any()):
        name = f"this run, {loaded.model.paradigm}"
        judged = [judge(name, p[labelled], x[labelled, place], seed)]
        if beside:
            judged += list(_others(loaded, x[labelled], place, seed))
    else:
        say(f"{data} has no column {target!r}, so nothing tells how right this is")
    if as_json:
        print_line(json.dumps({"rows": len(x), "scores": [dataclasses.asdict(one) for one in judged]}, indent=1))
        return
    if judged:
        print_line(_scores(judged, int(labelled.sum()), target))
    if len(judged) > 1:
        print_line(_verdict(judged[0], judged[1:], target))
    if out is not None:
        print_line(out)


def _rows(run: Run, data: str | None, target: str, place: int, limit: int | None) -> tuple[Tensor, bool]:
    """The rows to classify, and whether they hold the target."""
    from fourfold.data import DataError
    from fourfold.data.tables import raw_frame
    from fourfold.spaces.columns import UNSEEN

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


def _others(run: Run, x: Tensor, place: int, seed: int) -> Iterator[ClassifierScores]:
    """The same figures of other classifiers, if the training data is at hand."""
    from fourfold.data import DataError
    from fourfold.tasks.classifying import judge, rivals

    try:
        train = run.dataset().train.x
    except (DataError, ValueError, LookupError) as error:
        say(f"no other classifiers: {error}")
        return
    for name, p in rivals(run.model.space, train, x, place, seed):  # type: ignore[arg-type]
        yield judge(name, p, x[:, place], seed)


def _probabilities(p: Tensor, levels: Sequence[str], truth: list[int] | None) -> Any:
    """A data frame with the most probable level of each row and the probabilities of all."""
    import pandas as pd

    table = pd.DataFrame({"row": range(1, len(p) + 1)})
    if truth is not None:
        table["true"] = [levels[level] if level >= 0 else "" for level in truth]
    table["predicted"] = [levels[level] for level in p.argmax(1).tolist()]
    for k, level in enumerate(levels):
        table[f"p({level})"] = p[:, k].numpy().round(6)
    return table


def _verdict(own: ClassifierScores, others: Sequence[ClassifierScores], target: str) -> str:
    """Whether a classifier that is trained directly does better, by its log-loss and the intervals over rows."""
    best = min(others, key=lambda one: one.log_loss[0])
    if best.log_loss[0] < own.log_loss[1]:
        return f"{best.name} does better here: to predict {target} alone, train a classifier directly"
    if own.log_loss[0] < best.log_loss[1]:
        return "this run does better here than classifiers that are trained directly"
    return f"these rows do not tell this run and {best.name} apart"


def _scores(judged: Sequence[ClassifierScores], rows: int, target: str) -> str:
    lines = [f"{target} of {rows:,} rows, with 95 % intervals over rows (bootstrap)"]
    lines += [f"{'':<26}{'accuracy':<21}{'log-loss, nats':<21}AUC"]
    for one in judged:
        cells = [f"{value:.3f} ({low:.3f}, {high:.3f})" for value, low, high in (one.accuracy, one.log_loss, one.auc)]
        lines.append(f"{one.name[:25]:<26}" + "".join(f"{cell:<21}" for cell in cells).rstrip())
    return "\n".join(lines)
