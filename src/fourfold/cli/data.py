"""The command that checks and describes data: ``data``."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from textwrap import fill, wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fourfold import __version__
from fourfold.cli.options import AsJson, DataOptions, Seed, with_data_options
from fourfold.cli.printing import print_data, print_line, say, write_text
from fourfold.output.printable import printable

if TYPE_CHECKING:
    from fourfold.data.schema import Inferred

__all__ = ["data"]


@with_data_options
def data(
    options: DataOptions,
    name: Annotated[
        str | None,
        typer.Argument(help="A built-in set, a file, or a folder of images or sounds.", show_default="all sets"),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write 64 training examples to a .png, .wav, .npy, .npz, .csv, .parquet or .txt, to a folder, or to "
            "standard output (-).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check and describe a data set.

    Without a name, list the built-in sets.

    For a table, it shows the kind of every column and the reason for it.
    --schema FILE.toml writes these kinds to a new file. Edit the file, and give
    it to data, fit or compare by --schema.
    """
    from fourfold.data import describe, describe_record, load, summaries
    from fourfold.data.schema import schema_text
    from fourfold.data.writers import as_lines, write_examples

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
    given = options.given()
    new = options.schema if options.schema is not None and not options.schema.exists() else None
    if new is not None:
        given = {key: value for key, value in given.items() if key != "schema"}
        given |= {} if options.order is not None else {"space": "table"}
    dataset = load(name, seed=seed, **given)
    tell = say if out == "-" else print_line
    if as_json:
        tell(json.dumps(describe_record(dataset), indent=1))
    else:
        tell(describe(dataset))
        if dataset.columns:
            tell(_columns(dataset.columns))
            if options.schema is None:
                text = f"fourfold data {name} --schema NEW.toml"
                command = wrap(text, 76, break_long_words=False, break_on_hyphens=False)
                tell(
                    "\nto change a kind:\n  " + " \\\n  ".join(command) + "\n"
                    "writes this list; edit it, and give it back by --schema NEW.toml"
                )
    if new is not None:
        head = f"Columns of {name}, by fourfold {__version__}: edit, and give back by --schema {new}"
        write_text(new, schema_text(dataset.columns, head))
        say(f"{new}: edit it, then: fourfold data {name} --schema {new}")
    if out is not None:
        x = dataset.space.rows(dataset.train.x)
        print_data(as_lines(x[:64], dataset.space)) if out == "-" else print_line(
            write_examples(out, x[:64], dataset.space)
        )


def _columns(columns: Sequence[Inferred], most: int = 200) -> str:
    """The columns of a table, with their kinds, values and reasons, 80 characters wide."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, width=80)
    longest = min(max([13, *(len(one.column.name) for one in columns[:most])]), 20)
    table.add_column("column", width=longest, overflow="fold")
    for title, share in (("kind", None), ("missing", None), ("values", 4), ("why", 5)):
        table.add_column(title, ratio=share, justify="right" if title == "missing" else "left", overflow="fold")
    for one in columns[:most]:
        missing = f"{100 * one.missing:.1f} %" if one.missing else ""
        cells = (one.column.name, one.kind, missing, one.detail, one.reason)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console(width=80, file=io.StringIO(), no_color=True)
    console.print(table)
    file: Any = console.file
    more = f"\nand {len(columns) - most:,} more: --schema FILE.toml writes them all" if len(columns) > most else ""
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines()) + more
