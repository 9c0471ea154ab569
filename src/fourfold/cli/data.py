"""The work of ``data``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill, wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fourfold import __version__
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.printing import print_data, print_line, say, write_text
from fourfold.data import Dataset, describe, describe_record, load, summaries
from fourfold.data.schema import Inferred, schema_text
from fourfold.data.schema.rules import RuleRow, rule_rows
from fourfold.data.writers import as_lines, write_examples
from fourfold.output.printable import printable
from fourfold.settings.data import DataKeywords

__all__ = ["data"]


def data(command: DescribeData) -> None:
    """Describe a data set, write its schema and examples of it. Without a name, list the built-in sets."""
    if command.name is None:
        _print_summaries(command.as_json)
        return
    options: DataKeywords = {"seed": command.seed, **command.data_options}
    schema = options.get("schema")
    new_schema = Path(schema) if schema is not None and not Path(schema).exists() else None
    if new_schema is not None:
        del options["schema"]
        if "order" not in options:
            options["space"] = "table"
    dataset = load(command.name, **options)
    tell = say if command.out == "-" else print_line
    if command.as_json:
        tell(json.dumps(describe_record(dataset), indent=1))
    else:
        _describe(dataset, command.name, tell, schema is None)
    if command.data_options.get("rules"):
        print_rules(rule_rows(dataset), tell, command.as_json)
    if new_schema is not None:
        _write_schema(new_schema, dataset, command.name)
    if command.out is not None:
        x = dataset.space.rows(dataset.train.x)[:64]
        if command.out == "-":
            print_data(as_lines(x, dataset.space))
        else:
            print_line(write_examples(command.out, x, dataset.space))


def _print_summaries(as_json: bool) -> None:
    """Print the names of the built-in sets, with a line about each."""
    if as_json:
        print_line(json.dumps(dict(summaries()), indent=1))
        return
    rows = summaries().items()
    print_line("\n".join(fill(f"{name:<18}{summary}", 80, subsequent_indent=" " * 18) for name, summary in rows))


def _describe(dataset: Dataset, name: str, tell: Callable[[object], None], inferred: bool) -> None:
    """Describe a data set. Of a table also its columns and, if their kinds are inferred, how to change a kind."""
    tell(describe(dataset))
    if not dataset.columns:
        return
    tell(_columns(dataset.columns))
    if inferred:
        text = f"fourfold data {name} --schema NEW.toml"
        command = wrap(text, 76, break_long_words=False, break_on_hyphens=False)
        tell(
            "\nto change a kind:\n  " + " \\\n  ".join(command) + "\n"
            "writes this list; edit it, and give it back by --schema NEW.toml"
        )


def print_rules(rows: Sequence[RuleRow], tell: Callable[[object], None], as_json: bool) -> None:
    """Print rules with the share of rows that keep each."""
    if as_json:
        tell(json.dumps([row._asdict() for row in rows], indent=1))
        return
    if not rows:
        tell("\nno rules: none has the evidence that it needs")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, width=80)
    table.add_column("rule", overflow="fold")
    table.add_column("rows that keep it", justify="right", no_wrap=True)
    table.add_column("samples", no_wrap=True)
    for row in rows:
        share = f"{min(100 * row.share, 99.99):.2f} %" if row.share < 1 else "all"
        table.add_row(Text(printable(row.rule)), share, "always keep it" if row.always else "as the data")
    buffer = io.StringIO()
    Console(width=80, file=buffer, no_color=True).print(table)
    tell("\n".join(line.rstrip() for line in buffer.getvalue().rstrip().splitlines()))


def _write_schema(path: Path, dataset: Dataset, name: str) -> None:
    """Write the kinds of all columns into a new file."""
    head = f"Columns of {name}, by fourfold {__version__}: edit, and give back by --schema {path}"
    write_text(path, schema_text(dataset.columns, head))
    say(f"{path}: edit it, then: fourfold data {name} --schema {path}")


def _columns(columns: Sequence[Inferred], most: int = 200) -> str:
    """The columns of a table, with their kinds, values and reasons, 80 characters wide."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, width=80)
    longest = min(max([13, *(len(inferred.column.name) for inferred in columns[:most])]), 20)
    table.add_column("column", width=longest, overflow="fold")
    for title, share in (("kind", None), ("missing", None), ("values", 4), ("why", 5)):
        table.add_column(title, ratio=share, justify="right" if title == "missing" else "left", overflow="fold")
    for inferred in columns[:most]:
        missing = f"{100 * inferred.missing:.1f} %" if inferred.missing else ""
        row = (inferred.column.name, inferred.kind, missing, inferred.detail, inferred.reason)
        table.add_row(*(Text(printable(text)) for text in row))
    buffer = io.StringIO()
    Console(width=80, file=buffer, no_color=True).print(table)
    more = f"\nand {len(columns) - most:,} more: --schema FILE.toml writes them all" if len(columns) > most else ""
    return "\n".join(line.rstrip() for line in buffer.getvalue().rstrip().splitlines()) + more
