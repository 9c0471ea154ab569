"""The command that checks and describes data: ``data``."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from fourfold.cli.options import AsJson, DataOptions, Seed, with_data_options
from fourfold.cli.printing import print_data, print_line, say

__all__ = ["data"]


@with_data_options
def data(
    options: DataOptions,
    name: Annotated[
        str | None,
        typer.Argument(help="A built-in set, a file, a folder of images, or 'get'.", show_default="all sets"),
    ] = None,
    fetched: Annotated[
        str | None, typer.Argument(metavar="set", help="After 'get': the set to fetch from the network (emoji).")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write 64 training examples to a .png, .npy, .npz, .csv, .parquet or .txt, to a folder, or to "
            "standard output (-).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check and describe a data set.

    Without a name, list the built-in sets. 'fourfold data get emoji' downloads one.
    """
    from fourfold.data import describe, describe_record, load, summaries
    from fourfold.data.writers import as_lines, write_examples

    if name == "get" or fetched is not None:
        _get(name, fetched, options.data_dir)
        return
    if name is None and as_json:
        print_line(json.dumps(dict(summaries()), indent=1))
        return
    if name is None:
        print_line(
            "\n".join(
                fill(f"{name:<18}{summary}", 80, subsequent_indent=" " * 18) for name, summary in summaries().items()
            )
        )
        return
    dataset = load(name, seed=seed, **options.given())
    about = json.dumps(describe_record(dataset), indent=1) if as_json else describe(dataset)
    (say if out == "-" else print_line)(about)
    if out is not None:
        x = dataset.space.rows(dataset.train.x)
        print_data(as_lines(x[:64], dataset.space)) if out == "-" else print_line(
            write_examples(out, x[:64], dataset.space)
        )


def _get(name: str | None, fetched: str | None, data_dir: Path | None) -> None:
    """Download a set through the tool that has it."""
    from fourfold.data import describe, load
    from fourfold.data.emoji import fetch_emoji

    if name != "get":
        raise ValueError(f"{fetched!r} is one argument too many: give one set, or 'get' and a set")
    if fetched != "emoji":
        raise ValueError(
            f"'get' fetches emoji, not {fetched!r}; the other sets need no fetching, or say where they are"
        )
    say("fetching emoji through npm (two packages of about 60 MB)")
    folder = fetch_emoji(data_dir)
    print_line(describe(load("emoji", data_dir=folder)))
