"""Options that several commands share, each declared once: its name, range, help and default. Torch-free."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold.settings.data import DataOptions
from fourfold.settings.declaration import (
    DEVICE,
    FEATURES,
    MACHINES_PANEL,
    SEED,
    SPEED_PANEL,
    TABLE_PANEL,
    TEXT_PANEL,
    Option,
    options_of,
)

__all__ = [
    "AsJson",
    "BatchRows",
    "Data",
    "Device",
    "Features",
    "Folder",
    "Labels",
    "OtherConditions",
    "OtherData",
    "Report",
    "RunsDir",
    "Seed",
    "SkipBad",
    "Temperature",
    "Threads",
    "TopK",
    "TopP",
    "declared",
    "machines",
    "tabular",
    "textual",
]

machines = partial(typer.Option, rich_help_panel=MACHINES_PANEL)
"""Declares an option in the panel of several machines. The next two do the same for theirs."""
textual = partial(typer.Option, rich_help_panel=TEXT_PANEL)
tabular = partial(typer.Option, rich_help_panel=TABLE_PANEL)

_SETS = "A built-in set (see 'fourfold data'), a file, or a folder."
Data = Annotated[str | None, typer.Argument(help=_SETS, show_default=False)]
OtherData = Annotated[str | None, typer.Argument(help=_SETS, show_default="the run's training data")]
Folder = Annotated[Path, typer.Argument(help="The folder of a run, or a published model.", show_default=False)]
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
        max=option.max,
        metavar=option.metavar,
        show_default=True if default or option.show_default is None else option.show_default,
        rich_help_panel=option.panel or None,
    )


Seed = Annotated[int, declared(SEED)]
Device = Annotated[str, declared(DEVICE)]

Threads = Annotated[
    int | None,
    typer.Option(
        help="Number of threads.", min=1, metavar="N", show_default="all free cores", rich_help_panel=SPEED_PANEL
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
BatchRows = Annotated[int, typer.Option(help="Number of examples in memory at once.", min=1, metavar="N")]
Features = Annotated[str | None, declared(FEATURES, False)]
Temperature = Annotated[float, textual(help="Divide logits by this number.", metavar="X")]
TopK = Annotated[int | None, textual(help="Draw among the N likeliest tokens.", show_default="all", metavar="N")]
TopP = Annotated[
    float | None,
    textual(help="Draw among the likeliest tokens up to this mass.", show_default="all", metavar="X"),
]
_READING = options_of(DataOptions)
Labels = Annotated[str | None, declared(_READING["labels"], False)]
OtherConditions = Annotated[
    list[str] | None,
    typer.Option(
        "--given",
        help="The condition of each example: a file or folder that pairs with the data by name or order. A table that "
        "has the columns of the condition needs none.",
        show_default="those in the data",
        metavar="WHAT",
    ),
]
SkipBad = Annotated[bool | None, declared(_READING["skip_bad"], False)]
