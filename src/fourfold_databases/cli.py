"""The work of commands for databases."""

from __future__ import annotations

import json
from pathlib import Path

from fourfold.cli.commands.data import DescribeData
from fourfold.cli.printing import print_line, say, write_text
from fourfold.output.printable import plural
from fourfold_databases.database import Database, read_database
from fourfold_databases.schema import Schema

__all__ = ["data"]


def data(command: DescribeData) -> None:
    """Describe a database: its tables, its keys with their reasons, and its links."""
    assert command.name is not None, "the handler asks for it"
    path = command.data_options.get("schema")
    new = Path(path) if path is not None and not Path(path).exists() else None
    database = read_database(
        command.name, None if new else path, skip_bad=command.data_options.get("skip_bad") or False
    )
    print_line(json.dumps(_record(database), indent=1) if command.as_json else _description(database))
    if new is not None:
        write_text(new, database.schema.toml)
        say(f"{new}: edit it, then: fourfold data {command.name} --schema {new}")
    elif path is None and not command.as_json:
        print_line(f"\nto change keys and links:\n  fourfold data {command.name} --schema NEW.toml")


def _description(database: Database) -> str:
    """The tables with their sizes, then keys and links."""
    head = f"{database.name}: {plural(len(database.frames), 'table')}, {plural(len(database.schema.links), 'link')}"
    width = max(map(len, database.frames))
    sizes = [
        f"  {table:<{width}}  {len(frame):>9,} rows  {frame.shape[1]:>3} columns"
        for table, frame in database.frames.items()
    ]
    notes = [f"note: {note}" for note in database.notes]
    return "\n".join([head, *sizes, "", *_wrapped(database.schema), *notes])


def _wrapped(schema: Schema) -> list[str]:
    """Keys and links. The reason of a long line stands below it."""
    lines = []
    for line in str(schema).splitlines():
        text, _, reason = line.partition(" (")
        lines += [line] if len(line) <= 80 else [text, f"      {reason.removesuffix(')')}"]
    return lines


def _record(database: Database) -> dict[str, object]:
    schema = database.schema
    return {
        "data": database.name,
        "tables": {
            table: {
                "rows": len(frame),
                "columns": list(frame.columns),
                "key": schema.keys[table],
                "links": {link.column: link.parent for link in schema.links_of(table)},
            }
            for table, frame in database.frames.items()
        },
        "notes": list(database.notes),
    }
