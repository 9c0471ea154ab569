"""Databases as files: SQLite, DuckDB, or a folder of CSV files."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fourfold.data.errors import DataError
from fourfold_databases.reading import Frames
from fourfold_databases.schema import Schema

__all__ = ["check_new", "write_database"]

SQLITE = (".db", ".sqlite", ".sqlite3")
"""Endings of files of SQLite."""
TYPE = re.compile(r"[A-Za-z]\w*( \w+)*(\(\d+(, ?\d+)?\))?")
"""Types that a statement may repeat: a run folder may come from anywhere."""


def check_new(path: Path) -> None:
    """Refuse a file or folder that cannot be made.

    Raises:
        DataError: for one that exists, or an ending of other files.
    """
    if path.exists():
        raise DataError(f"{path}: must be a new file or folder, got one that exists; name another")
    if path.suffix.lower() not in (*SQLITE, ".duckdb", ""):
        raise DataError(f"{path}: must end in {', '.join(SQLITE)} or .duckdb, or be a folder, got {path.suffix}")


def write_database(
    path: Path, frames: Frames, schema: Schema, types: Mapping[str, Mapping[str, str]] | None = None
) -> None:
    """Write the tables of a database, with its keys where the file has them.

    Gaps among texts are null in a file of SQLite or DuckDB.

    Args:
        path: a new file of SQLite or DuckDB, by its ending, or a new folder.
        frames: the rows of each table.
        schema: the keys and links.
        types: of the columns of each table, in the words of SQLite or DuckDB, by the ending. A column whose values are
            none of its type is of texts or numbers, as one without a type is.

    Raises:
        DataError: as :func:`check_new` does.
    """
    check_new(path)
    types = types or {}
    if path.suffix:
        frames = {table: _with_nulls(frame) for table, frame in frames.items()}
    if path.suffix.lower() in SQLITE:
        with contextlib.closing(sqlite3.connect(path)) as base:
            for table in schema.order:
                base.execute(_create(table, frames[table], schema, types.get(table, {})))
                frames[table].to_sql(table, base, if_exists="append", index=False, chunksize=1 << 14)
            base.commit()
    elif path.suffix.lower() == ".duckdb":
        _write_duckdb(path, frames, schema, types)
    else:
        path.mkdir(parents=True)
        for table, frame in frames.items():
            frame.to_csv(path / f"{table.replace(os.sep, '_')}.csv", index=False)


def _with_nulls(frame: pd.DataFrame) -> pd.DataFrame:
    texts = (name for name, column in frame.items() if column.dtype in (object, "str"))
    return frame.assign(**{str(name): frame[name].mask(frame[name] == "", None) for name in texts})


def _write_duckdb(path: Path, frames: Frames, schema: Schema, types: Mapping[str, Mapping[str, str]]) -> None:
    try:
        import duckdb  # optional
    except ImportError:
        raise DataError(f"{path}: needs duckdb: pip install '.[tables]' in its clone, or write a .db") from None
    with contextlib.closing(duckdb.connect(str(path))) as base:
        for table in schema.order:
            base.register("rows of a table", frames[table])
            fitting: dict[str, str] = {}
            for column, kind in types.get(table, {}).items():
                if column in frames[table] and TYPE.fullmatch(kind):
                    wrong = f"{_quoted(column)} is not null and try_cast({_quoted(column)} as {kind}) is null"
                    count = base.execute(f'select count(*) from "rows of a table" where {wrong}').fetchone()
                    fitting |= {column: kind} if count == (0,) else {}
            base.execute(_create(table, frames[table], schema, fitting))
            base.execute(f'insert into {_quoted(table)} select * from "rows of a table"')
            base.unregister("rows of a table")


def _create(table: str, frame: pd.DataFrame, schema: Schema, types: Mapping[str, str]) -> str:
    """The statement that makes a table. A link to the own table is no constraint, since rows come in one order."""
    lines = [f"{_quoted(column)} {_type(frame[column], types.get(column, ''))}" for column in map(str, frame)]
    if key := schema.key_columns(table):
        lines.append(f"primary key ({_names(key)})")
    lines += [
        f"foreign key ({_names(schema.columns_of(link.column))}) references {_quoted(link.parent)}"
        for link in schema.links_of(table)
        if link.parent != table
    ]
    return f"create table {_quoted(table)} ({', '.join(lines)})"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(_quoted, columns))


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _type(values: pd.Series, declared: str) -> str:
    if TYPE.fullmatch(declared):
        return declared
    if pd.api.types.is_bool_dtype(values) or not pd.api.types.is_numeric_dtype(values):
        return "text"
    return "bigint" if pd.api.types.is_integer_dtype(values) else "double"
