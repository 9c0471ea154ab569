"""Databases as data frames, one a table: SQLite, DuckDB, a folder of CSV or Parquet files, or frames in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.types import is_integer_dtype

from fourfold.data.databases import DeclaredKeys, batches_of_duckdb, batches_of_sqlite, declared_keys
from fourfold.data.errors import DataError, option
from fourfold.data.labels import places_in
from fourfold.data.packed import kind_of, stem_of
from fourfold.data.readers import TABLES
from fourfold.data.tables import raw_frame
from fourfold.output.printable import shortened
from fourfold.settings.data import name_of
from fourfold_databases import ENDINGS

__all__ = [
    "Frames",
    "Places",
    "frames_of",
    "gaps_in",
    "holds_bytes",
    "holds_tables",
    "keys_in",
    "other_files",
    "places_in",
    "rows_at",
    "with_numbers",
]

Frames: TypeAlias = Mapping[str, pd.DataFrame]
"""The rows of each table, by its name."""
Places: TypeAlias = npt.NDArray[np.int64]
"""Numbers of rows, from 0. -1 stands for none."""
GAPS = frozenset(["", "na", "n/a", "nan", "null", "none"])
"""Texts that stand for a link to no row, in lower case."""
WHOLE = r"[+-]?\d+(\.0*)?"
"""Texts of whole numbers."""


def holds_tables(data: Any) -> bool:
    """Whether data is a database: a mapping of frames, a file of several tables, or a folder of files of tables."""
    if isinstance(data, Mapping):
        return bool(data) and all(isinstance(frame, pd.DataFrame) for frame in data.values())
    if not isinstance(data, (str, os.PathLike)):
        return False
    path = Path(data).expanduser()
    if path.is_dir():
        return len(_files(path)) > 1 and all(other.is_file() for other in _visible(path)) and _mostly_tables(path)
    return path.is_file() and path.suffix.lower() in ENDINGS and len(declared_keys(path)) > 1


def _mostly_tables(folder: Path) -> bool:
    """Whether a folder has more tables than other files. Pictures with two files of labels are no database."""
    return len(_files(folder)) > len(other_files(folder))


def other_files(folder: Path) -> list[str]:
    """The names of files in a folder of tables that are none, such as a picture. Schemas and readmes do not count."""
    return sorted(path.name for path in {*_visible(folder)}.difference(_files(folder)))


def _visible(folder: Path) -> Iterator[Path]:
    """The files and folders in a folder but for hidden ones, schemas and readmes."""
    ignored = (".toml", ".md", ".txt")
    return (path for path in folder.iterdir() if path.name[0] != "." and path.suffix.lower() not in ignored)


def _files(folder: Path) -> list[Path]:
    """The files of tables in a folder, by name."""
    endings = {*TABLES}.difference(ENDINGS)
    return sorted(path for path in _visible(folder) if path.is_file() and kind_of(path) in endings)


def frames_of(data: Any) -> tuple[dict[str, pd.DataFrame], dict[str, DeclaredKeys]]:
    """The rows of all tables, and the keys that the database declares. Cells of CSV files and of SQLite are texts.

    Args:
        data: a file of SQLite or DuckDB, a folder, or frames by name. An index with a name is a column.

    Raises:
        DataError: for what cannot be read, or a table with two columns of one name.
    """
    if isinstance(data, Mapping):
        frames, declared = (
            {str(name): _with_index(frame) for name, frame in data.items()},
            dict[str, DeclaredKeys](),
        )
    elif (path := Path(data).expanduser()).is_dir():
        frames, declared = {stem_of(file): raw_frame(file)[0] for file in _files(path)}, {}
        if len(frames) < len(_files(path)):
            raise DataError(f"{path}: files must name one table each, got two with one name: move one away")
    else:
        if not path.exists():
            raise DataError(f"{path}: must be a database or a folder of tables, got none of that name: check it")
        if path.suffix.lower() not in ENDINGS:
            raise DataError(
                f"{path}: must be a database ({', '.join(ENDINGS)}) or a folder of tables, got another file"
            )
        declared = declared_keys(path)
        batches = batches_of_duckdb if path.suffix.lower() == ".duckdb" else batches_of_sqlite
        frames = {name: _frame(batches(path, name)) for name in declared}
    for name, frame in frames.items():
        if frame.columns.duplicated().any():
            where = f"{name_of(data, 'database')}, table {name}"
            raise DataError(f"{where}: columns must differ in name, got {shortened(frame.columns)}")
        frame.columns = frame.columns.astype(str)
    return frames, declared


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose index, if it has a name, is a column: most likely its key."""
    nameless = any(name is None or name in frame.columns for name in frame.index.names)
    return frame.reset_index(drop=nameless)


def _frame(batches: Iterator[pa.RecordBatch]) -> pd.DataFrame:
    """The rows of a table, which has no batches where it is empty."""
    rows = list(batches)
    return pa.Table.from_batches(rows).to_pandas() if rows else pd.DataFrame()


def holds_bytes(column: pd.Series) -> bool:
    """Whether all values of a column are bytes, such as pictures."""
    return column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "bytes"


def gaps_in(column: pd.Series) -> pd.Series:
    """Which values are missing, texts that stand for none included."""
    if column.dtype != object and not pd.api.types.is_string_dtype(column):
        return column.isna()
    return column.isna() | column.astype("string").str.strip().str.lower().isin(GAPS).fillna(True)


def keys_in(where: str, column: pd.Series, skip_bad: bool = False) -> pd.Series:
    """The values of a key as texts, missing where there is none. ``7``, ``7.0`` and ``"7"`` are one key.

    Args:
        where: the table and its column, for messages.
        column: its values.
        skip_bad: read numbers among texts as texts, so that rows which break a key then can be left out.

    Raises:
        DataError: for numbers and words in one column, with the row of the first that differs.
    """
    values = column.reset_index(drop=True)
    if holds_bytes(values):
        values = values.map(bytes.hex, na_action="ignore")
    if is_integer_dtype(values):
        return pd.Series(pa.array(values).cast(pa.large_string()), dtype="str")
    missing = values.isna()
    if values.dtype == object:
        kinds = values[~missing].map(
            lambda value: "a number" if isinstance(value, (int, float, np.number)) else "a text"
        )
        if kinds.nunique() > 1 and skip_bad:
            values = values.map(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value)
        elif kinds.nunique() > 1:
            row = int(kinds.index[kinds != kinds.iloc[0]][0])
            raise DataError(
                f"{where}, row {row + 1}: a key must be of one kind, got {kinds[row]} below {kinds.iloc[0]}; "
                f"give all as texts, or take {option('skip_bad', True)}, which reads them so and leaves out bad rows"
            )
    texts = values.astype("string").str.strip()
    texts = texts.mask(missing | texts.str.lower().isin(GAPS))
    if texts.str.fullmatch(WHOLE).all():  # pandas makes floats of whole numbers where some are missing
        texts = texts.str.replace(r"\.0*$", "", regex=True)
    return texts.astype("str")


def with_numbers(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A table whose keys and links are whole numbers again, but for columns with other texts."""
    numbers = {name: pd.to_numeric(frame[name], errors="coerce") for name in names}
    whole = {name: keys for name, keys in numbers.items() if keys.isna().equals(frame[name].isna())}
    return frame.assign(**{name: keys.astype("Int64" if keys.hasnans else "int64") for name, keys in whole.items()})


def rows_at(rows: pd.DataFrame, places: Places) -> pd.DataFrame:
    """The rows of a table at some places, in their order. That of -1 is missing."""
    return rows.reset_index(drop=True).reindex(places).reset_index(drop=True)
