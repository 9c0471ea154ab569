"""Tables of databases: SQLite, and DuckDB where it is installed."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow

from fourfold.data.dataset import DataError, option
from fourfold.printable import shortened

__all__ = ["batches_of_duckdb", "batches_of_sqlite"]

ROWS = 1 << 16
"""Rows that are read at once."""


def batches_of_sqlite(path: Path, query: str | None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a query, or of a table, of a SQLite database that is only read.

    Raises:
        DataError: if the file is not such a database, if it cannot answer the query, or if it holds several
            tables and no query is given.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            tables = [
                name for (name,) in base.execute("select name from sqlite_master where type in ('table', 'view')")
            ]
            cursor = base.execute(_sql(path, query, tables))
            names = [str(about[0]) for about in cursor.description]
            while rows := cursor.fetchmany(ROWS):
                arrays = [_array(column) for column in zip(*rows, strict=True)]
                yield pyarrow.RecordBatch.from_arrays(arrays, names=names)
    except sqlite3.Error as error:
        raise DataError(f"{path}: is not read as SQLite ({error}): check the file and the query") from None


def _array(values: Sequence[Any]) -> Any:
    """The values of a column as texts, since a column of SQLite may hold values of several types."""
    return pyarrow.array([None if value is None else str(value) for value in values], pyarrow.string())


def batches_of_duckdb(path: Path, query: str | None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a query, or of a table, of a DuckDB database that is only read.

    Raises:
        DataError: as :func:`batches_of_sqlite` does, and where ``duckdb`` is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise DataError(
            f"{path}: needs duckdb: pip install 'fourfold[tables]', or write the table as .parquet"
        ) from None
    try:
        with contextlib.closing(duckdb.connect(str(path), read_only=True)) as base:
            tables = [name for (name,) in base.execute("select table_name from information_schema.tables").fetchall()]
            yield from pyarrow.RecordBatchReader.from_stream(base.sql(_sql(path, query, tables)))
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: is not read as DuckDB ({reason}): check the file and the query") from None


def _sql(path: Path, query: str | None, tables: Sequence[str]) -> str:
    """A query as it is, or one for the rows of a table: the one that is named, or the only one."""
    if query is not None and re.match(r"\s*(select|with|from)\b", query, re.IGNORECASE) and query not in tables:
        return query
    if query is None and len(tables) != 1:
        raise DataError(f"{path}: holds {len(tables)} tables ({shortened(tables)}): choose one with {option('query')}")
    table = tables[0] if query is None else query
    if table not in tables:
        raise DataError(f"{path}: has no table {table!r}: it has {shortened(tables)}")
    return 'select * from "{}"'.format(table.replace('"', '""'))
