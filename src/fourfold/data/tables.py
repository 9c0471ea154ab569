"""Tables: CSV, TSV, Parquet, Feather and databases. Complete numbers become vectors, anything else a table."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from fourfold.data.arrays import finite_vectors
from fourfold.data.arrow import record_batches
from fourfold.data.databases import batches_of_duckdb, batches_of_sqlite
from fourfold.data.dataset import DataError, Options, Source, option
from fourfold.data.delimited import cells
from fourfold.data.labels import alike, encode_labels
from fourfold.data.layout import Layout, layout_of, plain
from fourfold.data.memory import require
from fourfold.data.mixed import (
    Batches,
    batches_of_frame,
    batches_of_parquet,
    different,
    drawn,
    table_of,
    without_comma,
)
from fourfold.data.schema import GAPS
from fourfold.printable import shortened
from fourfold.spaces import Vectors
from fourfold.spaces.vectors import numbered

__all__ = ["of_frame", "of_memory", "raw_frame", "read_table", "sampled"]


def read_table(path: Path, options: Options) -> Source:
    """Read a table.

    A table of complete numbers becomes vectors. One with words, dates, true and false or gaps becomes a
    :class:`~fourfold.spaces.Table`; ``options.as_table`` decides otherwise, and so does the space of a model.
    ``options.labels`` names the class of each row. A nameless first column that counts the rows is left out. With
    ``options.limit``, rows are drawn by the seed while the file is read, and no others are kept.

    Raises:
        DataError: for a value of another kind than its column, rows of unequal length, no such label column.
    """
    if path.suffix.lower() in (".csv", ".tsv"):
        return _read_csv(path, options)
    if _as_table(options) is not True:
        with _told(path):
            frame = _numbers(path, options)
        if frame is not None:
            return of_frame(str(path), frame, options)
    return table_of(str(path), _telling(path, lambda: _batches(path, options)), options)


def _telling(path: Path, batches: Callable[[], Batches]) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a file. An error is one line."""
    with _told(path):
        yield from batches()


def of_memory(name: str, frame: Any, options: Options) -> Source:
    """The source of a data frame of pandas or polars, or of another table that speaks Arrow's protocol.

    Raises:
        DataError: as :func:`read_table` does.
    """
    if not isinstance(frame, pd.DataFrame):
        frame = pyarrow.table(frame)
        if _as_table(options) is not True and all(_is_number(field.type) for field in frame.schema):
            frame = frame.to_pandas()
    as_table = _as_table(options)
    if isinstance(frame, pd.DataFrame) and as_table is not True:
        frame = frame.reset_index(drop=True)
        if as_table is False or _complete(frame, options):
            return of_frame(name, sampled([frame], options), options)
    return table_of(name, batches_of_frame(frame), options, frame=frame)


def raw_frame(data: Any) -> tuple[pd.DataFrame, bool]:
    """A table as it stands, the cells of a CSV file as texts; and whether its first row names the columns.

    Raises:
        DataError: if it cannot be read.
    """
    if not isinstance(data, (str, os.PathLike)):
        return (data if isinstance(data, pd.DataFrame) else pyarrow.table(data).to_pandas()).copy(), True
    path = Path(data).expanduser()
    with _told(path):
        if path.suffix.lower() not in (".csv", ".tsv"):
            return pyarrow.Table.from_batches(list(_batches(path, Options()))).to_pandas(), True
        layout = layout_of(path)
        frame = pyarrow.Table.from_batches(list(cells(path, layout))).to_pandas()
    frame.columns = pd.Index(layout.names)
    return frame, layout.header


def _as_table(options: Options) -> bool | None:
    """Whether mixed columns are wanted, as a model or the user says; ``None``: the data decides."""
    if options.space is not None:
        return options.space.mixed  # the model was trained on one
    asked = (options.schema, options.target, options.order, options.group)
    return True if any(one is not None for one in asked) else options.as_table


def _read_csv(path: Path, options: Options) -> Source:
    """A CSV file. Its first rows tell whether it holds numbers; if they err, it is read as a table."""
    layout = layout_of(path, options.header)
    if options.limit is None:
        require(CELLS * path.stat().st_size, path)
    if not layout.names:
        raise DataError(f"{path}: holds no table: give one with at least 20 rows")
    asked = _as_table(options)
    with _told(path):
        first = [] if asked is True else [batch.slice(0, 1000) for batch in itertools.islice(cells(path, layout), 1)]
        some = _numbers_of_csv(first, layout, Options()) if first else None
        frame = None
        if some is not None and (asked is False or _complete(some, options)):
            frame = _numbers_of_csv(cells(path, layout), layout, options)
    if frame is not None and (asked is False or _complete(frame, options)):
        return of_frame(str(path), frame, options)
    return table_of(str(path), _telling(path, lambda: cells(path, layout)), options, layout)


def _complete(frame: pd.DataFrame, options: Options) -> bool:
    """Whether all columns but the labels hold numbers, and none is missing; a few words among them are mistakes."""
    columns = [place for place, name in enumerate(frame.columns) if str(name) != str(options.labels)]
    kinds = [frame.dtypes.iloc[place] for place in columns]
    numeric = all(pd.api.types.is_numeric_dtype(k) and not pd.api.types.is_bool_dtype(k) for k in kinds)
    return numeric and not frame.iloc[:, columns].isna().any(axis=None)


