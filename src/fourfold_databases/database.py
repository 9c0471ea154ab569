"""A database: its tables with sound keys, and its schema."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fourfold.data.errors import DataError, option
from fourfold.data.files import content_of
from fourfold.settings.data import name_of
from fourfold_databases.inference import inferred_schema
from fourfold_databases.integrity import sound_frames
from fourfold_databases.reading import Frames, frames_of, holds_bytes, other_files
from fourfold_databases.schema import NAMED, Link, Schema

__all__ = ["Database", "read_database"]

OWNERS = 20
"""The fewest rows of a parent that own rows of a child, if these are sequences."""
CROWD = 1000
"""The most rows of one owner."""
LISTED, OFTEN = 5000, 20
"""The most rows of a table that looks like a reference table, and how often each is named, on average."""
PERSONAL = re.compile(
    r"birth|gender|(^|_)(sex|age|dob)($|_)|e.?mail|phone|salary|(first|last|given|family|sur).?name|person|patient|"
    r"customer|client|employee|user|student|member|player|doctor",
    re.IGNORECASE,
)
"""Names of tables and columns that tell of persons."""


def _without_rows(where: str, frames: Frames, skip_bad: bool) -> tuple[str, ...]:
    """The tables without rows.

    Raises:
        DataError: for the first of them, unless bad rows are left out.
    """
    empty = tuple(table for table, frame in frames.items() if not len(frame))
    if empty and (not skip_bad or len(empty) == len(frames)):
        raise DataError(
            f"{where}, table {empty[0]}: must have rows, got none; leave empty tables out with "
            f"{option('skip_bad', True)}"
        )
    return empty


def _without_bytes(frames: Frames, schema: Schema) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The tables without columns of bytes that are no keys, and a note on each."""
    keys = {table: {*schema.without(table), *schema.key_columns(table)} for table in frames}
    bytes_of = {
        table: [name for name, column in frame.items() if name not in keys[table] and holds_bytes(column)]
        for table, frame in frames.items()
    }
    notes = (f"{table}: {name} is left out, since it holds bytes" for table in frames for name in bytes_of[table])
    return {table: frame.drop(columns=bytes_of[table]) for table, frame in frames.items()}, tuple(notes)


def _with_owners(where: str, frames: Frames, schema: Schema) -> tuple[Schema, tuple[str, ...]]:
    """A schema in which a table's first fitting link is its owner's, if no file names it, and notes.

    A link does not fit if few rows of the parent own all rows, or one owns very many, as airports own flights:
    sequences must be many, and short enough to be learned. Where none fits, all links of the table are references.
    Links to tables so short that they stay as they are do not count.
    """
    first, free, notes = dict[str, Link](), list[str](), list[str]()
    for table in schema.keys:
        links = _long_links(frames, schema, table)
        if not links or links[0].reason.startswith(NAMED):
            continue
        counts = {link: frames[table][link.column].value_counts() for link in links}
        best = next((i for i in links if len(counts[i]) >= OWNERS and counts[i].iloc[0] <= CROWD), None)
        if best is None:
            parent, rows = links[0].parent, counts[links[0]]
            free.append(table)
            notes.append(
                f"{table}: no row of {parent} owns its rows, but they refer to them, since {len(rows):,} of them have "
                f"all {rows.sum():,}, and one has {rows.max():,}; {_real_rows(where, parent)}"
            )
        elif best != links[0]:
            first[table] = best
    ordered = tuple(sorted(schema.links, key=lambda link: link != first.get(link.child, link)))
    return dataclasses.replace(schema, links=ordered, free=(*schema.free, *free)), tuple(notes)


def _long_links(frames: Frames, schema: Schema, table: str) -> list[Link]:
    """The links of a table to others that are long enough to own its rows."""
    return [link for link in schema.links_of(table) if link.parent != table and len(frames[link.parent]) >= OWNERS]


def _real_rows(where: str, table: str) -> str:
    """The way to keep the real rows of a table, as the end of a note."""
    return (
        f"if {table} holds no persons, keep its real rows: fourfold data {where} --schema NEW.toml, and then "
        f"reference = true below [{json.dumps(table)}]"
    )


