"""Columns of numbers as vectors: float32 rows of which every cell is a finite number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fourfold.core import Space
from fourfold.data.arrays import finite_vectors
from fourfold.data.errors import DataError, option
from fourfold.data.labels import alike
from fourfold.data.schema import GAPS, Coded, Inferred, as_numbers
from fourfold.machine.libraries import pandas as pd
from fourfold.output.printable import shortened
from fourfold.spaces import Vectors
from fourfold.spaces.vectors import numbered

__all__ = ["continuous_vectors", "vectors_for", "vectors_of"]


def continuous_vectors(
    where: str, columns: Sequence[Coded], inferred: Sequence[Inferred]
) -> tuple[Vectors, Tensor] | None:
    """The space and the rows of columns that are all continuous and free of ties. ``None`` for any others.

    A grid of numbers cannot keep every digit of such columns, and a density of them is comparable.
    """
    if not all(item.continuous and not item.missing for item in inferred):
        return None
    numbers = [_numbers(column) for column in columns]
    if max(float(np.abs(values).max()) for values in numbers) > np.finfo(np.float32).max:
        return None
    space, x = _stacked(where, columns, numbers)
    return None if space.tied(x) else (space, x)


def vectors_of(where: str, columns: Sequence[Coded]) -> tuple[Vectors, Tensor]:
    """The space and the rows of columns that must hold numbers.

    Raises:
        DataError: for a value that is missing or not a finite number, with its row, its column and the way out.
    """
    return _stacked(where, columns, [_checked(where, column) for column in columns])


def vectors_for(
    space: Space, where: str, columns: Sequence[Coded], headless: bool
) -> tuple[Vectors, Tensor, tuple[str, ...]]:
    """The same for a model, whose columns are found by name, or by place where a file has no header, and a note.

    Raises:
        DataError: as :func:`vectors_of` does, and for a column that is not there.
    """
    names, file_names = space.columns, [column.name for column in columns]
    if not names or (names == numbered(len(names)) and not headless):
        return *vectors_of(where, columns), ()  # the model was trained without names, so only places count
    by_place = headless and not set(names) <= set(file_names)
    if by_place and len(columns) != len(names):
        raise DataError(
            f"{where}: columns must be the {len(names)} of the model ({shortened(names, 6)}), got {len(columns)}; "
            "give the file a header with these names, or only these columns"
        )
    by_name = dict(zip(names if by_place else file_names, columns, strict=True))
    missing = next((name for name in names if name not in by_name), None)
    if missing is not None:
        raise DataError(
            f"{where}: must have the column {missing[:80]!r} of the model, got none: {alike(missing, by_name)}"
        )
    spare = [name for name in by_name if name not in names]
    notes = (f"columns that the model does not use: {shortened(spare)}",) if spare else ()
    return *vectors_of(where, [by_name[name] for name in names]), notes


def _stacked(
    where: str, columns: Sequence[Coded], numbers: Sequence[npt.NDArray[np.float64]]
) -> tuple[Vectors, Tensor]:
    names = [column.name for column in columns]
    values = np.stack([distinct[column.inverse] for distinct, column in zip(numbers, columns, strict=True)], 1)
    return Vectors(len(names), tuple(names), len(values)), finite_vectors(values, where, names, columns[0].rows)


def _numbers(column: Coded) -> npt.NDArray[np.float64]:
    """The distinct values as numbers to the last bit, NaN where one is none, and NaN last, which code -1 finds."""
    distinct = column.distinct
    if pd.api.types.is_numeric_dtype(distinct.dtype):
        return np.append(distinct.to_numpy(np.float64, na_value=np.nan), np.nan)
    text = distinct.astype(str)
    gap = text.isin(GAPS).to_numpy(dtype=bool)
    numbers = np.full(len(text) + 1, np.nan)
    numbers[:-1][~gap] = as_numbers(text[~gap])
    return numbers


def _checked(where: str, column: Coded) -> npt.NDArray[np.float64]:
    """The same, with refusal of words."""
    numbers = _numbers(column)
    words = np.isnan(numbers[:-1]) & ~column.distinct.astype(str).isin(GAPS).to_numpy(dtype=bool)
    if not words.any():
        if np.isnan(numbers).all():
            raise DataError(f"{where}, column {column.name}: must have values, got none: drop it")
        return numbers
    fault = f"{where}, column {column.name}: must hold numbers, got {column.place(words)}"
    if words.mean() < 0.5:
        raise DataError(f"{fault}; correct it, or drop the row")
    raise DataError(
        f"{fault}; if it holds texts, name it with {option('text', column.name)}; if it holds the classes, with "
        f"{option('labels', column.name)}; otherwise read mixed columns with {option('space', 'table')}"
    )
