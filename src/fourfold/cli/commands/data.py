"""The declaration of ``data``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import typer

from fourfold.cli.command import Command, settings_of
from fourfold.cli.options import AsJson, Seed
from fourfold.settings.data import DataKeywords, DataOptions

__all__ = ["DescribeData"]


@final
@dataclass(frozen=True, kw_only=True)
class DescribeData(Command):
    """Check and describe a data set.

    Without a name, list the built-in sets.

    For a table, it shows the kind of every column and the reason for it.
    --schema FILE.toml writes these kinds to a new file. Edit the file, and give
    it to data, fit or compare by --schema.
    """

    work = "fourfold.cli.data:data"

    name: Annotated[
        str | None,
        typer.Argument(help="A built-in set, a file, or a folder of images or sounds.", show_default="all sets"),
    ] = None
    seed: Seed = 0
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write 64 training examples to a .png, .wav, .npy, .npz, .csv, .xlsx, .jsonl, .parquet or .txt, to a "
            "folder, or to standard output (-).",
        ),
    ] = None
    as_json: AsJson = False
    data_options: Annotated[DataKeywords, settings_of(DataOptions, optional=True)]
