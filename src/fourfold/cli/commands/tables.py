"""The declarations of ``impute`` and ``classify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

from fourfold.cli.command import Command
from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed, SkipBad

__all__ = ["Classify", "Impute"]


@final
@dataclass(frozen=True, kw_only=True)
class Impute(Command):
    """Fill the missing values of a table by draws given its other values.

    Each gap is one draw from the model's conditional distribution. Nothing else
    changes. Several seeds give several tables, which show how sure it is.

    Gaps that the model expects (that are more likely than not) stay empty, and
    are counted. Rows that cannot be filled are named.
    """

    work = "fourfold.cli.tables:impute"

    run: Folder
    data: Annotated[str, typer.Argument(help="A table with gaps: a file or a built-in set.", show_default=False)]
    columns: Annotated[
        list[str] | None,
        typer.Option(help="Fill only the gaps of these, as in income,city. Can be repeated.", show_default="all"),
    ] = None
    patience: Annotated[
        float, typer.Option(help="The most seconds; rows that are then left are skipped.", min=0, metavar="X")
    ] = 300.0
    seed: Seed = 0
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="Write to a .csv, .tsv, .xlsx, .jsonl, .parquet or .feather, or to standard output (-)."
        ),
    ] = "-"
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class Classify(Command):
    """Predict a column of a table, or the class of any example, by Bayes' rule.

    For a column, p(y | x) is p(x, y) / sum of p(x, y') over all categories y'.
    For a model given classes, it is p(x | y) / sum of p(x | y'), with classes
    equally likely. If the data holds the answers, accuracy, log-loss and the area
    under the curve are shown, for a column beside classifiers that are trained on
    the same rows. Without data, the test split of the run's data is classified.
    """

    work = "fourfold.cli.tables:classify"

    run: Folder
    data: OtherData = None
    target: Annotated[
        str,
        typer.Option(
            help="The column of a table to predict from all others.", show_default="the class", metavar="COLUMN"
        ),
    ] = ""
    limit: Annotated[
        int | None,
        typer.Option("-n", "--n", help="The most rows to classify.", min=1, show_default="all", metavar="N"),
    ] = None
    beside: Annotated[
        bool,
        typer.Option(
            "--beside/--alone",
            help="Also train logistic regression and gradient boosting on the run's training rows.",
        ),
    ] = True
    skip_bad: SkipBad = None
    seed: Seed = 0
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the probabilities of each row to this .csv.", show_default=False),
    ] = None
    device: Device = "auto"
    as_json: AsJson = False
