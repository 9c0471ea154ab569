"""Tables of numbers: CSV, TSV and Parquet, with at most one label column."""

from __future__ import annotations

import contextlib
import csv
import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet

from fourfold.data.arrays import finite_vectors
from fourfold.data.dataset import DataError, Options, Source, option
from fourfold.data.labels import encode_labels
from fourfold.data.memory import require
from fourfold.printable import shortened
from fourfold.spaces import Vectors
from fourfold.spaces.vectors import numbered

__all__ = ["of_frame", "read_table", "sampled"]

_COMMA = re.compile(r"[-+]?\d+,\d+(e[-+]?\d+)?", re.IGNORECASE)


def read_table(path: Path, options: Options) -> Source:
    """Read a table: numeric columns become vectors, ``options.labels`` names the class of each row.

    A first row with a cell that is not a number is the header. A nameless first column that counts the rows is left
    out. With ``options.limit``, rows are drawn by the seed while the file is read, and no others are kept.

    Raises:
        DataError: for a text column among numbers, a missing value, rows of unequal length, no such label column.
    """
    parquet = path.suffix.lower() == ".parquet"
    with _told(path):
        frame = sampled(_of_parquet(path, options) if parquet else _of_csv(path, options), options)
    return of_frame(str(path), frame, options)


def of_frame(name: str, frame: pd.DataFrame, options: Options) -> Source:
    """The source of a table in memory, whose index counts the rows of its file.

    Raises:
        DataError: as :func:`read_table` does.
    """
    where = f"file {name}"
    if len(frame.columns) > 1 and _is_index(frame.columns[0], frame.iloc[:, 0], frame.index):
        frame, where = frame.iloc[:, 1:], f"{where}, without its index column"
    if frame.empty:
        raise DataError(f"{name}: holds no rows: give a table with at least 20")
    labels, names, notes = None, tuple[str, ...](), tuple[str, ...]()
    wanted = () if options.space is None else options.space.columns
    if wanted == numbered(len(wanted)) and not frame.attrs.get("headless"):
        wanted = ()  # the model was trained on a file without a header, so only the place of a column counts
    if options.labels is not None and not (options.space and str(options.labels) not in map(str, frame.columns)):
        column = _label_column(name, frame, str(options.labels))
        values = frame[column].to_numpy()
        if values.dtype == object:
            values = np.array([_plain(cell) if isinstance(cell, str) else cell for cell in values], dtype=object)
        labels, names = encode_labels(values, len(frame), f"{name}, column {column}")
        frame = frame.drop(columns=column)
    if wanted:
        spare = [column for column in frame.columns if str(column) not in wanted]
        notes = (f"columns that the model does not know: {shortened(spare)}",) if spare else ()
        frame = _in_order(name, frame, wanted)
    for column in frame.columns:
        _check_numeric(name, column, frame[column])
    columns = [str(column) for column in frame.columns]
    values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    x = finite_vectors(values, name, columns, frame.index.to_numpy())
    hint = f"name its label column: {option('labels')}"
    return Source(x, Vectors(len(columns), tuple(columns)), where, labels, names, hint=hint, notes=notes)


# --- reading ----------------------------------------------------------------------------------------------------------

CHUNK = 1 << 16
"""Rows that are read at once."""
LONGEST = 1 << 20
"""Characters of the first lines of a table, at most: whatever has more in one line is not a table."""


def sampled(chunks: Iterable[pd.DataFrame], options: Options) -> pd.DataFrame:
    """All rows, or ``options.limit`` of them drawn by the seed, in the order and with the numbers of the file."""
    if options.limit is None:
        frame = pd.concat(list(chunks))
    else:
        draw = np.random.default_rng(options.seed)
        frame, keys = None, np.empty(0)
        for chunk in chunks:
            keys = np.concatenate([keys, draw.random(len(chunk))])
            frame = chunk if frame is None else pd.concat([frame, chunk])
            best = np.sort(keys.argsort(kind="stable")[: options.limit])
            frame, keys = frame.iloc[best], keys[best]
    if frame is None:
        raise DataError("holds no rows: give a table with at least 20")
    return frame


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of reading as one line with the file and the way out."""
    try:
        yield
    except DataError:
        raise
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: holds no table: give one with at least 20 rows") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory: give --limit, or a smaller file") from None
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).removeprefix("Error tokenizing data. C error: ").split())[:150]
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "a table"
        way = "write it again" if kind == "Parquet" else "give every row the same number of cells"
        raise DataError(f"{path}: cannot be read as {kind} ({reason}): {way}") from None


@dataclass(frozen=True)
class _Layout:
    """How a CSV file is laid out."""

    separator: str
    header: bool
    comments: int
    decimal: str = "."


def _of_csv(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    """The cells of a CSV or TSV file, as numbers where a whole column is, so many rows at once."""
    layout = _layout(path)
    if options.limit is None:
        require(CELLS * path.stat().st_size, path)
    chunks = pd.read_csv(
        path,
        sep=layout.separator,
        decimal=layout.decimal,
        header=0 if layout.header else None,
        skiprows=layout.comments,
        skipinitialspace=True,
        low_memory=False,
        encoding="utf-8-sig",
        chunksize=None if options.limit is None else CHUNK,
    )
    for frame in [chunks] if isinstance(chunks, pd.DataFrame) else chunks:
        if not isinstance(frame.index, pd.RangeIndex):
            raise DataError(f"{path}: its rows have more cells than its header: give every column a name")
        if layout.header:
            frame.columns = pd.Index([_plain(str(name)) for name in frame.columns])
        else:
            frame.columns = pd.Index(numbered(frame.shape[1]))
            frame.attrs["headless"] = True
        yield frame


CELLS = 5.0
"""Bytes of memory that one byte of a CSV file takes."""


def _of_parquet(path: Path, options: Options) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file; columns of its index are columns like the others."""
    file = pyarrow.parquet.ParquetFile(path)
    about = file.metadata
    if options.limit is None:
        require(24.0 * about.num_rows * about.num_columns, path)
    rows = max(about.num_rows, 1) if options.limit is None else CHUNK
    start = 0
    for batch in file.iter_batches(batch_size=min(rows, 1 << 31)):
        frame: pd.DataFrame = batch.to_pandas()
        frame.index = pd.RangeIndex(start, start + len(frame))
        start += len(frame)
        yield frame


