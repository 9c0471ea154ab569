"""Options that several commands share. Torch-free, so that help answers at once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, final, get_type_hints

import typer

__all__ = [
    "CLUSTER",
    "MEASURING",
    "TRAINING",
    "AsJson",
    "Compile",
    "Data",
    "DataOptions",
    "Device",
    "Features",
    "Folder",
    "Labels",
    "OtherData",
    "PrecisionName",
    "Seed",
    "Size",
    "SkipBad",
    "Threads",
    "with_data_options",
]

TRAINING = "Training options"
MEASURING = "Measuring options"
CLUSTER = "Cluster options"
PANEL = "Data options"

Data = Annotated[
    str,
    typer.Argument(
        help="A built-in set (see 'fourfold data'), a file, or a folder of images or sounds.", show_default=False
    ),
]
OtherData = Annotated[
    str | None,
    typer.Argument(
        help="A built-in set, a file, or a folder of images or sounds.", show_default="the run's training data"
    ),
]
Folder = Annotated[Path, typer.Argument(help="The folder of a run, or a published language model.", show_default=False)]
Seed = Annotated[int, typer.Option(help="Seed of every random draw.", min=0, metavar="N")]
Size = Annotated[str, typer.Option(help="Size of the model: xs, s or m.")]
Labels = Annotated[
    str | None,
    typer.Option(help="Where the classes are: a column of a table, an array of an .npz, or a file for an .npy."),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out images and sounds that cannot be read, and list them.")
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        help="float32, bf16 or autocast.",
        show_default="the fastest stable one",
        rich_help_panel=TRAINING,
    ),
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the training step.",
        show_default="if the budget is long enough",
        rich_help_panel=TRAINING,
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        help="Feature space of images: pixels, efficientnet-lite0 or inception.",
        show_default="depends on the size of the images",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:0 or mps; auto takes a GPU if there is one.")]

Threads = Annotated[
    int | None,
    typer.Option(help="Number of threads.", min=1, metavar="N", show_default="as many as there are free cores"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@final
@dataclass(frozen=True)
class DataOptions:
    """The arguments of :func:`fourfold.load` as options of the command line; ``None`` for those not given."""

    labels: Annotated[
        str | None,
        typer.Option(
            help="Where the classes are: a column of a table, an array of an .npz, or a file for an .npy.",
            rich_help_panel=PANEL,
        ),
    ] = None
    conditional: Annotated[
        bool | None,
        typer.Option("--conditional", help="Learn to draw examples of a class or caption.", rich_help_panel=PANEL),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option(
            help="The most examples, or tokens of a text, to use.",
            min=1,
            show_default="all",
            rich_help_panel=PANEL,
            metavar="N",
        ),
    ] = None
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Resize images to this height and width; the longer side is cropped.",
            min=1,
            show_default="the size of most images",
            rich_help_panel=PANEL,
            metavar="N",
        ),
    ] = None
    channels: Annotated[
        int | None,
        typer.Option(
            help="Convert images to grey (1) or colour (3).",
            min=1,
            max=3,
            show_default="3 if any image has colour",
            rich_help_panel=PANEL,
            metavar="N",
        ),
    ] = None
    rate: Annotated[
        int | None,
        typer.Option(
            help="Resample sounds to so many samples in a second.",
            show_default="that of most files, at most 8000",
            rich_help_panel=PANEL,
            metavar="HZ",
        ),
    ] = None
    seconds: Annotated[
        float | None,
        typer.Option(
            help="Length of a clip of sound; longer files are cut into pieces.",
            show_default="the longest file, at most 2; all of it with transcripts",
            rich_help_panel=PANEL,
            metavar="X",
        ),
    ] = None
    levels: Annotated[
        int | None,
        typer.Option(
            help="Number of values that a pixel of an array can take.",
            min=2,
            max=256,
            show_default="256",
            rich_help_panel=PANEL,
            metavar="N",
        ),
    ] = None
    skip_bad: Annotated[
        bool | None,
        typer.Option(
            "--skip-bad", help="Leave out images and sounds that cannot be read, and list them.", rich_help_panel=PANEL
        ),
    ] = None
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream", help="Leave images or an .npy on disk, and read them while training.", rich_help_panel=PANEL
        ),
    ] = None
    length: Annotated[
        int | None,
        typer.Option(
            help="Tokens in a window of text, or the most rows of a sequence.",
            min=2,
            show_default="256",
            rich_help_panel=PANEL,
            metavar="N",
        ),
    ] = None
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Tokens of a text: chars, bytes, bpe:4096 (pieces of words), or the path of a tokenizer.json.",
            show_default="chars, if at most 256 differ; else bytes",
            rich_help_panel=PANEL,
        ),
    ] = None
    text: Annotated[
        str | None,
        typer.Option(
            help="Field of a .jsonl, or column of a table, that holds the documents.",
            show_default="text",
            rich_help_panel=PANEL,
            metavar="NAME",
        ),
    ] = None
    fractions: Annotated[
        str | None,
        typer.Option(
            help="Shares of the training, validation and test split.",
            show_default="0.8,0.1,0.1, or 0.9,0.05,0.05 for text",
            rich_help_panel=PANEL,
        ),
    ] = None
    space: Annotated[
        str | None,
        typer.Option(
            help="Read the data as this space: table, vectors, sequences, or one that is installed.",
            show_default="the space that suits the file",
            rich_help_panel=PANEL,
        ),
    ] = None
    schema: Annotated[
        Path | None,
        typer.Option(
            help="A .toml that says what the columns of a table are; 'fourfold data' writes one.",
            show_default="inferred",
            rich_help_panel=PANEL,
        ),
    ] = None
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether the first row of a .csv names the columns.",
            show_default="by its look",
            rich_help_panel=PANEL,
        ),
    ] = None
    query: Annotated[
        str | None,
        typer.Option(help="A query, or the name of a table, of a .sqlite or .duckdb.", rich_help_panel=PANEL),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(help="The column of a table that models are judged by predicting.", rich_help_panel=PANEL),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            help="The column whose values name sequences of rows; needs --order.", rich_help_panel=PANEL, metavar="NAME"
        ),
    ] = None
    order: Annotated[
        str | None,
        typer.Option(
            help="The column of numbers or times that orders rows. Without --group the table is one series, cut into "
            "windows.",
            rich_help_panel=PANEL,
            metavar="NAME",
        ),
    ] = None
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the files of Fashion-MNIST or emoji.", rich_help_panel=PANEL)
    ] = None

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


def with_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of :class:`DataOptions`; it gets them all as ``options``."""
    signature, hints = inspect.signature(command), get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values() if p.name != "options"]
    types = get_type_hints(DataOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
        for field in fields(DataOptions)
    ]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        options = DataOptions(**{field.name: given.pop(field.name) for field in fields(DataOptions)})
        command(options=options, **given)

    wrapped.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return wrapped
