"""The declarations of ``sample``, ``score`` and ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.cli.command import Command, opening_of
from fourfold.cli.options import (
    AsJson,
    BatchRows,
    Device,
    Features,
    Folder,
    Labels,
    OtherConditions,
    OtherData,
    Seed,
    SkipBad,
    Temperature,
    TopK,
    TopP,
    tabular,
    textual,
)

__all__ = ["Evaluate", "Sample", "ScoreExamples"]


@final
@dataclass(frozen=True, kw_only=True)
class Sample(Command):
    """Draw samples from a run.

    Only the run folder is needed, not the data it was trained on. A published
    model serves as well, if an installed adapter opens it.

    --given is the condition of a conditional model: a class, a text, values of
    columns, or a file or folder of conditions. -n samples are drawn for each.

    Samples of a table have its columns, formats and categories. --given also
    fixes values of them, --balance gives categories equal shares, and --require
    keeps the draws that meet a condition, and prints their share.
    """

    work = "fourfold.cli.runs:sample"

    run: Folder
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--n",
            help="Number of samples, or of samples for each condition.",
            min=1,
            show_default="64 in all, or 1 for each prefix of a text",
            metavar="N",
        ),
    ] = None
    scale: Annotated[
        float | None,
        typer.Option(
            help="Number of samples as a multiple of the training examples.", show_default="by -n", metavar="X"
        ),
    ] = None
    given: Annotated[
        list[str] | None,
        typer.Option(
            help="The condition: a class by name or number, a text, column=value, or a file or folder. Can be "
            "repeated. For a table, also a value or range of a column: age=30..40. For a model of text, its prefix. "
            "For a model of sequences, a file of the rows to go on from.",
            show_default="none",
            metavar="WHAT",
        ),
    ] = None
    balance: Annotated[
        str | None,
        tabular(help="A column whose categories get equal shares."),
    ] = None
    require: Annotated[
        list[str] | None,
        tabular(
            help="A condition that every sample meets, such as 'start <= end'. Can be repeated.",
        ),
    ] = None
    skip_bad: SkipBad = None
    seed: Seed = 0
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to a .png (a grid), .wav, .npy, .npz, .csv, .xlsx, .jsonl, .parquet or .txt, to a folder of "
            "PNGs or WAVs, or to standard output (-).",
            show_default="a file in the run folder; text is printed",
        ),
    ] = None
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Another sampler, such as Heun, UniPC or EulerMaruyama. AsDraw draws samples of a model that shows "
            "medians.",
            show_default="the model's own",
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of the sampler, if it has steps.", min=1, show_default="the model's own", metavar="N"),
    ] = None
    guidance: Annotated[
        float | None, typer.Option(help="Scale of classifier-free guidance.", show_default="none", metavar="X")
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Number of examples in memory at once.", min=1, metavar="N", show_default="256, or 1,024 small ones"
        ),
    ] = None
    length: Annotated[
        int | None,
        textual(
            help="The most tokens of a text, or the rows that follow those of a series.",
            min=1,
            show_default="a window, half a window",
            metavar="N",
        ),
    ] = None
    temperature: Temperature = 1.0
    top_k: TopK = None
    top_p: TopP = None
    min_p: Annotated[
        float | None,
        textual(
            help="Draw among tokens of at least this share of the likeliest one's mass.",
            show_default="all",
            metavar="X",
        ),
    ] = None
    repetition_penalty: Annotated[
        float,
        textual(help="Make tokens that the text already holds less likely.", metavar="X"),
    ] = 1.0
    stop: Annotated[
        list[str] | None,
        textual(help="String that ends a text. Can be repeated."),
    ] = None
    fill: Annotated[
        str | None,
        textual(
            help="Text with gaps such as {8}, which stands for 8 tokens, for a masked diffusion of text.",
            show_default=False,
        ),
    ] = None
    precision: Annotated[str, typer.Option(help="float32, bf16 or autocast.")] = "float32"
    opening: Annotated[dict[str, Any], opening_of()]
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class ScoreExamples(Command):
    """Score examples: their log-probability and its kind (exact, bound, ...).

    Files are read as for training. Columns of a table are found by name.

    A conditional model scores log p(x | c) if the data has conditions, or --given
    names them.

    The file of --out has the log-probability of each row. For the 1,000 least
    likely rows of a table, it names the columns that make them unusual, if the
    model tells the distribution of one column given all others.
    """

    work = "fourfold.cli.runs:score"

    run: Folder
    data: OtherData = None
    split: Annotated[
        str | None,
        typer.Option(
            help="Score only the train, validation or test split of the data.",
            show_default="test for the run's data and built-in sets, everything for a file",
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option("-n", "--n", help="The most examples to score.", min=1, show_default="all", metavar="N"),
    ] = None
    labels: Labels = None
    given: OtherConditions = None
    skip_bad: SkipBad = None
    seed: Seed = 0
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="Write one line per example to a .csv, or to standard output (-)."),
    ] = None
    draws: Annotated[
        int,
        typer.Option(
            help="Encodings of each example to average, for models that encode at random (dequantisation).",
            min=1,
            metavar="N",
        ),
    ] = 2
    batch_size: BatchRows = 256
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class Evaluate(Command):
    """Measure a run: likelihood, quality, coverage, memorisation and cost.

    Each score has an interval and a floor, the score of training examples. The
    references are the test split of the run's own data and of built-in sets, and
    all examples of anything else.

    Files are read as for training. Columns of a table are found by name.
    """

    work = "fourfold.cli.runs:evaluate"

    run: Folder
    data: OtherData = None
    n: Annotated[int, typer.Option("-n", "--n", help="The most samples and references.", min=2, metavar="N")] = 2000
    scale: Annotated[
        float | None,
        typer.Option(help="Size of a new database, as a multiple of the training one.", show_default="1", metavar="X"),
    ] = None
    labels: Labels = None
    given: OtherConditions = None
    skip_bad: SkipBad = None
    seed: Seed = 0
    features: Features = None
    patience: Annotated[
        float | None,
        typer.Option(
            help="The most seconds for sampling, and again for scoring.",
            min=0,
            show_default="no limit; 120 for a published model",
            metavar="X",
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the scores to this .json.", show_default=False)
    ] = None
    opening: Annotated[dict[str, Any], opening_of()]
    device: Device = "auto"
    as_json: AsJson = False
