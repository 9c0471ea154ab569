"""A database: its tables with sound keys, and its schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from fourfold.data.files import content_of
from fourfold_databases.inference import inferred_schema
from fourfold_databases.integrity import sound_frames
from fourfold_databases.reading import frames_of
from fourfold_databases.schema import Schema

__all__ = ["Database", "read_database"]


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
    """

    name: str
    frames: Mapping[str, pd.DataFrame]
    schema: Schema
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    as_text: bool = True


def read_database(
    data: Any, schema: Schema | str | os.PathLike[str] | None = None, *, skip_bad: bool = False
) -> Database:
    """Read a database.

    Args:
        data: a file of SQLite or DuckDB with several tables, a folder of CSV or Parquet files, or frames by name.
        schema: keys and links, or the TOML file that names them. ``None``: those that the database declares, and those
            that its values and names show.
        skip_bad: leave out rows that break a key.

    Raises:
        DataError: for a row that breaks a key, or a schema of other tables.
    """
    name = os.fspath(data) if isinstance(data, (str, os.PathLike)) else "database"
    frames, declared = frames_of(data)
    if schema is None:
        schema = inferred_schema(frames, declared)
    elif not isinstance(schema, Schema):
        schema = Schema.of_toml(os.fspath(schema), content_of(Path(schema)).decode())
    columns = {table: tuple(map(str, frame.columns)) for table, frame in frames.items()}
    schema = schema.restricted(columns, name)
    sound, notes = sound_frames(name, frames, schema, skip_bad)
    names = {table: dict.fromkeys([*schema.without(table), *schema.key_columns(table)]) for table in frames}
    numbers = {
        table: tuple(column for column in names[table] if column in frame and is_numeric_dtype(frame[column]))
        for table, frame in frames.items()
    }
    in_order = {table: sound[table] for table in frames}
    return Database(name, in_order, schema, notes, numbers, as_text=not isinstance(data, Mapping))
