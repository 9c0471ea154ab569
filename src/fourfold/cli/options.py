"""Options that several commands share, each declared once: its name, range, help and default. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.runs.declaration import DEVICE, FEATURES, SEED, Option

__all__ = [
    "AsJson",
    "BatchRows",
    "Data",
    "DataOptions",
    "Device",
    "Features",
    "Folder",
    "Labels",
    "OtherData",
    "Report",
    "RunsDir",
    "Seed",
    "SkipBad",
    "Temperature",
    "Threads",
    "TopK",
    "TopP",
    "Weights",
    "cluster",
    "declared",
    "tabular",
    "textual",
]

cluster = partial(typer.Option, rich_help_panel="Cluster options")
"""Declares an option in the panel of clusters. The others do the same for theirs."""
textual = partial(typer.Option, rich_help_panel="Options for text")
tabular = partial(typer.Option, rich_help_panel="Options for tables")
_reading = partial(typer.Option, rich_help_panel="Data options")

_SETS = "A built-in set (see 'fourfold data'), a file, or a folder of images or sounds."
Data = Annotated[str | None, typer.Argument(help=_SETS, show_default=False)]
OtherData = Annotated[str | None, typer.Argument(help=_SETS, show_default="the run's training data")]
Folder = Annotated[Path, typer.Argument(help="The folder of a run, or a published language model.", show_default=False)]
RunsDir = Annotated[Path, typer.Option(help="The folder of all runs.")]
Report = Annotated[
    Path, typer.Option("--out", "-o", help="The report. Its numbers are written beside it, as results.json.")
]


def declared(option: Option, default: bool = True) -> Any:
    """A declared setting as an option of Typer, whose help shows its default or, without one, the words for it."""
    return typer.Option(
        *option.flags,
        help=option.help,
        min=option.min,
        metavar=option.metavar,
        show_default=True if default or option.show_default is None else option.show_default,
        rich_help_panel=option.panel or None,
    )


Seed = Annotated[int, declared(SEED)]
Device = Annotated[str, declared(DEVICE)]

Threads = Annotated[
    int | None,
    typer.Option(help="Number of threads.", min=1, metavar="N", show_default="as many as there are free cores"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
BatchRows = Annotated[int, typer.Option(help="Number of examples in memory at once.", min=1, metavar="N")]
Features = Annotated[str | None, declared(FEATURES, False)]
Weights = Annotated[
    str,
    textual(
        help="float32, or int8: round the linear layers of a published language model. It is then faster, and another "
        "model."
    ),
]
Temperature = Annotated[float, textual(help="Divide logits by this number.", metavar="X")]
TopK = Annotated[int | None, textual(help="Draw among the N likeliest tokens.", show_default="all", metavar="N")]
TopP = Annotated[
    float | None,
    textual(help="Draw among the likeliest tokens up to this mass.", show_default="all", metavar="X"),
]
Labels = Annotated[
    str | None,
    _reading(help="Where the classes are: a column of a table, an array of an .npz, or a file for an .npy."),
]
SkipBad = Annotated[
    bool | None, _reading("--skip-bad", help="Leave out images and sounds that cannot be read, and list them.")
]


@final
@dataclass(frozen=True)
class DataOptions:
    """The arguments of :func:`fourfold.load` as options of the command line; ``None`` for those not given."""

    labels: Labels = None
    conditional: Annotated[
        bool | None, _reading("--conditional", help="Learn to draw examples of a class or caption.")
    ] = None
    limit: Annotated[
        int | None,
        _reading(help="The most examples, or tokens of a text, to use.", min=1, show_default="all", metavar="N"),
    ] = None
    image_size: Annotated[
        int | None,
        _reading(
            help="Resize images to this height and width; the longer side is cropped.",
            min=1,
            show_default="the size of most images",
            metavar="N",
        ),
    ] = None
    channels: Annotated[
        int | None,
        _reading(
            help="Convert images to grey (1) or colour (3).",
            min=1,
            max=3,
            show_default="3 if any image has colour",
            metavar="N",
        ),
    ] = None
    rate: Annotated[
        int | None,
        _reading(
            help="Resample sounds to this number of samples per second.",
            show_default="that of most files, at most 8000",
            metavar="HZ",
        ),
    ] = None
    seconds: Annotated[
        float | None,
        _reading(
            help="Length of a clip of sound; longer files are cut into pieces.",
            show_default="the longest file, at most 2; with transcripts, the longest file",
            metavar="X",
        ),
    ] = None
    levels: Annotated[
        int | None,
        _reading(
            help="Number of values that a pixel of an array can take.", min=2, max=256, show_default="256", metavar="N"
        ),
    ] = None
    skip_bad: SkipBad = None
    stream: Annotated[
        bool | None, _reading("--stream", help="Leave images or an .npy on disk, and read them while training.")
    ] = None
    length: Annotated[
        int | None,
        _reading(
            help="Tokens in a window of text, or the most rows of a sequence.", min=2, show_default="256", metavar="N"
        ),
    ] = None
    tokens: Annotated[
        str | None,
        _reading(
            help="Tokens of a text: chars, bytes, bpe:4096 (pieces of words), or the path of a tokenizer.json.",
            show_default="chars, if at most 256 differ; else bytes",
        ),
    ] = None
    text: Annotated[
        str | None,
        _reading(
            help="Field of a .jsonl, or column of a table, that holds the documents.",
            show_default="text",
            metavar="NAME",
        ),
    ] = None
    fractions: Annotated[
        str | None,
        _reading(
            help="Shares of the training, validation and test split.",
            show_default="0.8,0.1,0.1, or 0.9,0.05,0.05 for text",
        ),
    ] = None
    space: Annotated[
        str | None,
        _reading(
            help="Read the data as this space: table, vectors, sequences, or one that is installed.",
            show_default="the space that suits the file",
        ),
    ] = None
    schema: Annotated[
        Path | None,
        _reading(
            help="A .toml that says what the columns of a table are; 'fourfold data' writes one.",
            show_default="inferred",
        ),
    ] = None
    header: Annotated[
        bool | None,
        _reading(
            "--header/--no-header",
            help="Whether the first row of a .csv names the columns.",
            show_default="decided by its look",
        ),
    ] = None
    query: Annotated[str | None, _reading(help="A query, or the name of a table, of a .sqlite or .duckdb.")] = None
    target: Annotated[
        str | None, _reading(help="The column of a table that the evaluation asks models to predict.")
    ] = None
    group: Annotated[
        str | None,
        _reading(help="The column whose values name sequences of rows; needs --order.", metavar="NAME"),
    ] = None
    order: Annotated[
        str | None,
        _reading(
            help="The column of numbers or times that orders rows. Without --group the table is one series, cut into "
            "windows.",
            metavar="NAME",
        ),
    ] = None
    data_dir: Annotated[Path | None, _reading(help="Folder with the files of Fashion-MNIST.")] = None

    def given(self) -> dict[str, Any]:
        """The arguments of :func:`fourfold.load` that were given, as JSON values.

        Raises:
            ValueError: for fractions that are not numbers.
        """
        changed = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {name: value for name, value in changed.items() if value is not None}
        if self.image_size is not None:
            changed["size"] = changed.pop("image_size")
        changed |= {name: str(value) for name, value in changed.items() if isinstance(value, Path)}
        if self.fractions is not None:
            try:
                changed["fractions"] = [float(share) for share in self.fractions.split(",")]
            except ValueError:
                raise ValueError(f"--fractions {self.fractions!r}: give numbers such as 0.8,0.1,0.1") from None
        return changed
