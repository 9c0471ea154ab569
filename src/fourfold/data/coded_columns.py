"""The columns of a table as the numbers of their distinct values, from batches of Arrow: never row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fourfold.core import Space
from fourfold.data.errors import DataError
from fourfold.data.labels import alike
from fourfold.data.memory import require
from fourfold.data.schema import Coded
from fourfold.data.splits import FEWEST
from fourfold.machine.libraries import pandas as pd
from fourfold.machine.libraries import pyarrow
from fourfold.settings.data import DataOptions
from fourfold.spaces.columns import Column, Numeric

__all__ = [
    "Batches",
    "amounts_of",
    "batches_of_frame",
    "coded_columns",
    "codes_of",
    "draw_rows",
    "named_column",
    "rows_needed",
    "schema_of",
    "without_comma",
]

Batches: TypeAlias = "Iterable[pyarrow.RecordBatch]"


# --- batches ----------------------------------------------------------------------------------------------------------


def batches_of_frame(frame: Any) -> Batches:
    """The rows of a pandas frame, or of a polars frame or another object that speaks Arrow's protocol."""
    if not isinstance(frame, pd.DataFrame):
        return pyarrow.table(frame).to_batches()
    if frame.shape[1] == 0:
        return []
    arrays = [_of_series(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return [pyarrow.RecordBatch.from_arrays(arrays, names=[str(name) for name in frame.columns])]


def _of_series(column: pd.Series) -> Any:
    """A column of a data frame as an Arrow array. Objects that have no common type become their texts.

    Raises:
        DataError: for values that are neither numbers, words nor times.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.astype(column.dtype.subtype)
    if isinstance(column.dtype, pd.CategoricalDtype) and isinstance(column.cat.categories, pd.IntervalIndex):
        column = column.cat.rename_categories(str)
    try:
        array = pyarrow.array(column, from_pandas=True)
    except pyarrow.ArrowNotImplementedError:
        raise DataError(
            f"column {column.name}: must hold numbers, words or times, got {column.dtype}; write it so, or drop it"
        ) from None
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        array = pyarrow.array(column.astype(str).where(column.notna()).to_numpy(dtype=object), pyarrow.string())
    return array.combine_chunks() if isinstance(array, pyarrow.ChunkedArray) else array


def draw_rows(batches: Batches, limit: int, seed: int) -> tuple[Batches, npt.NDArray[np.int64]]:
    """So many rows drawn by the seed, in the order of the file, and their places in it. No others are kept."""
    draw, keys, rows, count = np.random.default_rng(seed), np.empty(0), np.empty(0, dtype=np.int64), 0
    sample: list[Any] = []
    for batch in batches:
        keys = np.append(keys, draw.random(batch.num_rows))
        rows = np.append(rows, np.arange(count, count := count + batch.num_rows))
        best = np.sort(keys.argsort(kind="stable")[:limit])
        sample = [pyarrow.Table.from_batches([*sample, batch]).take(pyarrow.array(best)).combine_chunks()]
        sample, keys, rows = sample[0].to_batches(), keys[best], rows[best]
    return sample, rows


def rows_needed(options: DataOptions) -> str:
    """The fewest rows that are read: one for a model that is there, enough for three splits where one is trained."""
    return f"{FEWEST} rows" if options.model is None else "one row"


# --- distinct values --------------------------------------------------------------------------------------------------


def coded_columns(
    where: str, batches: Batches, options: DataOptions, names: Sequence[str] | None, decimal: str, typed: bool
) -> list[Coded]:
    """Every column as the numbers of its distinct values, joined over all batches."""
    rows = None
    if options.limit is not None:
        batches, rows = draw_rows(batches, options.limit, options.seed)
    parts: list[list[Any]] = []
    for batch in batches:
        names = names or batch.schema.names
        parts = parts or [[] for _ in range(batch.num_columns)]
        for name, column, array in zip(names, parts, batch.columns, strict=True):
            column.append(_plain_array(where, name, array).dictionary_encode())
        require(8.0 * sum(len(part) for part in parts[0]) * len(parts), where)
    if not parts or not any(len(part) for part in parts[0]):
        raise DataError(f"{where}: must have at least {rows_needed(options)}, got none")
    amounts = amounts_of(options.model)
    types = [None] * len(parts) if not typed else [_dtype(field.type) for field in batch.schema]
    coded = []
    for i, name in enumerate(different(names or ())):
        encoded = pyarrow.chunked_array(parts[i]).unify_dictionaries().combine_chunks()
        parts[i] = []
        distinct = encoded.dictionary
        if decimal == "," and name not in amounts:
            distinct = without_comma(distinct)
        words = pyarrow.types.is_string(distinct.type)
        trimmed = pyarrow.compute.utf8_trim_whitespace(distinct) if words else distinct
        padded = None if trimmed.equals(distinct) else distinct.to_pandas()
        inverse = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        coded.append(Coded(name, inverse, trimmed.to_pandas(), types[i], where, rows, padded))
    return coded


def schema_of(model: Space | None) -> list[Column]:
    """The columns of a model's examples and of its conditions, as far as these are rows."""
    given = None if model is None else model.given
    spaces = (model, *(() if given is None else (given, *given.parts)))
    return [column for space in spaces for column in getattr(space, "schema", ())]


def amounts_of(model: Space | None) -> set[str]:
    """Names of the columns that a model reads with their decimal commas."""
    numbers = (column for column in schema_of(model) if isinstance(column, Numeric))
    return {column.name for column in numbers if column.point == ","}


def without_comma(texts: Any) -> Any:
    """Numbers of a file with decimal commas as numbers with a point: ``1,5`` as ``1.5``, and ``1.200`` as ``1200``.

    A column with both marks, as in ``1.200,50``, stays as it is: it is read, and written again, as amounts are.
    """
    match = pyarrow.compute.match_substring_regex
    if pyarrow.compute.any(match(texts, r"^\s*[-+]?\d{1,3}(\.\d{3})+,\d+\s*$")).as_py():
        return texts
    pointed = match(texts, r"^\s*[-+]?\d+\.[\d.]*\s*$")
    if pyarrow.compute.all(match(texts.filter(pointed), r"^\s*[-+]?\d{1,3}(\.\d{3})+\s*$")).as_py():
        texts = pyarrow.compute.if_else(pointed, pyarrow.compute.replace_substring(texts, ".", ""), texts)
    return pyarrow.compute.replace_substring_regex(texts, r"^([-+]?\d*),(\d+([eE][-+]?\d+)?)$", r"\1.\2")


def _plain_array(where: str, name: str, array: Any) -> Any:
    """An array of a type that columns are inferred from."""
    kind = pyarrow.types
    if kind.is_dictionary(array.type):
        categories = _plain_array(where, name, array.dictionary)
        return pyarrow.DictionaryArray.from_arrays(array.indices, categories).dictionary_decode()
    if kind.is_struct(array.type) or kind.is_list(array.type) or kind.is_large_list(array.type):
        texts = [None if value is None else json.dumps(value, default=str) for value in array.to_pylist()]
        return pyarrow.array(texts, pyarrow.string())
    if kind.is_nested(array.type) or kind.is_binary(array.type) or kind.is_large_binary(array.type):
        raise DataError(
            f"{where}, column {name}: must hold one value in each cell, got {array.type}: write it so, or drop it"
        )
    if kind.is_date(array.type):
        return array.cast(pyarrow.timestamp("s"))
    if kind.is_duration(array.type):
        microseconds = array.cast(pyarrow.duration("us")).cast(pyarrow.int64())
        return pyarrow.compute.divide(microseconds.cast(pyarrow.float64()), 1e6)  # seconds
    if kind.is_primitive(array.type) and not kind.is_time(array.type):  # numbers, truth values, moments
        return array
    texts = array.cast(pyarrow.string())
    return pyarrow.compute.replace_substring_regex(texts, r"\.0+$", "") if kind.is_time(array.type) else texts


def _dtype(kind: Any) -> str:
    """The dtype of a data frame for a type of Arrow."""
    if pyarrow.types.is_dictionary(kind):
        return "category"
    if pyarrow.types.is_nested(kind):
        return "object"
    if pyarrow.types.is_date(kind):
        return "date32[day][pyarrow]"
    if pyarrow.types.is_timestamp(kind):
        return f"datetime64[{kind.unit}{', ' + kind.tz if kind.tz else ''}]"
    if pyarrow.types.is_decimal(kind) or pyarrow.types.is_duration(kind):
        return "float64"
    dtypes = {"double": "float64", "float": "float32", "halffloat": "float16", "bool": "bool"}
    return str(kind) if pyarrow.types.is_integer(kind) else dtypes.get(str(kind), "str")


def different(names: Sequence[str]) -> list[str]:
    """Names of which no two are the same, and none is empty."""
    counts: dict[str, int] = {}
    different = []
    for place, name in enumerate(names):
        name = str(name) or f"column {place + 1}"
        again = name
        while again in counts:
            again = f"{name}.{counts[name]}"
            counts[name] += 1
        counts.setdefault(again, 1)
        different.append(again)
    return different


def named_column(where: str, columns: Sequence[Coded], name: str, use: str = "names the sequences") -> Coded:
    """A column by its name, which names examples or has another use.

    Raises:
        DataError: if there is none of this name.
    """
    column = next((column for column in columns if column.name == name), None)
    if column is None:
        names = [column.name for column in columns]
        raise DataError(f"{where}: must have the column {name!r}, which {use}; {alike(name, names)}")
    return column


def codes_of(where: str, column: Column, coded: Coded) -> npt.NDArray[np.int64]:
    """The codes of a column's values, ``(N,)``.

    Raises:
        DataError: for a value that the column does not hold.
    """
    try:
        return column.codes_of(coded.inverse, coded.distinct, coded.rows)
    except ValueError as error:
        raise DataError(f"{where}, {error}") from None