def _plain(name: str) -> str:
    """A name without the apostrophe that keeps spreadsheets from running it as a formula."""
    return name[1:] if name.startswith("'") and name[1:2] in tuple("=+-@") else name


def _layout(path: Path) -> _Layout:
    """Look at the first rows: separator, header, decimal comma, leading ``#`` lines."""
    comments, lines = _first_lines(path)
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(lines)
    rows = [line.split() for line in lines] if separator == r"\s+" else list(_cells(lines, separator))
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
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            while len(lines) < 1000 and (line := file.readline(LONGEST)):
                lines.append(line)
                if len(line) >= LONGEST:
                    raise DataError(
                        f"{path}, line {len(lines)}: is longer than {LONGEST:,} characters: write a table so wide "
                        "as .npy"
                    )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 at byte {error.start}: convert it (iconv -f latin1 -t utf-8)") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check its permissions") from None
    comments = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return comments, lines[comments : comments + most]


def _cells(lines: list[str], separator: str) -> Iterator[list[str]]:
    """The rows of the first lines; a quoted cell may go on over several of them."""
    try:
        yield from csv.reader(lines, delimiter=separator, skipinitialspace=True)
    except csv.Error:
        yield from (line.split(separator) for line in lines)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in ("na", "n/a", "null", "none")
    return True


# --- columns ----------------------------------------------------------------------------------------------------------


def _is_index(name: object, column: pd.Series, index: pd.Index) -> bool:
    """Whether a nameless column merely counts the rows, as pandas writes it."""
    if not (str(name).startswith("Unnamed: ") and pd.api.types.is_integer_dtype(column)):
        return False
    return bool((column.to_numpy() == index.to_numpy()).all())


def _label_column(name: str, frame: pd.DataFrame, label: str) -> Any:
    columns = {str(column): column for column in frame.columns}
    if label not in columns:
        raise DataError(f"{name}: has no column {label!r} for labels: {_alike(label, columns)}")
    if len(columns) == 1:
        raise DataError(f"{name}: has no column beside the labels {label!r}: add the numbers to be modelled")
    return columns[label]


def _alike(wanted: str, columns: Iterable[str]) -> str:
    """The column that may be meant, and those that there are."""
    names = list(columns)
    close = difflib.get_close_matches(wanted, names, 1)
    guess = f"did you mean {close[0][:80]!r}? " if close else ""
    return f"{guess}It has {shortened(names)}"


def _in_order(name: str, frame: pd.DataFrame, wanted: tuple[str, ...]) -> pd.DataFrame:
    """The columns that a model knows, found by name; by place where a table has no header."""
    columns = {str(column): column for column in frame.columns}
    if frame.attrs.get("headless") and not set(wanted) <= set(columns):
        if len(columns) != len(wanted):
            raise DataError(
                f"{name}: has {len(columns)} columns, the model {len(wanted)} ({shortened(wanted, 6)}): "
                "give the file a header with these names, or only these columns"
            )
        return frame.set_axis(list(wanted), axis=1)
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise DataError(
            f"{name}: has no column {missing[0][:80]!r}, which the model knows: {_alike(missing[0], columns)}"
        )
    return frame[[columns[column] for column in wanted]]


def _check_numeric(name: str, label: object, column: pd.Series) -> None:
    """Refuse a column that does not hold numbers, with its first cell that is not one."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return
    numbers = pd.to_numeric(column.astype(str).where(column.notna()), errors="coerce")
    bad = np.flatnonzero((numbers.isna() & column.notna()).to_numpy())
    if not len(bad) and column.isna().all():
        raise DataError(f"{name}, column {label}: is empty: drop it")
    row = int(bad[0]) if len(bad) else 0
    cell = f"{str(column.iloc[row])[:40]!r} in row {int(column.index[row]) + 1} is not a number"
    if len(bad) < column.notna().sum() / 2:
        raise DataError(f"{name}, column {label}: {cell}: correct it, or drop the row")
    raise DataError(
        f"{name}, column {label}: {cell}: if it holds the classes, name it with {option('labels', str(label))}; "
        "otherwise drop it or encode it as numbers"
    )