def _batches(path: Path, options: Options) -> Batches:
    """The rows of a file that is no CSV, each batch held against the memory that is free."""
    for batch in _opened(path, options):
        require(HELD * batch.nbytes, path)
        yield batch


def _opened(path: Path, options: Options) -> Batches:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return batches_of_parquet(path)
    if suffix in (".feather", ".arrow"):
        return record_batches(path)
    return (batches_of_duckdb if suffix == ".duckdb" else batches_of_sqlite)(path, options.query)


HELD = 3.0
"""Bytes of memory that a byte of a batch takes until it is codes or numbers."""


def _numbers(path: Path, options: Options) -> pd.DataFrame | None:
    """The data frame of a file whose columns are complete numbers, or must be; ``None`` if they are not."""
    wanted = _as_table(options) is False
    if path.suffix.lower() == ".parquet":
        fields = list(pyarrow.parquet.read_schema(path))
        if not wanted and not all(_is_number(field.type) for field in fields if field.name != str(options.labels)):
            return None
        frame = sampled(_of_parquet(path, options), options)
    else:
        batches = iter(_batches(path, options))
        first = next(batches, None)
        if first is None or not (wanted or all(_is_number(field.type) for field in first.schema)):
            return None
        frame = sampled(_frames(itertools.chain([first], batches)), options)
    return frame if wanted or _complete(frame, options) else None


def _is_number(kind: Any) -> bool:
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind))


def _frames(batches: Batches) -> Iterator[pd.DataFrame]:
    start = 0
    for batch in batches:
        frame = batch.to_pandas()
        frame.index = pd.RangeIndex(start, start := start + len(frame))
        yield frame


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
            values = np.array([plain(cell) if isinstance(cell, str) else cell for cell in values], dtype=object)
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
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory: give --limit, or a smaller file") from None
    except (OSError, ValueError, OverflowError, KeyError, TypeError, RecursionError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())[:150]
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "a table"
        text = path.suffix.lower() in (".csv", ".tsv")
        way = "give every row the same number of cells" if text else "write it again"
        raise DataError(f"{path}: cannot be read as {kind} ({reason}): {way}") from None


def _numbers_of_csv(batches: Batches, layout: Layout, options: Options) -> pd.DataFrame:
    """The cells of a CSV file, as numbers where a whole column is: all rows, or ``options.limit`` of them."""
    if layout.width == 1:  # here, too, an empty line is skipped
        batches = (batch.filter(pyarrow.compute.not_equal(batch.column(0), "")) for batch in batches)
    rows = None
    if options.limit is not None:
        batches, rows = drawn(batches, options.limit, options.seed)
    columns = pyarrow.Table.from_batches(list(batches)).columns
    names = different([name or f"Unnamed: {place}" for place, name in enumerate(layout.names)])
    frame = pd.DataFrame({name: _as_numbers(columns.pop(0), layout.decimal) for name in names})
    frame.attrs["headless"] = not layout.header
    return frame if rows is None else frame.set_axis(rows, axis=0)


def _as_numbers(cells: Any, decimal: str) -> pd.Series:
    """Texts as numbers to the last bit, or true and false, if all of them are; texts that mean a gap are missing."""
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return pyarrow.compute.cast(cells, pyarrow.float64()).to_pandas()
    texts = pyarrow.compute.utf8_trim_whitespace(cells)
    texts = without_comma(texts) if decimal == "," else texts
    gap = pyarrow.compute.is_in(texts, value_set=pyarrow.array(sorted(GAPS)))
    texts = pyarrow.compute.if_else(gap, pyarrow.scalar(None, pyarrow.string()), texts)
    for kind in (pyarrow.float64(), pyarrow.bool_()):
        with contextlib.suppress(pyarrow.ArrowInvalid):
            return pyarrow.compute.cast(texts, kind).to_pandas()
    return texts.to_pandas()


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


# --- columns ----------------------------------------------------------------------------------------------------------


def _is_index(name: object, column: pd.Series, index: pd.Index) -> bool:
    """Whether a nameless column merely counts the rows, as pandas writes it."""
    if not (str(name).startswith("Unnamed: ") and pd.api.types.is_numeric_dtype(column)):
        return False
    return bool((column.to_numpy() == index.to_numpy()).all())


def _label_column(name: str, frame: pd.DataFrame, label: str) -> Any:
    columns = {str(column): column for column in frame.columns}
    if label not in columns:
        raise DataError(f"{name}: has no column {label!r} for labels: {alike(label, columns)}")
    if len(columns) == 1:
        raise DataError(f"{name}: has no column beside the labels {label!r}: add the numbers to be modelled")
    return columns[label]


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
            f"{name}: has no column {missing[0][:80]!r}, which the model knows: {alike(missing[0], columns)}"
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
        f"otherwise read mixed columns with {option('space', 'table')}"
    )