def _like_references(where: str, frames: Frames, schema: Schema) -> Iterator[str]:
    """A note on each table that looks like a list of real things: not long, without persons, and often named.

    Its own rows name none that are drawn. A table that owns no rows because they would be too many has a note already.
    """
    crowds = {link.parent for table in schema.free for link in _long_links(frames, schema, table)[:1]}
    likely = {*schema.real, *(table for table, frame in frames.items() if len(frame) < OWNERS)}
    for table in schema.order:
        rows = len(frames[table])
        named = [link for link in schema.links if link.parent == table and link.child != table]
        most = max(named, key=lambda link: len(frames[link.child]), default=None)
        above = {link.parent for link in schema.links_of(table)}
        if most is None or table in likely or not above <= likely or not OWNERS <= rows <= LISTED:
            continue
        children = int(frames[most.child][most.column].notna().sum())
        if children < OFTEN * rows or any(PERSONAL.search(str(name)) for name in (table, *frames[table])):
            continue
        likely.add(table)
        if table not in crowds:
            why = f"{children:,} rows of {most.child} name its {rows:,}"
            yield f"{table}: looks like a reference table, since {why}; {_real_rows(where, table)}"


@dataclass(frozen=True)
class Database:
    """Tables that are linked by keys.

    Attributes:
        name: of the file or folder, for messages.
        frames: the rows of each table. Keys are texts, and every link leads to a row. Those of several columns are
            also there as one column of joined texts.
        schema: the keys and links.
        notes: the changes that reading made.
        numbers: the keys and links of each table that are numbers in the source.
        as_text: whether the values are texts, as in a file.
        types: of the columns of each table, as a file of SQLite or DuckDB declares them.
    """

    name: str
    frames: Mapping[str, pd.DataFrame]
    schema: Schema
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    as_text: bool = True
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_database(
    data: Any,
    schema: Schema | str | os.PathLike[str] | None = None,
    *,
    skip_bad: bool = False,
    doubtful: bool | None = None,
    owners: bool = True,
) -> Database:
    """Read a database.

    Args:
        data: a file of SQLite or DuckDB with several tables, a folder of CSV or Parquet files, or frames by name.
        schema: keys and links, or the TOML file that names them. ``None``: those that the database declares, and those
            that its values and names show.
        skip_bad: leave out rows that break a key, tables without rows, and links that close a circle.
        doubtful: infer links that values alone show, though some rows name none. ``None``: where these are left out.
        owners: choose the owner of a table's rows by their number. Without it, it is the first link's.

    Raises:
        DataError: for a row that breaks a key, a table without rows, a circle of links, or a schema of other tables.
    """
    name = name_of(data, "database")
    frames, declared = frames_of(data)
    if schema is not None and not isinstance(schema, Schema):
        schema = Schema.of_toml(os.fspath(schema), content_of(Path(schema)).decode())
    empty = _without_rows(name, frames, skip_bad)
    frames = {table: frame for table, frame in frames.items() if table not in empty}
    folder = not isinstance(data, Mapping) and Path(data).expanduser().is_dir()
    others = other_files(Path(data).expanduser()) if folder else []
    notes = tuple(f"{name}: {item} is left out, since it is no table" for item in others)
    notes += tuple(f"{table}: is left out, since it has no rows" for table in empty)
    if schema is None:
        schema, remarks = inferred_schema(frames, declared, name, skip_bad, skip_bad if doubtful is None else doubtful)
        notes += remarks
    columns = {table: tuple(map(str, frame.columns)) for table, frame in frames.items()}
    schema = schema.without_tables(empty).restricted(columns, name)
    frames, remarks = _without_bytes(frames, schema)
    notes += remarks
    sound, remarks = sound_frames(name, frames, schema, skip_bad)
    notes += remarks
    if unsound := next((table for table, frame in sound.items() if not len(frame)), None):
        raise DataError(
            f"{name}, table {unsound}: must have rows with sound keys, got none; name other keys in a file for "
            f"{option('schema')}"
        )
    names = {table: dict.fromkeys([*schema.without(table), *schema.key_columns(table)]) for table in frames}
    numbers = {
        table: tuple(column for column in names[table] if column in frame and is_numeric_dtype(frame[column]))
        for table, frame in frames.items()
    }
    in_order = {table: sound[table] for table in frames}
    if owners:
        schema, remarks = _with_owners(name, in_order, schema)
        notes += (*remarks, *_like_references(name, in_order, schema))
    types = {table: keys.types for table, keys in declared.items()}
    return Database(name, in_order, schema, notes, numbers, not isinstance(data, Mapping), types)
