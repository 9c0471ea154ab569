"""Tables of numbers: CSV, TSV and Parquet, with at most one label column."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fourfold.data.arrays import finite_vectors
from fourfold.data.dataset import DataError, Options, Source
from fourfold.data.labels import encode_labels
from fourfold.spaces import Vectors

__all__ = ["read_table"]

_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)


def read_table(path: Path, options: Options) -> Source:
    """Read a table: numeric columns become vectors, ``options.labels`` names the class of each row.

    A first row with a cell that is no number is the header. A nameless first column that counts the rows is left out.

    Raises:
        DataError: for a text column among numbers, a missing value, rows of unequal length, no such label column.
    """
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    where = f"file {path}"
    if len(frame.columns) > 1 and _is_index(frame.columns[0], frame.iloc[:, 0]):
        frame, where = frame.iloc[:, 1:], f"{where}, without its index column"
    if frame.empty:
        raise DataError(f"{path}: holds no rows: give a table with at least 20")
    labels, names = None, tuple[str, ...]()
    if options.labels is not None:
        column = _label_column(path, frame, options.labels)
        labels, names = encode_labels(frame[column].to_numpy(), len(frame), f"{path}, column {column}")
        frame = frame.drop(columns=column)
    columns = [str(column) for column in frame.columns]
    for name in frame.columns:
        _check_numeric(path, name, frame[name])
    x = finite_vectors(frame.to_numpy(dtype=np.float64, na_value=np.nan), str(path), columns)
    hint = "name its label column (labels=)"
    return Source(x, Vectors(len(columns), tuple(columns)), where, labels, names, hint=hint)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """How a CSV file is laid out."""

    separator: str
    header: bool
    comments: int
    decimal: str = "."


def _csv(path: Path) -> pd.DataFrame:
    """The cells of a CSV or TSV file, as numbers where a whole column is."""
    layout = _layout(path)
    try:
        frame = pd.read_csv(
            path,
            sep=layout.separator,
            decimal=layout.decimal,
            header=0 if layout.header else None,
            skiprows=layout.comments,
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: holds no table: give one with at least 20 rows") from None
    except (OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())[:150]
        raise DataError(f"{path}: is no table ({reason}): give every row the same number of cells") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: its rows have more cells than its header: give every column a name")
    if not layout.header:
        frame.columns = pd.Index([f"column {i + 1}" for i in range(frame.shape[1])])
    return frame


def _layout(path: Path) -> _Layout:
    """Look at the first rows: separator, header, decimal comma, leading ``#`` lines."""
    comments, lines = _first_lines(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(lines)
    rows = [line.split() if separator == r"\s+" else _cells(line, separator) for line in lines]
    comma = separator != "," and any(_COMMA.fullmatch(cell.strip()) for row in rows for cell in row)
    first = [cell.replace(",", ".") if comma else cell for cell in rows[0]] if rows else []
    header = any(cell.strip() and not _is_number(cell) for cell in first)
    return _Layout(separator, header, comments, "," if comma else ".")


def _separator(lines: list[str]) -> str:
    """The first of tab, semicolon, bar that most lines hold equally often; else a comma, else white space."""
    for mark in "\t;|":
        counts = [line.count(mark) for line in lines]
        if counts and counts[0] and counts.count(counts[0]) > 0.8 * len(counts):
            return mark
    spaced = lines and "," not in lines[0] and len(lines[0].split()) > 1
    return r"\s+" if spaced else ","


def _first_lines(path: Path, most: int = 20) -> tuple[int, list[str]]:
    """How many lines of comments or nothing come first, and the lines after them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(itertools.islice(file, 1000))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 at byte {error.start}: convert it (iconv -f latin1 -t utf-8)") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    comments = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return comments, lines[comments : comments + most]


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return line.split(separator)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in ("na", "n/a", "null", "none")
    return True


def _parquet(path: Path) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    try:
        frame: pd.DataFrame = pyarrow.parquet.ParquetFile(path).read().to_pandas()
    except (OSError, pyarrow.ArrowException, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: cannot be read as Parquet ({reason}): write it again") from None
    return frame.reset_index(drop=True)


# --- columns ----------------------------------------------------------------------------------------------------------


def _is_index(name: object, column: pd.Series) -> bool:
    """Whether a nameless column merely counts the rows, as pandas writes it."""
    if not (str(name).startswith("Unnamed: ") and pd.api.types.is_integer_dtype(column)):
        return False
    return bool((column.to_numpy() == np.arange(len(column))).all())


def _label_column(path: Path, frame: pd.DataFrame, label: str) -> str:
    names = {str(column): column for column in frame.columns}
    if label not in names:
        close = difflib.get_close_matches(label, names, 1)
        guess = f"did you mean {close[0]!r}? " if close else ""
        shown = ", ".join(list(names)[:20])
        raise DataError(f"{path}: has no column {label!r} for labels: {guess}It has {shown}")
    if len(names) == 1:
        raise DataError(f"{path}: has no column beside the labels {label!r}: add the numbers to be modelled")
    return str(names[label])


def _check_numeric(path: Path, name: object, column: pd.Series) -> None:
    """Refuse a column that is no numbers, with its first cell that is none."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return
    numbers = pd.to_numeric(column.astype(str).where(column.notna()), errors="coerce")
    bad = np.flatnonzero((numbers.isna() & column.notna()).to_numpy())
    if not len(bad) and column.isna().all():
        raise DataError(f"{path}, column {name}: is empty: drop it")
    row = int(bad[0]) if len(bad) else 0
    cell = f"{str(column.iloc[row])[:40]!r} in row {row + 1} is not a number"
    if len(bad) < column.notna().sum() / 2:
        raise DataError(f"{path}, column {name}: {cell}: correct it, or drop the row")
    raise DataError(
        f"{path}, column {name}: {cell}: if it holds the classes, name it as labels (labels={str(name)!r}); "
        "otherwise drop it or encode it as numbers"
    )
