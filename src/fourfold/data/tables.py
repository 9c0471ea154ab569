"""Tables: CSV, Parquet, Feather, JSON, workbooks, databases and data frames. Any becomes vectors or a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fourfold.core import Space
from fourfold.data.arrow import open_parquet, record_batches
from fourfold.data.coded_columns import Batches, amounts_of, batches_of_frame, rows_needed, without_comma
from fourfold.data.databases import batches_of_duckdb, batches_of_sqlite
from fourfold.data.delimited import HELD, cells, row_line
from fourfold.data.errors import DataError, readable
from fourfold.data.json_rows import batches_of_json
from fourfold.data.layout import Layout, layout_of
from fourfold.data.memory import require
from fourfold.data.mixed import table_of
from fourfold.data.packed import is_delimited, is_packed
from fourfold.data.source import Source
from fourfold.data.workbooks import batches_of_workbook
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import pyarrow
from fourfold.settings.data import DataOptions

__all__ = ["line_of", "of_memory", "raw_frame", "read_table"]

TYPED = (".parquet", ".feather", ".arrow", ".duckdb")
"""Endings of files whose columns have types. A column of SQLite may hold values of several."""
ROWS = 1 << 17
"""Rows of a Parquet file that are read at once."""
CELLS = 5.0
"""Bytes of memory that one byte of a CSV file takes."""
CELL = 24.0
"""Bytes of memory that one cell of a Parquet file takes."""


def read_table(path: Path, options: DataOptions) -> Source:
    """Read a table.

    Columns of real numbers that are all continuous and free of ties become vectors. Any other table, such as one of
    whole numbers, words, dates, true and false or gaps, becomes a :class:`~fourfold.spaces.Table`. The space of a
    model, the space that ``options`` names, and options that only a table has, decide otherwise. ``options.labels``
    names the class of each row. A nameless first column that counts the rows is left out. With ``options.limit``, rows
    are drawn by the seed while the file is read, and no others are kept.

    Raises:
        DataError: for a value of another kind than its column, rows of unequal length, no such label column.
    """
    if not is_delimited(path):
        typed = path.suffix.lower() in TYPED
        return table_of(str(path), _telling(path, lambda: _batches(path, options)), options, typed=typed)
    layout = layout_of(path, options.header)
    if options.limit is None and not is_packed(path):
        require(CELLS * path.stat().st_size, path)
    if not layout.names:
        raise DataError(f"{path}: must hold a table of at least {rows_needed(options)}, got none")
    return table_of(str(path), _telling(path, lambda: _rows(path, layout)), options, layout, typed=False)


def _rows(path: Path, layout: Layout) -> Batches:
    """The rows of a CSV file. An empty line is none, in a file of one column too."""
    for batch in cells(path, layout):
        yield batch if layout.width > 1 else batch.filter(pyarrow.compute.not_equal(batch.column(0), ""))


def _telling(path: Path, batches: Callable[[], Batches]) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a file. An error is one line."""
    with _readable(path):
        yield from batches()


def of_memory(name: str, frame: Any, options: DataOptions) -> Source:
    """The source of a data frame of pandas or polars, or of another table that speaks Arrow's protocol.

    Raises:
        DataError: as :func:`read_table` does.
    """
    if not isinstance(frame, pd.DataFrame):
        frame = frame.to_frame("value") if isinstance(frame, pd.Series) else pyarrow.table(frame)
    return table_of(name, batches_of_frame(frame), options, frame=frame)


def raw_frame(data: Any, model: Space | None = None) -> tuple[pd.DataFrame, bool]:
    """A table as it stands, the cells of a CSV file as texts, and whether its first row names the columns.

    Args:
        data: a file, a data frame, or another table.
        model: the space of a model that reads the table. Numbers with a decimal comma then have a point, as it reads
            them. ``None``: they stay.

    Raises:
        DataError: if it cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        return (data if isinstance(data, pd.DataFrame) else pyarrow.table(data).to_pandas()).copy(), True
    path = Path(data).expanduser()
    with _readable(path):
        if not is_delimited(path):
            return pyarrow.Table.from_batches(list(_batches(path, DataOptions()))).to_pandas(), True
        layout = layout_of(path)
        batches = list(cells(path, layout))
        frame = pyarrow.Table.from_batches(batches).to_pandas() if batches else pd.DataFrame(columns=layout.names)
    frame.columns = pd.Index(layout.names)
    if model is not None and layout.decimal == ",":
        for i in (i for i, name in enumerate(layout.names) if name not in amounts_of(model)):
            frame.isetitem(i, without_comma(pyarrow.array(frame.iloc[:, i], pyarrow.string())).to_pandas())
    return frame, layout.header


def line_of(path: Path, row: int) -> int | None:
    """The line of a delimited file on which a row begins, from 1. Rows are counted from 0 below the header.

    ``None`` for a file that has no lines.
    """
    path = path.expanduser()
    if not is_delimited(path):
        return None
    with readable(path):
        return row_line(path, layout_of(path), row)


def _batches(path: Path, options: DataOptions) -> Batches:
    """The rows of a file that is no CSV, each batch held against the memory that is free."""
    for batch in _unchecked_batches(path, options):
        require(HELD * batch.nbytes, path)
        yield batch


def _unchecked_batches(path: Path, options: DataOptions) -> Batches:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        file = open_parquet(path)
        if options.limit is None:
            require(CELL * file.metadata.num_rows * file.metadata.num_columns, path)
        return file.iter_batches(batch_size=ROWS)
    if suffix in (".feather", ".arrow"):
        return record_batches(path)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return batches_of_json(path)
    if suffix == ".xlsx":
        return batches_of_workbook(path, options.query, options.header)
    return (batches_of_duckdb if suffix == ".duckdb" else batches_of_sqlite)(path, options.query)


def _readable(path: Path) -> AbstractContextManager[None]:
    kind = "Parquet" if path.suffix.lower() == ".parquet" else "a table"
    way = "give every row the same number of cells" if is_delimited(path) else "write it again"
    return readable(path, f"as {kind}", way, also=(pyarrow.ArrowException,))
