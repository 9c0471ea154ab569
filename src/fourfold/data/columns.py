"""The texts of one column of a table: read by portions of rows, or of a column that was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourfold.data.arrow import open_parquet
from fourfold.data.delimited import cells
from fourfold.data.errors import DataError, readable
from fourfold.data.layout import layout_of
from fourfold.data.schema import Coded
from fourfold.machine.libraries import pyarrow

__all__ = ["LONGEST", "checked_texts", "texts_of"]

ROWS = 1 << 10
"""Rows that are read at once."""
LONGEST = 4096
"""Bytes of a text that is an example, at most."""


def texts_of(path: Path, name: str) -> Iterator[str]:
    """The texts of a column of a CSV or Parquet file, without rows that have none.

    Raises:
        DataError: if the column is missing, or one of its values is not a text.
    """
    for column in (_of_parquet if path.suffix.lower() == ".parquet" else _of_delimited)(path, name):
        for value in column:
            if not isinstance(value, str):
                raise DataError(
                    f"{path}, column {name}: must hold text, got {str(value)[:40]!r}; name a column of texts"
                )
            yield value


def _check(path: Path, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise DataError(f"{path}: columns must be among {', '.join(map(str, names))[:200]}, got {name!r}")


def _of_parquet(path: Path, name: str) -> Iterator[list[Any]]:
    with readable(path, "as Parquet", also=(pyarrow.ArrowException,)):
        file = open_parquet(path)
        _check(path, name, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=ROWS, columns=[name]):
            yield batch.column(0).drop_null().to_pylist()


def _of_delimited(path: Path, name: str) -> Iterator[list[Any]]:
    layout = layout_of(path, header=True)
    _check(path, name, layout.names)
    place = layout.names.index(name)
    for batch in cells(path, layout):
        for first in range(0, batch.num_rows, 4 * ROWS):
            yield list(filter(None, batch.slice(first, 4 * ROWS).column(place).to_pylist()))


def checked_texts(where: str, column: Coded) -> list[str]:
    """The distinct texts of a column, and behind them an empty one, which the number -1 finds: no value is no letter.

    Raises:
        DataError: for a text that is too long.
    """
    texts = [" ".join(text.split()) for text in column.distinct.astype(str)]
    long = np.array([len(text.encode(errors="surrogatepass")) > LONGEST for text in texts], dtype=bool)
    if long.any():
        raise DataError(
            f"{where}, column {column.name}: texts must have at most {LONGEST:,} bytes to be one example each, got a "
            f"longer one, {column.place(long)}; shorten it, or read all as one long text (--text without --given and "
            "--space lines)"
        )
    return [*texts, ""]
